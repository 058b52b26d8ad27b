//! Revocations in certificates: a weak hash or another signer takes nothing from them, and no step of the
//! policy loses one.

use plumb_trust::{Oid, ReasonCode as R};
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation as Why};
use tests::certificates::Revoking;
use tests::keys::{DAY, Key, people};
use tests::objects::{PolicyText, START, World};

const WEAK: [HashAlgorithm; 3] = [
    HashAlgorithm::SHA1,
    HashAlgorithm::MD5,
    HashAlgorithm::RipeMD,
];

/// A certificate whose signing subkey makes its signatures.
fn with_subkey(name: &str) -> Key {
    Key::pgp_built(
        CertBuilder::new()
            .set_primary_key_flags(KeyFlags::empty().set_certification())
            .add_signing_subkey(),
        name,
    )
}

/// A commit of `lab/a` that alice signs, under a policy in which her certificate is this one.
pub(crate) fn signed_by_alice(certificate: &Key) -> (World, Oid) {
    let mut w = World::with(|policy| policy.identity("alice", &[certificate]));
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(certificate)
        .make(&mut w);
    (w, c)
}

/// Signs a policy step of alice's with the rest of what `trust/**` needs.
fn approved(w: &mut World, step: Oid) -> Oid {
    let p = people();
    w.approve(step, &p.carol);
    w.approve(step, &p.dave);
    step
}

#[test]
fn own_126_hard_revocation_with_a_weak_hash_counts() {
    let p = people();
    for hash in WEAK {
        for reason in [Why::KeyCompromised, Why::Unspecified] {
            let how = Revoking::new(reason, START + DAY).hash(hash);
            let (w, c) = signed_by_alice(&p.alice.revoked_by(&p.alice, how));
            w.alarms(c, R::KeyRevoked);
        }
    }
}

#[test]
fn own_127_soft_revocation_with_a_weak_hash_counts_from_its_time() {
    let p = people();
    for hash in WEAK {
        for (seconds, accepted) in [(START - DAY, false), (START + DAY, true)] {
            let how = Revoking::new(Why::KeyRetired, seconds).hash(hash);
            let (w, c) = signed_by_alice(&p.alice.revoked_by(&p.alice, how));
            if accepted {
                w.accepts(c);
            } else {
                w.alarms(c, R::KeyRevoked);
            }
        }
    }
}

#[test]
fn own_128_subkey_revocation_with_a_weak_hash_counts() {
    let key = with_subkey("alice");
    for hash in WEAK {
        for (reason, seconds) in [
            (Why::KeyCompromised, START + DAY),
            (Why::KeyRetired, START - DAY),
        ] {
            let how = Revoking::new(reason, seconds).hash(hash);
            let (w, c) = signed_by_alice(&key.subkey_revoked_by(&key, how));
            w.alarms(c, R::KeyRevoked);
        }
    }
}

#[test]
fn own_129_revocation_with_a_weak_hash_that_a_step_brings_counts() {
    let p = people();
    for (reason, seconds) in [(Why::KeyCompromised, START), (Why::KeyRetired, START - DAY)] {
        let how = Revoking::new(reason, seconds).hash(HashAlgorithm::SHA1);
        let revoked = p.bob.revoked_by(&p.bob, how);
        let mut w = World::default();
        let step = w.policy_step(w.root, |policy| policy.identity("bob", &[&revoked]));
        let step = step.sign(&p.alice).make(&mut w);
        approved(&mut w, step);
        w.accepts(step);
        let c = w.on(step).file("lab/a", "1").sign(&p.bob).make(&mut w);
        w.alarms(c, R::KeyRevoked);
    }
}

#[test]
fn own_130_weak_self_signature_overrides_no_soft_revocation() {
    let p = people();
    let retired = p.alice.revoked(Why::KeyRetired, START - DAY);
    let (w, c) = signed_by_alice(&retired.bound_again(START - 60, HashAlgorithm::SHA1));
    w.alarms(c, R::KeyRevoked);
    let (w, c) = signed_by_alice(&retired.bound_again(START - 60, HashAlgorithm::SHA512));
    w.accepts(c);
}

#[test]
fn own_131_policy_that_counts_on_a_key_with_a_weak_revocation_is_unsatisfiable() {
    let p = people();
    let how = Revoking::new(Why::KeyCompromised, START).hash(HashAlgorithm::SHA1);
    let revoked = p.bob.revoked_by(&p.bob, how);
    let mut w = World::default();
    let step = w.policy_step(w.root, |policy| {
        policy.identity("bob", &[&revoked]);
        policy.groups[0].1 = "[alice, bob]".to_owned();
    });
    let step = step.sign(&p.alice).make(&mut w);
    approved(&mut w, step);
    w.rejects(step, R::PolicyUnsatisfiable);
}

