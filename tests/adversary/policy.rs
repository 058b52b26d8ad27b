//! Changes of the policy itself.

use std::fmt::Write as _;

use plumb_trust::ReasonCode as R;
use sequoia_openpgp::types::ReasonForRevocation;
use tests::keys::{Key, people};
use tests::objects::{PolicyText, World};

type Change = fn(&mut PolicyText);

/// Adds mallory to ops.
fn add_mallory(policy: &mut PolicyText) {
    policy.identity("mallory", &[&people().mallory]);
    policy.groups[0].1 = String::from("[alice, bob, carol, mallory]");
}

#[test]
fn case_27_the_policy_removed() {
    let (p, mut w) = (people(), World::default());
    let mut commit = w.on(w.root);
    commit.files.retain(|path, _| !path.starts_with("trust/"));
    let c = commit.sign(&p.alice).make(&mut w);
    w.approve(c, &p.bob);
    w.approve(c, &p.dave);
    w.rejects(c, R::PolicyInvalid);
    let c = w
        .on(w.root)
        .without("trust/policy.yaml")
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
}

#[test]
fn case_28_adds_its_own_key_and_uses_it() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .policy_step(w.root, add_mallory)
        .sign(&p.mallory)
        .make(&mut w);
    w.pends(c, R::Uncovered);
}

#[test]
fn case_29_the_child_uses_the_new_key() {
    let (p, mut w) = (people(), World::default());
    let step = w.approved_policy_step(w.root, add_mallory);
    let c = w.on(step).file("lab/a", "1").sign(&p.mallory).make(&mut w);
    w.accepts(c);
}

#[test]
fn a_policy_step_needs_what_its_rule_says() {
    let (p, mut w) = (people(), World::default());
    let step = w
        .policy_step(w.root, add_mallory)
        .sign(&p.alice)
        .make(&mut w);
    w.approve(step, &p.bob);
    let outcome = w.pends(step, R::ApprovalsMissing);
    assert_eq!(outcome.steps[0].reasons[0].missing[0].from, "sec");
    w.approve(step, &p.erin);
    w.accepts(step);
}

#[test]
fn case_30_threshold_lowered_together_with_a_change() {
    let (p, mut w) = (people(), World::default());
    let lower = |policy: &mut PolicyText| {
        policy.rules[1] = "{paths: [\"prod/**\"], need: [{from: ops, count: 1}]}".to_owned();
    };
    let c = w
        .policy_step(w.root, lower)
        .file("prod/a", "evil")
        .sign(&p.alice)
        .make(&mut w);
    w.approve(c, &p.bob);
    w.approve(c, &p.dave);
    w.rejects(c, R::PolicyNotIsolated);
}

#[test]
fn case_31_unsatisfiable_or_unparsable() {
    let p = people();
    let changes: [(Change, R); 6] = [
        (
            |t| {
                t.rules[2] =
                    "{paths: [\"trust/**\"], need: [{from: ops, count: 4}, {from: sec, count: 1}]}"
                        .to_owned();
            },
            R::PolicyUnsatisfiable,
        ),
        (|t| t.more = "unknown: 1".to_owned(), R::PolicyInvalid),
        (|t| t.rules.clear(), R::PolicyInvalid),
        (
            |t| t.rules[0] = "{paths: [\"**\"], need: []}".to_owned(),
            R::PolicyInvalid,
        ),
        (
            |t| t.rules[0] = "{paths: [\"**\"], need: [{from: ops, count: 0}]}".to_owned(),
            R::PolicyInvalid,
        ),
        (
            |t| t.rules[2] = "{paths: [\"trust/**\"], need: [{from: ops, count: 1}]}".to_owned(),
            R::PolicyInvalid,
        ),
    ];
    for (change, code) in changes {
        let mut w = World::default();
        let c = w.policy_step(w.root, change).sign(&p.alice).make(&mut w);
        w.approve(c, &p.bob);
        w.approve(c, &p.dave);
        w.rejects(c, code);
    }
}

#[test]
fn case_32_serial_reused_or_decreased() {
    let p = people();
    for serial in [0, 1] {
        let mut w = World::default();
        let c = w
            .policy_step(w.root, |policy| {
                add_mallory(policy);
                policy.serial = serial;
            })
            .sign(&p.alice)
            .make(&mut w);
        w.rejects(c, R::PolicySerial);
    }
    // A key's file alone is a change of trust/ too.
    let mut w = World::default();
    let c = w
        .on(w.root)
        .file("trust/keys/new", &p.mallory.public())
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicySerial);
}

