use plumb_trust::policy::{Authority, BindRef};

use super::*;

const ALICE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7rxd7g5rDhyfqFo4wbFqNOCKV1gPk0iYLZZ7UdtG1C alice\n";
const BOB: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL0mJZ3y4Bd2Vv2Q2xD1m0vJ0m8q5wJ0Xr3B9m7pK4aT bob\n";

fn key(folder: &Path, name: &str, text: &str) -> TrustedKey {
    let path = folder.join(format!("{name}.pub"));
    fs::write(&path, text).unwrap();
    TrustedKey::from_file(&format!("{name}={}", path.display())).unwrap()
}

fn authority(keys: &[TrustedKey]) -> Authority {
    let text = policy(keys, &random_id().unwrap(), "main");
    let files = keys.iter().map(|key| (key.path(), key.text.clone()));
    Authority::new(text.as_bytes(), files, jiff::Timestamp::now())
        .unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"))
}

#[test]
fn one_key_makes_a_one_person_policy() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(&[key(folder.path(), "alice", ALICE)]);
    assert_eq!(authority.policy.bind_ref, BindRef::None);
    assert!(authority.warnings.is_empty(), "{:?}", authority.warnings);
}

#[test]
fn two_keys_make_a_two_person_policy() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        key(folder.path(), "alice", ALICE),
        key(folder.path(), "bob", BOB),
    ];
    assert_eq!(authority(&keys).policy.bind_ref, BindRef::Trailer);
}

#[test]
fn a_private_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("id");
    fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let error = TrustedKey::from_file(&format!("alice={}", path.display())).unwrap_err();
    let text = error.render(crate::output::Palette::plain());
    assert!(
        text.contains("secret key") && text.contains("FILE.pub"),
        "{text}"
    );
}

#[test]
fn only_the_fleets_name_is_changed() {
    let text = rename(
        b"kind: Fleet\nmetadata: {name: home}\nspec:\n  name: x\n",
        "mine",
    );
    assert_eq!(
        text,
        "kind: Fleet\nmetadata: {name: mine}\nspec:\n  name: x\n"
    );
    let text = rename(b"kind: Fleet\nmetadata:\n  name: home\n", "mine");
    assert_eq!(text, "kind: Fleet\nmetadata:\n  name: mine\n");
}

#[test]
fn ids_are_uuids() {
    let (a, b) = (random_id().unwrap(), random_id().unwrap());
    assert_ne!(a, b);
    assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
}
