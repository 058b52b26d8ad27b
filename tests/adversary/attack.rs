//! Attacks on the verdict that fresh eyes found after the cases of `uncovered`, `revocations` and `material`.
//! Each test is named for the rule that breaks.

use plumb_trust::{Oid, ReasonCode as R};
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::user_attribute::{Image, Subpacket};
use sequoia_openpgp::packet::{Packet, UserAttribute};
use sequoia_openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation as Why, SignatureType};
use tests::certificates::Revoking;
use tests::keys::{BORN, DAY, Key, at, people};
use tests::objects::{PolicyText, REF, REPOSITORY, START, World, moment, show};

const SECRET: [u8; 32] = [9; 32];

/// Returns the commit of a policy step, signed by alice and approved by carol and dave.
fn approved_step(w: &mut World, parent: Oid, change: impl FnOnce(&mut PolicyText)) -> Oid {
    let p = people();
    let step = w.policy_step(parent, change).sign(&p.alice).make(w);
    w.approve(step, &p.carol);
    w.approve(step, &p.dave);
    step
}

fn without_bob(policy: &mut PolicyText) {
    policy.identities.retain(|(name, _)| name != "bob");
    policy.keys.retain(|(file, _)| !file.starts_with("bob-"));
    "[alice, carol]".clone_into(&mut policy.groups[0].1);
}

fn with_bob(policy: &mut PolicyText, keys: &[&Key]) {
    policy.identity("bob", keys);
    "[alice, bob, carol]".clone_into(&mut policy.groups[0].1);
}

/// Adds packets to a certificate.
fn with(key: &Key, packets: Vec<Packet>) -> Key {
    Key::Pgp(Box::new(
        key.cert().clone().insert_packets(packets).unwrap().0,
    ))
}

fn signer(key: &Key) -> sequoia_openpgp::crypto::KeyPair {
    let primary = key.cert().primary_key().key().clone();
    primary.parts_into_secret().unwrap().into_keypair().unwrap()
}

#[track_caller]
fn isnt_accepted(w: &World, head: Oid) {
    let outcome = w.verify(head);
    assert!(outcome.accepted != head, "{}", show(&outcome));
}

/// A policy without dave.
fn without_dave(policy: &mut PolicyText) {
    policy.identities.retain(|(name, _)| name != "dave");
    policy.keys.retain(|(file, _)| !file.starts_with("dave-"));
    "[erin]".clone_into(&mut policy.groups[1].1);
}

#[test]
fn own_188_designated_revocation_outlives_the_revokers_key_file() {
    let p = people();
    let named = p.bob.designating(&p.dave, HashAlgorithm::SHA512);
    for reason in [Why::KeyRetired, Why::KeyCompromised] {
        let revoked = named.revoked_by(&p.dave, Revoking::new(reason, START - DAY));
        let mut w = World::with(|policy| policy.identity("bob", &[&revoked]));
        let before = w.on(w.root).file("lab/a", "1").sign(&p.bob).make(&mut w);
        w.alarms(before, R::KeyRevoked);
        let root = w.root;
        let step = approved_step(&mut w, root, without_dave);
        w.rejects(step, R::RevocationDropped);
    }
}

#[test]
fn own_189_designated_revocation_outlives_its_designation() {
    let p = people();
    let named = p.bob.designating(&p.dave, HashAlgorithm::SHA512);
    for reason in [Why::KeyRetired, Why::KeyCompromised] {
        let revoked = named.revoked_by(&p.dave, Revoking::new(reason, START - DAY));
        // The same revocation on a copy that doesn't say who may make it.
        let primary = revoked.cert().primary_key();
        let packets = primary.other_revocations().cloned().map(Packet::from);
        let undesignated = with(&p.bob, packets.collect());
        let mut w = World::with(|policy| policy.identity("bob", &[&revoked]));
        let root = w.root;
        let step = approved_step(&mut w, root, |policy| {
            policy.identity("bob", &[&undesignated]);
        });
        w.rejects(step, R::RevocationDropped);
    }
}

#[test]
fn own_190_retired_key_comes_back_in_no_other_form() {
    let pgp = Key::pgp_with_secret("bob", &SECRET, BORN);
    let retired = pgp.revoked(Why::KeyRetired, START - DAY);
    let ssh = Key::ssh_with_secret("bob", &SECRET);
    let younger = Key::pgp_with_secret("bob", &SECRET, BORN + DAY);
    let mut broken = Vec::new();
    for after in [&ssh, &younger] {
        let mut w = World::with(|policy| policy.identity("bob", &[&retired]));
        let root = w.root;
        let swap = approved_step(&mut w, root, |policy| policy.identity("bob", &[after]));
        let c = w.on(swap).file("lab/a", "1").sign(after).make(&mut w);
        if w.verify(c).accepted == c {
            broken.push(after.policy_line());
        }
    }
    assert!(broken.is_empty(), "accepted: {broken:?}");
}