#[test]
fn case_33_policy_as_link_gitlink_duplicate_key_or_alias_bomb() {
    let p = people();
    let mut w = World::default();
    let c = w
        .on(w.root)
        .entry("trust/policy.yaml", "120000", b"../lab/a")
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::Link);
    let mut w = World::default();
    let policy = String::from_utf8(w.files(&w.root)["trust/policy.yaml"].1.clone()).unwrap();
    let twice = policy.replace("serial: 1", "serial: 2\n  serial: 3");
    let c = w
        .on(w.root)
        .file("trust/policy.yaml", &twice)
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
    let mut bomb = policy.replace("serial: 1", "serial: 2");
    bomb.push_str("x0: &x0 [a,a,a,a,a,a,a,a,a]\n");
    for n in 1..12 {
        writeln!(
            bomb,
            "x{n}: &x{n} [*x{0},*x{0},*x{0},*x{0},*x{0},*x{0},*x{0},*x{0},*x{0}]",
            n - 1
        )
        .unwrap();
    }
    let c = w
        .on(w.root)
        .file("trust/policy.yaml", &bomb)
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
    // A gitlink anywhere.
    let root_tree = w.verify(w.root).revision().unwrap().tree();
    let tree = w
        .store
        .raw_tree(&[("160000", b"trust", w.root), ("40000", b"x", root_tree)]);
    let c = w.on(w.root).tree(tree).sign(&p.alice).make(&mut w);
    w.rejects(c, R::Gitlink);
}

#[test]
fn case_73_one_key_under_two_identities() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .policy_step(w.root, |policy| policy.identity("alice2", &[&p.alice]))
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
}

#[test]
fn own_25_one_subkey_in_the_certificates_of_two() {
    use sequoia_openpgp as openpgp;
    let builder = openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(openpgp::types::KeyFlags::empty().set_certification())
        .add_signing_subkey();
    let (p, shared) = (people(), Key::pgp_built(builder, "alice"));
    let subkey = shared
        .cert()
        .keys()
        .subkeys()
        .next()
        .unwrap()
        .key()
        .clone()
        .parts_into_public()
        .role_into_subordinate();
    let bob = Key::Pgp(Box::new(
        p.bob
            .cert()
            .clone()
            .insert_packets([openpgp::Packet::from(subkey)])
            .unwrap()
            .0,
    ));
    let mut w = World::default();
    let c = w
        .policy_step(w.root, |policy| {
            policy.identity("alice", &[&shared]);
            policy.identity("bob", &[&bob]);
        })
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
}

#[test]
fn own_26_repository_and_ref_can_t_change() {
    let p = people();
    let changes: [Change; 2] = [
        |t| "other".clone_into(&mut t.repository),
        |t| "refs/heads/other".clone_into(&mut t.reference),
    ];
    for change in changes {
        let mut w = World::default();
        let c = w.policy_step(w.root, change).sign(&p.alice).make(&mut w);
        w.rejects(c, R::PolicyMoved);
    }
}

#[test]
fn own_27_the_policy_is_of_another_branch_than_the_one_that_is_watched() {
    let w = World::with(|policy| "refs/heads/other".clone_into(&mut policy.reference));
    let outcome = w.verify(w.root);
    assert_eq!(outcome.reasons[0].code, R::PolicyMoved);
    assert!(!outcome.is_accept());
}

#[test]
fn case_77_a_step_that_drops_a_revocation() {
    let p = people();
    for reason in [
        ReasonForRevocation::KeyCompromised,
        ReasonForRevocation::KeyRetired,
    ] {
        let revoked = p.bob.revoked(reason, tests::objects::START);
        let mut w = World::with(|policy| policy.identity("bob", &[&revoked]));
        let step = w
            .policy_step(w.root, |policy| policy.identity("bob", &[&p.bob]))
            .sign(&p.alice)
            .make(&mut w);
        w.rejects(step, R::RevocationDropped);
    }
}

#[test]
fn own_28_dropping_a_certificate_and_adding_it_again_without_its_revocation() {
    let p = people();
    let revoked = p
        .bob
        .revoked(ReasonForRevocation::KeyCompromised, tests::objects::START);
    let without = |policy: &mut PolicyText| {
        policy.identities.retain(|(name, _)| name != "bob");
        policy.keys.retain(|(file, _)| !file.starts_with("bob"));
        policy.groups[0].1 = "[alice, carol]".to_owned();
    };
    let sign = |w: &mut World, step| {
        w.approve(step, &p.carol);
        w.approve(step, &p.dave);
    };
    // The policy that believed the certificate was the first, or came by a step.
    let first = World::with(|policy| policy.identity("bob", &[&revoked]));
    let mut later = World::default();
    let step = later.policy_step(later.root, |policy| policy.identity("bob", &[&revoked]));
    let step = step.sign(&p.alice).make(&mut later);
    sign(&mut later, step);
    for (mut w, from) in [(first.clone(), first.root), (later, step)] {
        let out = w.policy_step(from, without).sign(&p.alice).make(&mut w);
        sign(&mut w, out);
        let back = w
            .policy_step(out, |policy| {
                policy.identity("bob", &[&p.bob]);
                policy.groups[0].1 = "[alice, bob, carol]".to_owned();
            })
            .sign(&p.alice)
            .make(&mut w);
        sign(&mut w, back);
        w.rejects(back, R::RevocationDropped);
    }
}

