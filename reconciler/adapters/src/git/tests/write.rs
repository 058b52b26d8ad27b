use plumb_trust::ObjectFormat;

use super::super::sign::{OpenPgpSigner, Signer, SshSigner};
use super::super::write::{Mode, NewCommit, NewTag, WriteError, Writer};
use super::{Place, person};

fn signed(place: &Place, format: ObjectFormat, signer: &dyn Signer) -> Writer {
    let writer = Writer::create(&place.path("signed.git"), format, "refs/heads/main").unwrap();
    let files: [(&str, Mode, &[u8]); 5] = [
        ("fleet.yaml", Mode::File, b"kind: Fleet\n"),
        ("hosts/a.yaml", Mode::File, b"a"),
        ("hosts.d", Mode::File, b"sorts before the folder"),
        ("hosts0", Mode::File, b"sorts after the folder"),
        ("files/run", Mode::Executable, b"#!/bin/sh\n"),
    ];
    let tree = writer.tree(files).unwrap();
    let message = "subject\n\nbody with ünïcode\n\nDeploy-Ref: x refs/heads/main".to_owned();
    let new = NewCommit {
        tree,
        parents: vec![],
        author: person(),
        message,
    };
    let id = writer.commit(&new, Some(signer)).unwrap();
    writer.set_ref("refs/heads/main", &id).unwrap();
    let new = NewTag {
        name: "approve/main/1".to_owned(),
        target: id,
        tagger: person(),
        message: "Approve: x refs/heads/main y".to_owned(),
    };
    writer.tag(&new, Some(signer)).unwrap();
    place.git(writer.path(), &["fsck", "--strict", "--full"]);
    writer
}

#[test]
fn git_verifies_what_an_ssh_key_signed() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let place = Place::new();
        let signer = SshSigner::generate("alice@example.org").unwrap();
        let writer = signed(&place, format, &signer);
        let allowed = place.path("allowed_signers");
        std::fs::write(
            &allowed,
            format!("alice@example.org {}", signer.public().unwrap()),
        )
        .unwrap();
        let option = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
        place.git(writer.path(), &["-c", &option, "verify-commit", "main"]);
        place.git(
            writer.path(),
            &["-c", &option, "verify-tag", "approve/main/1"],
        );
        let status = place.git(
            writer.path(),
            &["-c", &option, "log", "-1", "--format=%G? %GF"],
        );
        assert_eq!(status, format!("G {}", signer.fingerprint()));
    }
}

#[test]
fn git_verifies_what_an_openpgp_key_signed() {
    let place = Place::new();
    let signer = OpenPgpSigner::generate("Bob <bob@example.org>").unwrap();
    let writer = signed(&place, ObjectFormat::Sha1, &signer);
    let key = place.path("bob.asc");
    std::fs::write(&key, signer.public().unwrap()).unwrap();
    let keys = place.path("home/.gnupg");
    std::fs::create_dir(&keys).unwrap();
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = std::process::Command::new("gpg")
        .env("HOME", place.path("home"))
        .args(["--batch", "--quiet", "--homedir"])
        .arg(&keys)
        .arg("--import")
        .arg(&key)
        .output();
    let gpg = gpg.expect("this test needs gpg");
    assert!(
        gpg.status.success(),
        "{}",
        String::from_utf8_lossy(&gpg.stderr)
    );
    place.git(writer.path(), &["verify-commit", "main"]);
    place.git(writer.path(), &["verify-tag", "approve/main/1"]);
    let status = place.git(writer.path(), &["log", "-1", "--format=%G? %GP"]);
    assert_eq!(status, format!("U {}", signer.fingerprint()));
}

#[test]
fn the_payload_is_what_git_shows_a_verifier() {
    let place = Place::new();
    let seen = std::sync::Mutex::new(Vec::new());
    let signer = |payload: &[u8]| {
        seen.lock().unwrap().push(payload.to_vec());
        Ok("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n".to_owned())
    };
    let writer = signed(&place, ObjectFormat::Sha1, &signer);
    let raw = place.git(writer.path(), &["cat-file", "commit", "main"]);
    let (before, rest) = raw.split_once("gpgsig ").unwrap();
    let (_, after) = rest.split_once("-----END SSH SIGNATURE-----\n").unwrap();
    let payload = format!("{before}{after}\n");
    assert_eq!(seen.lock().unwrap()[0], payload.as_bytes());
}

#[test]
fn refs_and_names_that_git_cant_hold_are_refused() {
    let place = Place::new();
    let (writer, first) = place.fleet();
    for wrong in [
        "main",
        "refs/../../evil",
        "refs/heads/a..b",
        "refs/heads/x.lock",
    ] {
        assert!(
            matches!(writer.set_ref(wrong, &first), Err(WriteError::Name(_))),
            "{wrong}"
        );
    }
    for wrong in ["../evil", "a//b", "/etc/passwd", "x/.git/config", "a/"] {
        assert!(
            matches!(
                writer.tree([(wrong, Mode::File, b"x".as_slice())]),
                Err(WriteError::Name(_))
            ),
            "{wrong}"
        );
    }
    assert_eq!(writer.get_ref("refs/heads/main").unwrap(), Some(first));
    assert_eq!(writer.get_ref("refs/heads/none").unwrap(), None);
    assert!(matches!(
        Writer::open(&place.path("none")),
        Err(WriteError::NoRepository(_))
    ));
    assert_eq!(
        Writer::open(writer.path())
            .unwrap()
            .get_ref("refs/heads/main")
            .unwrap(),
        Some(first)
    );
}
