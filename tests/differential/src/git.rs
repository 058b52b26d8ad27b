//! git: `verify-commit` and `verify-tag`, with programs between it and gpg or ssh-keygen that keep what
//! they are given.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::case::Object;
use crate::examine::{Said, parts};
use crate::repository::{Keys, Repository};

const GPG: &str = r#"#!/bin/sh
for word; do [ "$before" = --verify ] && file=$word; before=$word; done
cp "$file" "$CAPTURE/signature" && cat >"$CAPTURE/payload" && exec gpg "$@" <"$CAPTURE/payload"
"#;

const SSH: &str = r#"#!/bin/sh
for word; do
  case $before in -s) file=$word ;; -Y) what=$word ;; esac
  before=$word
done
case $what in verify | check-novalidate) ;; *) exec ssh-keygen "$@" ;; esac
cp "$file" "$CAPTURE/signature" && cat >"$CAPTURE/payload" && exec ssh-keygen "$@" <"$CAPTURE/payload"
"#;

/// The programs.
pub struct Between {
    folder: tempfile::TempDir,
}

impl Default for Between {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, script) in [("gpg", GPG), ("ssh", SSH)] {
            let path = folder.path().join(name);
            fs::write(&path, script).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        Self { folder }
    }
}

/// What git says of an object: the bytes that it took, and a word for its verdict.
///
/// # Panics
///
/// If git isn't there.
pub fn verify(
    between: &Between,
    repository: &Repository,
    keys: &Keys,
    object: &Object,
) -> (Said, &'static str) {
    let program = |name: &str| between.folder.path().join(name).display().to_string();
    let capture = between.folder.path().join("capture");
    let _ = fs::remove_dir_all(&capture);
    fs::create_dir(&capture).expect("a folder");
    let done = Command::new("git")
        .arg("--git-dir")
        .arg(repository.path())
        .args(["-c", &format!("gpg.program={}", program("gpg"))])
        .args(["-c", &format!("gpg.ssh.program={}", program("ssh"))])
        .args([
            "-c",
            &format!("gpg.ssh.allowedSignersFile={}", keys.signers().display()),
        ])
        .args([
            if object.kind == "tag" {
                "verify-tag"
            } else {
                "verify-commit"
            },
            "--raw",
            &object.id,
        ])
        .env("CAPTURE", &capture)
        .env("GNUPGHOME", keys.gnupg())
        .env("HOME", between.folder.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("git");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    let read = |name: &str| fs::read(capture.join(name));
    let said = match (read("payload"), read("signature")) {
        (Ok(payload), Ok(signature)) => parts(&payload, &signature),
        _ if is_unsigned(&told) => Said::Unsigned,
        _ => Said::Unread(told.trim().to_owned()),
    };
    (said, word(done.status.success(), &told, &capture))
}

fn is_unsigned(told: &str) -> bool {
    told.trim().is_empty() || told.contains("no signature found")
}

fn word(good: bool, told: &str, capture: &Path) -> &'static str {
    let has = |what: &str| told.contains(what);
    if good {
        "good"
    } else if !capture.join("payload").exists() {
        if is_unsigned(told) {
            "unsigned"
        } else {
            "unread"
        }
    } else if has("EXPKEYSIG") {
        "expired"
    } else if has("REVKEYSIG") {
        "revoked"
    } else if has("NO_PUBKEY") || has("No principal matched") || has("Good \"git\" signature with")
    {
        "unknown key"
    } else if has("BADSIG") || has("incorrect signature") {
        "bad"
    } else {
        "fails"
    }
}