#[test]
fn own_132_revoke_tag_signed_over_a_weak_hash_counts() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let root = w.root;
    for (n, signer) in [&p.bob, &p.dave].into_iter().enumerate() {
        let weak = |raw: Vec<u8>| {
            let at = u32::try_from(START + 120).unwrap();
            let block = signer.sign_pgp(&raw, at.into(), |b| b.set_hash_algo(HashAlgorithm::SHA1));
            [&raw[..], block.as_bytes()].concat()
        };
        let tag = w.tag(&format!("revoke/{}/{n}", p.alice.hex()), root);
        tag.dated(START + 120).edit(weak).make(&mut w);
    }
    w.accepts(c);
    w.tag(&format!("revoke/{}/9", p.alice.hex()), root)
        .sign(&p.carol)
        .make(&mut w);
    w.alarms(c, R::KeyRevoked);
}

#[test]
fn own_133_revocation_of_an_unused_key_file_is_kept() {
    let p = people();
    for reason in [Why::KeyCompromised, Why::KeyRetired] {
        let revoked = p.mallory.revoked(reason, START);
        let file = ("old-mallory".to_owned(), revoked.public());
        let mut w = World::with(|policy| policy.keys.push(file.clone()));
        let step = w.policy_step(w.root, |policy| {
            policy.keys.retain(|(name, _)| name != "old-mallory");
            policy
                .keys
                .push(("old-mallory".to_owned(), p.mallory.public()));
        });
        let step = step.sign(&p.alice).make(&mut w);
        approved(&mut w, step);
        w.rejects(step, R::RevocationDropped);
        // Nor does it come back as a key that counts.
        let mut w = World::with(|policy| policy.keys.push(file));
        let step = w.policy_step(w.root, |policy| {
            policy.keys.retain(|(name, _)| name != "old-mallory");
            policy.identity("mallory", &[&p.mallory]);
            policy.groups[0].1 = "[alice, bob, carol, mallory]".to_owned();
        });
        let step = step.sign(&p.alice).make(&mut w);
        approved(&mut w, step);
        w.rejects(step, R::RevocationDropped);
    }
}

/// Drops bob's certificate in one step and adds a clean copy in the next one.
fn dropped_and_added(before: &Key, after: &Key) -> (World, Oid, Oid) {
    let p = people();
    let mut w = World::with(|policy| policy.identity("bob", &[before]));
    let without = |policy: &mut PolicyText| {
        policy.identities.retain(|(name, _)| name != "bob");
        policy.keys.retain(|(file, _)| !file.starts_with("bob"));
        "[alice, carol]".clone_into(&mut policy.groups[0].1);
    };
    let out = w.policy_step(w.root, without).sign(&p.alice).make(&mut w);
    approved(&mut w, out);
    w.accepts(out);
    let back = w.policy_step(out, |policy| {
        policy.identity("bob", &[after]);
        "[alice, bob, carol]".clone_into(&mut policy.groups[0].1);
    });
    let back = back.sign(&p.alice).make(&mut w);
    approved(&mut w, back);
    (w, out, back)
}

#[test]
fn own_134_certificate_comes_back_with_every_revocation_that_it_had() {
    let (p, key) = (people(), with_subkey("bob"));
    let how = |reason| Revoking::new(reason, START);
    let weak = how(Why::KeyRetired).hash(HashAlgorithm::SHA1);
    for (before, clean) in [
        (key.subkey_revoked(Why::KeyCompromised, START), &key),
        (key.subkey_revoked(Why::KeyRetired, START), &key),
        (p.bob.revoked(Why::KeyRetired, START), &p.bob),
        (p.bob.revoked(Why::KeyCompromised, START), &p.bob),
        (p.bob.revoked_by(&p.bob, weak), &p.bob),
        (p.bob.user_id_revoked(how(Why::UIDRetired)), &p.bob),
    ] {
        let (mut w, out, back) = dropped_and_added(&before, clean);
        w.rejects(back, R::RevocationDropped);
        // A floor in between remembers what came before it.
        w.floor = Some(out);
        w.rejects(back, R::RevocationDropped);
        let next = w.on(out).file("lab/a", "1").sign(&p.alice).make(&mut w);
        w.accepts(next);
        // The same copy may come back.
        let (mut w, out, back) = dropped_and_added(&before, &before);
        w.accepts(back);
        w.floor = Some(out);
        w.accepts(back);
    }
}

