//! Certificates whose self-signatures don't count: keys that their owner's gpg finds good.

use openpgp::Cert;
use openpgp::parse::Parse as _;
use openpgp::types::HashAlgorithm;
use plumb_trust::ReasonCode as R;
use sequoia_openpgp as openpgp;
use tests::keys::{BORN, DAY, Key};
use tests::objects::{START, World, noted};

// Made by gpg 2.2.40 on BORN: `--cert-digest-algo SHA1 --quick-gen-key old rsa3072 sign`.
const SHA1: &str = include_str!("fixtures/sha1-self-signature.asc");
// The same, a month later: `--cert-digest-algo SHA512 --quick-set-expire`.
const RENEWED: &str = include_str!("fixtures/renewed-self-signature.asc");
// A good key as a keyserver gives it: `--export-filter keep-uid=uid=none`.
const NO_USER_ID: &str = include_str!("fixtures/no-user-id.asc");

fn key(text: &str) -> Key {
    Key::Pgp(Box::new(Cert::from_bytes(text.as_bytes()).unwrap()))
}

/// A repository in which alice has one key, and a commit that she signed at a time.
fn signed_at(key: &Key, seconds: i64) -> (World, plumb_trust::Oid) {
    let mut w = World::with(|policy| policy.identity("alice", &[key]));
    let commit = w.on(w.root).file("lab/a", "1").dated(seconds);
    let commit = commit.sign(key).make(&mut w);
    (w, commit)
}

#[test]
fn alarms_of_weak_crypto_when_the_self_signature_is_by_sha1() {
    let (w, commit) = signed_at(&key(SHA1), START + DAY);
    let outcome = w.alarms(commit, R::WeakCrypto);
    assert!(noted(&outcome, "its self-signature is by SHA-1"));
}

#[test]
fn alarms_of_weak_crypto_when_a_subkey_is_bound_by_sha1() {
    let weak = Key::pgp("alice").with_signing_subkey_bound_by(&[7; 32], HashAlgorithm::SHA1);
    let (w, commit) = signed_at(&weak, START + DAY);
    let outcome = w.alarms(commit, R::WeakCrypto);
    assert!(noted(&outcome, "its binding signature is by SHA-1"));
}

#[test]
fn alarms_of_misuse_when_there_is_no_self_signature() {
    let (w, commit) = signed_at(&key(NO_USER_ID), START + DAY);
    let outcome = w.alarms(commit, R::KeyMisused);
    assert!(noted(&outcome, "it has no self-signature"));
}

#[test]
fn accepts_a_self_signature_renewed_with_a_strong_hash() {
    let both = key(SHA1)
        .cert()
        .clone()
        .merge_public(key(RENEWED).cert().clone());
    let both = Key::Pgp(Box::new(both.unwrap()));
    let (w, commit) = signed_at(&both, BORN + 32 * DAY);
    w.accepts(commit);
}

#[test]
fn alarms_when_the_only_strong_self_signature_is_newer_than_the_commit() {
    let (w, commit) = signed_at(&key(RENEWED), START + 60);
    let outcome = w.alarms(commit, R::KeyExpired);
    assert!(noted(&outcome, "its self-signature is newer"));
}

#[test]
fn keeps_an_accepted_policy_with_a_key_that_cannot_sign() {
    for unfit in [SHA1, NO_USER_ID] {
        let alice = tests::keys::people().alice.clone();
        let mut w = World::with(|policy| policy.identity("carol", &[&key(unfit)]));
        let commit = w.on(w.root).file("lab/a", "1").sign(&alice).make(&mut w);
        w.accepts(commit);
    }
}