// The study's table says reject for a TrustPolicy anywhere else. Nothing is ever read as a policy but
// `trust/policy.yaml`, so such a file protects and endangers nobody; to find it in every spelling of YAML would
// mean to parse what strangers push. So it is a file like others.
#[test]
fn case_79_a_policy_elsewhere_is_a_file_and_a_second_document_is_refused() {
    let (p, mut w) = (people(), World::default());
    let text = w.policy.render();
    for (path, content) in [
        ("hosts/policy.yaml", text.clone()),
        ("hosts/a.yaml", format!("kind: Host\n---\n{text}")),
        ("x.yaml", "a: &k TrustPolicy\nkind: *k\n".to_owned()),
    ] {
        let c = w.on(w.root).file(path, &content);
        let c = c.sign(&p.alice).make(&mut w);
        w.accepts(c);
    }
    let c = w
        .policy_step(w.root, |_| {})
        .file("trust/policy.yaml", &format!("{text}---\n{text}"))
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
}

#[test]
fn own_29_secret_keys_several_keys_and_certificates_aren_t_taken() {
    use sequoia_openpgp::serialize::SerializeInto as _;
    let p = people();
    let secret = String::from_utf8(p.mallory.cert().as_tsk().armored().to_vec().unwrap()).unwrap();
    let two = format!("{}\n{}", p.carol.public(), p.erin.public());
    let certs = format!("{}{}", p.mallory.public(), p.alice.public());
    let ssh_certificate = "ssh-ed25519-cert-v01@openssh.com AAAA x";
    for content in [
        secret.as_str(),
        &two,
        &certs,
        ssh_certificate,
        "ssh-ed25519 garbage",
    ] {
        let mut w = World::default();
        let c = w
            .policy_step(w.root, |_| {})
            .file("trust/keys/new", content)
            .sign(&p.alice)
            .make(&mut w);
        w.rejects(c, R::PolicyInvalid);
    }
}

#[test]
fn own_30_a_key_without_its_file() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .policy_step(w.root, |policy| {
            policy.keys.retain(|(file, _)| !file.starts_with("bob"));
        })
        .sign(&p.alice)
        .make(&mut w);
    w.rejects(c, R::PolicyInvalid);
}

#[test]
fn own_31_no_rule_for_a_path() {
    let p = people();
    let mut w = World::with(|policy| {
        policy.rules[0] = "{paths: [\"lab/**\"], need: [{from: ops, count: 1}]}".to_owned();
    });
    let c = w
        .on(w.root)
        .file("other/a", "1")
        .sign(&p.alice)
        .make(&mut w);
    w.approve(c, &p.bob);
    let outcome = w.rejects(c, R::NoRule);
    assert_eq!(outcome.steps[0].reasons[0].paths, ["other/a"]);
}

#[test]
fn own_33_a_beacon_approves_nothing() {
    let p = people();
    let mut w = World::with(|policy| policy.identity("beacon", &[&p.mallory]));
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.mallory)
        .make(&mut w);
    w.pends(c, R::Uncovered);
    // A change of nothing needs somebody too, who counts.
    let empty = w.on(w.root).sign(&p.mallory).make(&mut w);
    w.pends(empty, R::Uncovered);
    let empty = w.on(w.root).make(&mut w);
    w.pends(empty, R::Uncovered);
    let empty = w.on(w.root).sign(&p.dave).make(&mut w);
    w.accepts(empty);
}

#[test]
fn own_34_one_identity_in_two_groups_fills_both_needs() {
    let p = people();
    let mut w = World::with(|policy| policy.groups[1].1 = "[alice, erin]".to_owned());
    let step = w.policy_step(w.root, |_| {}).sign(&p.alice).make(&mut w);
    w.approve(step, &p.bob);
    w.accepts(step);
}

// A thief goes on with the key that was revoked and then taken out of the policy.
#[test]
fn own_111_a_revoked_key_that_has_left_the_policy() {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    for (n, signer) in [&p.alice, &p.bob, &p.dave].into_iter().enumerate() {
        w.tag(&format!("revoke/{}/{n}", p.carol.hex()), root)
            .sign(signer)
            .make(&mut w);
    }
    let out = w.approved_policy_step(root, |policy| {
        policy.identities.retain(|(name, _)| name != "carol");
        policy.keys.retain(|(file, _)| !file.starts_with("carol"));
        "[alice, bob]".clone_into(&mut policy.groups[0].1);
    });
    w.accepts(out);
    let c = w.on(out).file("lab/a", "1").sign(&p.carol).make(&mut w);
    let outcome = w.alarms(c, R::KeyRevoked);
    assert!(tests::objects::show(&outcome).contains("which the policy doesn't have"));
    // It makes nothing worse that is enough without it.
    w.approve(c, &p.alice);
    w.accepts(c);
    // Another's key is a stranger's as before.
    w.tags.retain(|tag| !tag.name.contains("revoke/"));
    let c = w.on(out).file("lab/a", "1").sign(&p.mallory).make(&mut w);
    w.pends(c, R::UnknownKey);
}