#[test]
fn own_135_compromised_subkey_comes_back_in_no_other_certificate() {
    let key = with_subkey("bob");
    let fresh = with_subkey("bob");
    let adopting = fresh.adopting_subkey_of(&key);
    let before = key.subkey_revoked(Why::KeyCompromised, START);
    let (mut w, out, back) = dropped_and_added(&before, &adopting);
    w.rejects(back, R::RevocationDropped);
    w.floor = Some(out);
    w.rejects(back, R::RevocationDropped);
    // Nor in the step that drops the one that says so.
    let p = people();
    let mut w = World::with(|policy| policy.identity("bob", &[&before]));
    let swap = w.policy_step(w.root, |policy| policy.identity("bob", &[&adopting]));
    let swap = swap.sign(&p.alice).make(&mut w);
    approved(&mut w, swap);
    w.rejects(swap, R::RevocationDropped);
    let swap = w.policy_step(w.root, |policy| policy.identity("bob", &[&fresh]));
    let swap = swap.sign(&p.alice).make(&mut w);
    approved(&mut w, swap);
    w.accepts(swap);
}

#[test]
fn own_136_compromised_key_comes_back_in_no_other_form() {
    let secret = [7; 32];
    let pgp = Key::pgp_with_secret("bob", &secret, tests::keys::BORN);
    let ssh = Key::ssh_with_secret("bob", &secret);
    let younger = Key::pgp_with_secret("bob", &secret, tests::keys::BORN + DAY);
    let before = pgp.revoked(Why::KeyCompromised, START);
    for after in [&ssh, &younger] {
        let (mut w, out, back) = dropped_and_added(&before, after);
        w.rejects(back, R::RevocationDropped);
        w.floor = Some(out);
        w.rejects(back, R::RevocationDropped);
    }
}

#[test]
fn own_137_designated_revoker_of_the_policy_revokes() {
    let p = people();
    let subkey = with_subkey("alice");
    for hash in [HashAlgorithm::SHA512, HashAlgorithm::SHA1] {
        for (reason, seconds) in [
            (Why::KeyCompromised, START + DAY),
            (Why::KeyRetired, START - DAY),
        ] {
            let how = Revoking::new(reason, seconds).hash(hash);
            let named = p.alice.designating(&p.bob, hash);
            let (w, c) = signed_by_alice(&named);
            w.accepts(c);
            let (w, c) = signed_by_alice(&named.revoked_by(&p.bob, how));
            w.alarms(c, R::KeyRevoked);
            // Of a subkey too (RFC 4880, 5.2.1, type 0x28).
            let named = subkey.designating(&p.dave, hash);
            let (w, c) = signed_by_alice(&named.subkey_revoked_by(&p.dave, how));
            w.alarms(c, R::KeyRevoked);
        }
    }
}

#[test]
fn own_138_only_a_designated_revoker_revokes_anothers_key() {
    let p = people();
    let how = Revoking::new(Why::KeyCompromised, START);
    // Nobody named bob.
    let (w, c) = signed_by_alice(&p.alice.revoked_by(&p.bob, how));
    w.accepts(c);
    // Dave is named, and bob says so.
    let named = p.alice.designating(&p.dave, HashAlgorithm::SHA512);
    let (w, c) = signed_by_alice(&named.revoked_by(&p.bob, how));
    w.accepts(c);
    // Who is named is in no identity, but the repository has the key.
    let named = p.alice.designating(&p.mallory, HashAlgorithm::SHA512);
    let mut w = World::with(|policy| {
        policy.identity("alice", &[&named.revoked_by(&p.mallory, how)]);
        policy.keys.push(("mallory".to_owned(), p.mallory.public()));
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    w.alarms(c, R::KeyRevoked);
}

#[test]
fn own_139_designated_revocation_that_a_step_brings_counts_and_is_kept() {
    let p = people();
    let named = p.bob.designating(&p.dave, HashAlgorithm::SHA512);
    let revoked = named.revoked_by(&p.dave, Revoking::new(Why::KeyCompromised, START));
    let mut w = World::with(|policy| policy.identity("bob", &[&named]));
    let step = w.policy_step(w.root, |policy| policy.identity("bob", &[&revoked]));
    let step = step.sign(&p.alice).make(&mut w);
    approved(&mut w, step);
    w.accepts(step);
    let c = w.on(step).file("lab/a", "1").sign(&p.bob).make(&mut w);
    w.alarms(c, R::KeyRevoked);
    let (w, _, back) = dropped_and_added(&revoked, &named);
    w.rejects(back, R::RevocationDropped);
}

#[test]
fn own_212_weak_self_signature_ends_a_key_and_prolongs_none() {
    let p = people();
    for hash in WEAK {
        let (w, c) = signed_by_alice(&p.alice.ended_at(START - DAY, hash));
        w.alarms(c, R::KeyExpired);
        // It holds from its own time on.
        let (w, c) = signed_by_alice(&p.alice.ended_at(START + DAY, hash));
        w.accepts(c);
        // Nor does a weak one prolong what a strong one ended.
        let ended = p.alice.ended_at(START - DAY, HashAlgorithm::SHA512);
        let (w, c) = signed_by_alice(&ended.bound_again(START - 60, hash));
        w.alarms(c, R::KeyExpired);
    }
}
