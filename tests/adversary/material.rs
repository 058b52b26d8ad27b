//! Keys by what they are, not by the form that they have: one secret is one key.

use plumb_trust::ReasonCode as R;
use tests::keys::{BORN, DAY, Key, people};
use tests::objects::{PolicyText, START, World};

const SECRET: [u8; 32] = [42; 32];

/// The three forms of one Ed25519 key.
fn forms(name: &str) -> [Key; 3] {
    [
        Key::pgp_with_secret(name, &SECRET, BORN),
        Key::pgp_with_secret(name, &SECRET, BORN + DAY),
        Key::ssh_with_secret(name, &SECRET),
    ]
}

#[track_caller]
fn shared(policy: impl FnOnce(&mut PolicyText)) {
    let w = World::with(policy);
    let outcome = w.verify(w.root);
    let reason = outcome.reasons.first().expect("the policy is refused");
    assert_eq!(reason.code, R::PolicyInvalid, "{}", reason.message);
    assert!(
        reason.message.contains("alice") && reason.message.contains("bob"),
        "{}",
        reason.message
    );
}

#[test]
fn own_170_one_ed25519_key_in_two_forms_is_one_identitys() {
    for a in forms("alice") {
        for b in forms("bob") {
            if a.public() == b.public() || a.policy_line() == b.policy_line() {
                continue;
            }
            shared(|policy| {
                policy.identity("alice", &[&a]);
                policy.identity("bob", &[&b]);
            });
        }
    }
}

#[test]
fn own_171_ssh_key_without_a_file_is_compared_by_its_fingerprint() {
    let [pgp, _, ssh] = forms("x");
    shared(|policy| {
        policy.identity("alice", &[&pgp]);
        policy.identity("bob", &[&ssh]);
        policy.keys.retain(|(file, _)| file != "bob-0");
    });
}

#[test]
fn own_172_subkey_is_compared_too() {
    // Bob's certificate has the primary key of alice's SSH key as a subkey.
    let p = people();
    let ssh = Key::ssh_with_secret("alice", &SECRET);
    let with = p.bob.with_signing_subkey(&SECRET);
    shared(|policy| {
        policy.identity("alice", &[&ssh]);
        policy.identity("bob", &[&with]);
    });
}

#[test]
fn own_173_rsa_and_ecdsa_keys_are_compared_too() {
    for (pgp, ssh) in [
        Key::rsa_in_two_forms("x", 2048),
        Key::p256_in_two_forms("x"),
    ] {
        shared(|policy| {
            policy.more = "crypto: {minRsaBits: 2048}".to_owned();
            policy.identity("alice", &[&pgp]);
            policy.identity("bob", &[&ssh]);
        });
    }
}

#[test]
fn own_174_security_key_is_the_key_inside() {
    let ssh = Key::ssh_with_secret("alice", &SECRET);
    let security = Key::security_key_with_secret(&SECRET, 1);
    shared(|policy| {
        policy.identity("alice", &[&ssh]);
        policy.identity("bob", &[&security]);
    });
}

#[test]
fn own_175_one_identity_may_have_a_key_in_two_forms_and_counts_once() {
    let [pgp, _, ssh] = forms("alice");
    let mut w = World::with(|policy| policy.identity("alice", &[&pgp, &ssh]));
    let c = w.on(w.root).file("prod/a", "1").sign(&pgp).make(&mut w);
    w.approve(c, &ssh);
    w.pends(c, R::ApprovalsMissing);
    w.approve(c, &people().bob);
    w.accepts(c);
}

#[test]
fn own_176_revocation_of_one_form_is_of_every_form() {
    let p = people();
    let [pgp, _, ssh] = forms("alice");
    for (signs, revoked) in [(&pgp, &ssh), (&ssh, &pgp)] {
        let mut w = World::with(|policy| policy.identity("alice", &[&pgp, &ssh]));
        let c = w.on(w.root).file("lab/a", "1").sign(signs).make(&mut w);
        w.accepts(c);
        let mut local = w.clone();
        local.revoked.read(revoked.public().as_bytes()).unwrap();
        local.alarms(c, R::KeyRevoked);
        let root = w.root;
        for (n, key) in [&p.bob, &p.carol, &p.dave].into_iter().enumerate() {
            w.tag(&format!("revoke/{}/{n}", revoked.hex()), root)
                .sign(key)
                .make(&mut w);
        }
        w.alarms(c, R::KeyRevoked);
    }
}

#[test]
fn own_177_hard_revocation_in_a_certificate_is_of_the_ssh_form_too() {
    use sequoia_openpgp::types::ReasonForRevocation as Why;
    let [pgp, _, ssh] = forms("alice");
    let revoked = pgp.revoked(Why::KeyCompromised, START + DAY);
    let mut w = World::with(|policy| policy.identity("alice", &[&revoked, &ssh]));
    let c = w.on(w.root).file("lab/a", "1").sign(&ssh).make(&mut w);
    w.alarms(c, R::KeyRevoked);
}

#[test]
fn own_178_rsa_keys_are_measured_in_bits() {
    for bits in [3070, 3071] {
        for key in [Key::ssh_rsa("alice", bits), Key::pgp_rsa("alice", bits)] {
            let mut w = World::with(|policy| policy.identity("alice", &[&key]));
            let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
            w.alarms(c, R::WeakCrypto);
            // Nor is a policy satisfiable by such a key.
            let step = w.policy_step(w.root, |policy| {
                policy.groups[0].1 = "[alice, bob]".to_owned();
            });
            let step = step.sign(&people().bob).make(&mut w);
            w.approve(step, &people().carol);
            w.approve(step, &people().dave);
            w.rejects(step, R::PolicyUnsatisfiable);
        }
    }
    for key in [Key::ssh_rsa("alice", 3072), Key::pgp_rsa("alice", 3072)] {
        let mut w = World::with(|policy| policy.identity("alice", &[&key]));
        let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
        w.accepts(c);
    }
}