#[test]
fn own_191_retired_subkey_comes_back_in_no_other_certificate() {
    let builder = CertBuilder::new()
        .set_primary_key_flags(KeyFlags::empty().set_certification())
        .add_signing_subkey();
    let key = Key::pgp_built(builder, "bob");
    let retired = key.subkey_revoked(Why::KeyRetired, START - DAY);
    let adopting = people().bob.adopting_subkey_of(&key);
    let mut w = World::with(|policy| policy.identity("bob", &[&retired]));
    let root = w.root;
    let swap = approved_step(&mut w, root, |policy| policy.identity("bob", &[&adopting]));
    let c = w.on(swap).file("lab/a", "1").sign(&adopting).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_192_compromised_subkey_is_revoked_as_ssh_key_too() {
    let p = people();
    let ssh = Key::ssh_with_secret("alice", &SECRET);
    let cert = p.alice.with_signing_subkey(&SECRET);
    let cert = cert.subkey_revoked(Why::KeyCompromised, START - DAY);
    let mut w = World::with(|policy| policy.identity("alice", &[&cert, &ssh]));
    let c = w.on(w.root).file("lab/a", "1").sign(&ssh).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_193_retired_certificate_is_retired_as_ssh_key_too() {
    let ssh = Key::ssh_with_secret("alice", &SECRET);
    let cert = Key::pgp_with_secret("alice", &SECRET, BORN);
    let cert = cert.revoked(Why::KeyRetired, START - DAY);
    let mut w = World::with(|policy| policy.identity("alice", &[&cert, &ssh]));
    let c = w.on(w.root).file("lab/a", "1").sign(&ssh).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_194_compromised_key_file_that_no_identity_uses_revokes_other_forms() {
    let ssh = Key::ssh_with_secret("alice", &SECRET);
    let cert = Key::pgp_with_secret("alice", &SECRET, BORN);
    let cert = cert.revoked(Why::KeyCompromised, START - DAY);
    let old = || ("old-alice".to_owned(), cert.public());
    let mut w = World::with(|policy| {
        policy.identity("alice", &[&ssh]);
        policy.keys.push(old());
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&ssh).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_195_step_that_brings_a_compromised_key_file_brings_no_other_form_of_it() {
    let clean = Key::pgp_with_secret("bob", &SECRET, BORN);
    let ssh = Key::ssh_with_secret("bob", &SECRET);
    let revoked = clean.revoked(Why::KeyCompromised, START - DAY);
    let mut w = World::with(|policy| policy.identity("bob", &[&clean]));
    let root = w.root;
    let step = approved_step(&mut w, root, |policy| {
        policy.identity("bob", &[&ssh]);
        policy.keys.push(("old-bob".to_owned(), revoked.public()));
    });
    let c = w.on(step).file("lab/a", "1").sign(&ssh).make(&mut w);
    isnt_accepted(&w, c);
    w.floor = Some(step);
    isnt_accepted(&w, c);
}

#[test]
fn own_196_key_revoked_by_tags_goes_on_in_no_other_form_after_a_step() {
    let p = people();
    let pgp = Key::pgp_with_secret("bob", &SECRET, BORN);
    let ssh = Key::ssh_with_secret("bob", &SECRET);
    let mut w = World::with(|policy| policy.identity("bob", &[&pgp]));
    let root = w.root;
    for (n, key) in [&p.alice, &p.carol, &p.dave].into_iter().enumerate() {
        let tag = w.tag(&format!("revoke/{}/{n}", pgp.hex()), root);
        tag.sign(key).make(&mut w);
    }
    let before = w.on(root).file("lab/a", "1").sign(&pgp).make(&mut w);
    w.alarms(before, R::KeyRevoked);
    let swap = approved_step(&mut w, root, |policy| policy.identity("bob", &[&ssh]));
    let c = w.on(swap).file("lab/a", "1").sign(&ssh).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_197_key_revoked_on_this_machine_goes_on_in_no_other_form_after_a_step() {
    let pgp = Key::pgp_with_secret("bob", &SECRET, BORN);
    let ssh = Key::ssh_with_secret("bob", &SECRET);
    let mut w = World::with(|policy| policy.identity("bob", &[&pgp]));
    w.revoked.read(pgp.public().as_bytes()).unwrap();
    let root = w.root;
    let swap = approved_step(&mut w, root, |policy| policy.identity("bob", &[&ssh]));
    let c = w.on(swap).file("lab/a", "1").sign(&ssh).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_198_revocation_in_commits_that_a_rollback_left_is_kept() {
    let p = people();
    let revoked = p.bob.revoked(Why::KeyCompromised, START);
    let mut w = World::with(without_bob);
    let root = w.root;
    let file = ("old-bob".to_owned(), revoked.public());
    let brings = approved_step(&mut w, root, |policy| policy.keys.push(file));
    let drops = approved_step(&mut w, brings, |policy| {
        policy.keys.retain(|(name, _)| name != "old-bob");
    });
    w.accepts(drops);
    w.floor = Some(drops);
    let policy = w.policy.clone();
    let add = |policy: &mut PolicyText| with_bob(policy, &[&p.bob]);
    let step = approved_step(&mut w, drops, add);
    w.rejects(step, R::RevocationDropped);
    // The same after going back to before the revocation came, with the policy of the floor.
    w.policy = policy;
    let files = w.files(&drops).clone();
    let back = w.on(root).with_files(&files);
    let back = back.message(&format!("back\n\nRollback-To: {drops} {root}\n"));
    let back = back.sign(&p.alice).make(&mut w);
    w.accepts(back);
    w.floor = Some(back);
    let step = approved_step(&mut w, back, add);
    isnt_accepted(&w, step);
}

/// A merge by alice whose embedded tag is younger than the merge, and an emergency on top.
fn emergency_on_a_merge(ops: &str) -> (World, Oid) {
    const TTL: i64 = 4 * 3600;
    const SKEW: i64 = 600;
    let p = people();
    let mut w = World::with(|policy| {
        "emergency: {need: [{from: sec, count: 1}], ttl: 4h, bypasses: [counts]}"
            .clone_into(&mut policy.more);
        ops.clone_into(&mut policy.groups[0].1);
    });
    let tip = w.on(w.root).file("lab/a", "1").make(&mut w);
    let younger = w.clock() + 7200;
    let tag = w.tag("approve/main/1", tip).dated(younger).sign(&p.bob);
    let tag = tag.make(&mut w);
    w.tags.clear();
    let merge = w.merge(&[w.root, tip]).file("lab/a", "1");
    let merge = merge.mergetag(&w.store, tag).sign(&p.alice).make(&mut w);
    let fix = w
        .on(merge)
        .file("prod/a", "fix")
        .message("fix\n\nEmergency: the door is open\n")
        .dated(younger - SKEW)
        .sign(&p.dave)
        .make(&mut w);
    w.seen.insert(fix, moment(younger - SKEW + TTL + 60));
    (w, fix)
}

#[test]
fn own_199_revoking_a_signer_of_a_merge_prolongs_no_emergency_on_top() {
    let (mut w, fix) = emergency_on_a_merge("[alice, bob, carol]");
    w.rejects(fix, R::EmergencyExpired);
    w.revoked.read(people().alice.public().as_bytes()).unwrap();
    isnt_accepted(&w, fix);
}

#[test]
fn own_200_removing_a_signer_from_a_group_prolongs_no_emergency() {
    let (w, fix) = emergency_on_a_merge("[alice, bob, carol]");
    w.rejects(fix, R::EmergencyExpired);
    let (w, fix) = emergency_on_a_merge("[bob, carol]");
    isnt_accepted(&w, fix);
}

/// A merge by alice of a branch that carol approves and of one whose tree holds a name that isn't UTF-8.
fn merge_with_an_unreadable_branch() -> (World, Oid, Oid) {
    let (p, mut w) = (people(), World::default());
    let blob = w.store.write(plumb_trust::ObjectKind::Blob, *b"1");
    let tree = w.store.raw_tree(&[("100644", b"\xe9", blob)]);
    let latin = w.on(w.root).tree(tree).make(&mut w);
    let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
    w.approve(tip, &p.carol);
    let merge = w.merge(&[w.root, tip, latin]).file("prod/a", "1");
    let merge = merge.sign(&p.alice).make(&mut w);
    w.accepts(merge);
    (w, latin, merge)
}

#[test]
fn own_201_approval_of_an_unreadable_branch_lowers_no_verdict() {
    let (mut w, latin, merge) = merge_with_an_unreadable_branch();
    w.approve(latin, &people().bob);
    w.accepts(merge);
}

#[test]
fn own_202_revoking_the_approver_of_an_unreadable_branch_accepts_nothing_more() {
    let p = people();
    let (mut w, latin, merge) = merge_with_an_unreadable_branch();
    w.approve(latin, &p.bob);
    let before = w.verify(merge).accepted;
    w.revoked.read(p.bob.public().as_bytes()).unwrap();
    assert_eq!(w.verify(merge).accepted, before);
}

/// Returns an unsigned merge that takes lab/b of an approved branch and leaves out lab/a. Two commits of the
/// mainline claim to be so much older than they are.
fn partial_merge(older: i64) -> (World, Oid) {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    let fixed = w.on(root).file("lab/a", "fixed");
    let date = fixed.seconds;
    let fixed = fixed
        .dated(date - older)
        .sign_at(&p.alice, date)
        .make(&mut w);
    let fork = w.on(fixed).file("fleet.yaml", "kind: Fleet\n\n");
    let date = fork.seconds;
    let fork = fork
        .dated(date - older)
        .sign_at(&p.alice, date)
        .make(&mut w);
    let here = w.on(root).file("lab/here", "1").make(&mut w);
    let main = w.merge(&[fork, here]).file("lab/here", "1");
    let main = main.sign(&p.alice).make(&mut w);
    w.accepts(main);
    // The branch puts lab/a back and changes lab/b; bob approves both.
    let there = w.on(root).file("lab/there", "1").make(&mut w);
    let tip = w
        .merge(&[fork, there])
        .file("lab/there", "1")
        .file("lab/a", "a\n")
        .file("lab/b", "2")
        .make(&mut w);
    w.approve(tip, &p.bob);
    let merge = w.merge(&[main, tip]).file("lab/there", "1");
    let merge = merge.file("lab/b", "2").make(&mut w);
    (w, merge)
}

#[test]
fn own_203_false_dates_add_no_merge_base() {
    let (w, merge) = partial_merge(0);
    w.pends(merge, R::Uncovered);
    let (w, merge) = partial_merge(6000);
    w.pends(merge, R::Uncovered);
}

#[test]
fn own_204_floor_knows_when_its_commit_was_signed() {
    let (p, mut w) = (people(), World::default());
    let one = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_at(&p.alice, START + DAY)
        .make(&mut w);
    let two = w.on(one).file("lab/a", "2").dated(START + 600);
    let two = two.sign(&p.carol).make(&mut w);
    for floor in [w.root, one] {
        w.floor = Some(floor);
        w.alarms(two, R::Backdated);
    }
}

/// The rows of a trailer block that git reads though not every line of it is a trailer with a space.
#[test]
fn own_205_trailers_that_git_reads_bind() {
    let p = people();
    let mut held = Vec::new();
    for line in ["Closes:#12", "Signed-off-by: a <a@b>\n[alice: rebased]"] {
        let mut w = World::with(|policy| "trailer".clone_into(&mut policy.bind_ref));
        let message = format!("a change\n\n{line}\nDeploy-Ref: {REPOSITORY} {REF}\n");
        let c = w.on(w.root).file("lab/a", "1").message(&message);
        let c = c.sign(&p.alice).make(&mut w);
        if w.verify(c).accepted != c {
            held.push(line);
        }
    }
    assert!(held.is_empty(), "held: {held:?}");
}

#[test]
fn own_206_key_file_written_again_without_its_picture_has_lost_no_revocation() {
    let p = people();
    let picture = Subpacket::Image(Image::JPEG(vec![1; 8].into_boxed_slice()));
    let picture = UserAttribute::new(&[picture]).unwrap();
    let sign = |kind| {
        SignatureBuilder::new(kind)
            .set_hash_algo(HashAlgorithm::SHA512)
            .set_signature_creation_time(at(BORN + 60))
            .unwrap()
            .sign_user_attribute_binding(
                &mut signer(&p.bob),
                p.bob.cert().primary_key().key(),
                &picture,
            )
            .unwrap()
    };
    let binding = sign(SignatureType::PositiveCertification);
    let revocation = sign(SignatureType::CertificationRevocation);
    let packets = vec![picture.clone().into(), binding.into(), revocation.into()];
    let exported = with(&p.bob, packets);
    let mut w = World::with(|policy| policy.identity("bob", &[&exported]));
    let file = plumb_trust::policy::KeyFile::parse(exported.public().as_bytes()).unwrap();
    let written = file.to_text().unwrap();
    let root = w.root;
    let step = approved_step(&mut w, root, |policy| {
        policy.keys.retain(|(file, _)| !file.starts_with("bob-"));
        policy.keys.push(("bob-0".to_owned(), written));
    });
    w.accepts(step);
}

/// An unsigned merge of an approved branch that doesn't take either of its two changes.
#[test]
fn own_207_notes_are_the_same_in_every_verification() {
    let (p, mut w) = (people(), World::default());
    let tip = w.on(w.root).file("lab/a", "1").file("lab/b", "1");
    let tip = tip.make(&mut w);
    w.approve(tip, &p.bob);
    let merge = w.merge(&[w.root, tip]).make(&mut w);
    let first = format!("{:?}", w.verify(merge));
    for _ in 0..20 {
        assert_eq!(format!("{:?}", w.verify(merge)), first);
    }
}

/// What `cat revocation.asc >> alice.asc` makes: a second armored block with the revocation alone.
#[test]
fn own_208_revocation_in_a_block_of_its_own_counts() {
    use sequoia_openpgp::armor::{Kind, Writer};
    use sequoia_openpgp::serialize::Serialize as _;
    let p = people();
    let revoked = p.alice.revoked(Why::KeyCompromised, START);
    let primary = revoked.cert().primary_key();
    let packet = Packet::from(primary.self_revocations().next().unwrap().clone());
    let mut block = Writer::new(Vec::new(), Kind::PublicKey).unwrap();
    packet.serialize(&mut block).unwrap();
    let block = String::from_utf8(block.finalize().unwrap()).unwrap();
    let mut w = World::with(|policy| {
        let file = policy.keys.iter_mut().find(|(file, _)| file == "alice-0");
        file.unwrap().1.push_str(&block);
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    isnt_accepted(&w, c);
}

#[test]
fn own_209_designated_retirement_counts_from_its_time_for_a_key_used_before() {
    let p = people();
    let named = p.alice.designating(&p.dave, HashAlgorithm::SHA512);
    let how = Revoking::new(Why::KeyRetired, START + DAY).hash(HashAlgorithm::SHA1);
    let revoked = named.revoked_by(&p.dave, how);
    let (mut w, c) = crate::revocations::signed_by_alice(&revoked);
    w.accepts(c);
    w.wait(2 * DAY);
    let next = w.on(c).file("lab/a", "2").sign(&p.alice).make(&mut w);
    w.alarms(next, R::KeyRevoked);
}

#[test]
fn own_210_certificate_revoked_on_this_machine_is_revoked_as_ssh_key() {
    let pgp = Key::pgp_with_secret("alice", &SECRET, BORN);
    let ssh = Key::ssh_with_secret("alice", &SECRET);
    let (mut w, c) = crate::revocations::signed_by_alice(&ssh);
    w.accepts(c);
    w.revoked.read(pgp.public().as_bytes()).unwrap();
    isnt_accepted(&w, c);
}

/// As `false_dates_add_no_merge_base`, by somebody without a key: two approved branches and their unsigned
/// merges claim to be old.
#[test]
fn own_211_old_dates_of_unsigned_merges_let_no_partial_merge_pass() {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    let mut fork = root;
    for (path, content, date) in [
        ("lab/a", "fixed", START - 7000),
        ("fleet.yaml", "kind: Fleet\n\n", START - 6000),
    ] {
        let branch = w.on(root).file(path, content);
        let branch = branch.dated(START - 7000).make(&mut w);
        w.approve(branch, &p.carol);
        let merge = w.merge(&[fork, branch]).file(path, content);
        fork = merge.dated(date).make(&mut w);
        w.accepts(fork);
    }
    let here = w.on(root).file("lab/here", "1").make(&mut w);
    let main = w.merge(&[fork, here]).file("lab/here", "1");
    let main = main.sign(&p.alice).make(&mut w);
    w.accepts(main);
    let there = w.on(root).file("lab/there", "1").make(&mut w);
    let tip = w
        .merge(&[fork, there])
        .file("lab/there", "1")
        .file("lab/a", "a\n")
        .file("lab/b", "2")
        .make(&mut w);
    w.approve(tip, &p.bob);
    let merge = w.merge(&[main, tip]).file("lab/there", "1");
    let merge = merge.file("lab/b", "2").make(&mut w);
    w.pends(merge, R::Uncovered);
}
