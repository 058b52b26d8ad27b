use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_trust::KeyName;
use plumb_trust::policy::Identity;
use serde::Serialize;

use super::policy_edit::{Edited, PolicyEdit};
use super::remove::key_of;
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell};
use crate::public_key::PublicKey;
use crate::report::{Exit, Failure};

/// Replace a person's key
///
/// Adds the new key, and removes the old one or gives it an end. If the key is a newer copy of a
/// certificate in the policy (with a later expiry or new subkeys), refreshes its file. Refuses a copy
/// that lacks a revocation, a user ID or a self-signature that the present file has.
///
/// The policy before the commit judges it, so sign the commit with the old key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust rotate alice --key ~/.ssh/new.pub\n  plumb trust rotate alice --key ~/.ssh/new.pub --valid-before 2027-01-01T00:00:00Z\n  plumb trust rotate bob --key 77AA…     # gpg has the extended certificate"
)]
pub(super) struct Rotate {
    /// The person
    name: String,

    /// The new public key: its file, its fingerprint, or an SSH key itself
    #[arg(long, value_name = "FILE|FINGERPRINT|KEY")]
    key: String,

    /// The old key, by its fingerprint; needed if the person has several
    #[arg(long, value_name = "FINGERPRINT")]
    old: Option<String>,

    /// Keep the old key until this time (RFC 3339) instead of removing it
    #[arg(long, value_name = "TIME")]
    valid_before: Option<Timestamp>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotateResult {
    identity: String,
    key: String,
    /// The old key, unless only its file was refreshed.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_before: Option<Timestamp>,
    #[serde(flatten)]
    edited: Edited,
}

impl Rotate {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        if let Some(end) = self.valid_before.filter(|end| *end <= Timestamp::now()) {
            return Err(
                Failure::new(format!("--valid-before {end} has already passed"))
                    .hint("leave it out to remove the old key at once"),
            );
        }
        let name = &self.name;
        let mut edit = PolicyEdit::read(self.folder.path())?;
        let identity = edit.identity(name)?;
        let key = PublicKey::of(&self.key)?;
        let (old, what) = if identity.keys.iter().any(|own| own.name == key.name) {
            self.refuse_useless_copy(&edit, &key)?;
            edit.put_file(name, &key);
            (None, format!("Newer certificate of {name}"))
        } else {
            let old = self.old(identity)?;
            edit.add_key(name, &key)?;
            match self.valid_before {
                Some(end) => edit.end_key(name, &old, end)?,
                None => edit.remove_key(name, &old)?,
            }
            (Some(old), format!("Another key of {name}"))
        };
        // Accept a refreshed copy that is revoked or expired: others must learn of that.
        let unusable = edit.unusable(&key.name)?;
        let rotated = RotateResult {
            identity: name.clone(),
            key: key.name.to_string(),
            old: old.as_ref().map(ToString::to_string),
            valid_before: self.valid_before,
            edited: edit.finish(&what)?,
        };
        shell.emit(&rotated, |palette| {
            let end = rotated.edited.authority.end_of(&key.name, Timestamp::now());
            let (title, key) = match &old {
                None => ("refreshed:", format!("the certificate {}", key.name)),
                Some(_) => ("rotated:", format!("the key {} ({})", key.name, key.file.kind())),
            };
            let rest = match (&old, self.valid_before, end) {
                (None, _, None) => String::new(),
                (None, _, Some(end)) => format!(", valid until {end}"),
                (Some(old), Some(end), _) => format!("; {old} counts until {end}"),
                (Some(old), None, _) => format!(", in place of {old}"),
            };
            let title = palette.paint(Paint::Good, title);
            let mut out = format!("{title} {name} now has {key}{rest}\n");
            if let Some(why) = &unusable {
                let note = palette.paint(Paint::Warn, "note:");
                let _ = writeln!(
                    out,
                    "{note} signatures that it makes from now on don't count: {why}"
                );
            }
            if old.is_some() {
                let _ = writeln!(
                    out,
                    "  The new key counts from the next commit on: sign this one with a key that is trusted now."
                );
            }
            rotated.edited.describe(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }

    /// Refuses a copy of a certificate that lacks something of the present one, or that adds nothing.
    fn refuse_useless_copy(&self, edit: &PolicyEdit, key: &PublicKey) -> Result<(), Failure> {
        if self.old.is_some() || self.valid_before.is_some() {
            return Err(Failure::new(format!(
                "{} already has the key {}, so there is no old key to replace",
                self.name, key.name
            ))
            .hint("to refresh its file, leave out --old and --valid-before"));
        }
        let Some((path, file)) = edit.file_of(&key.name) else {
            return Ok(());
        };
        if let Some(loss) = key.file.loss_since(&file) {
            return Err(Failure::new(format!(
                "{} lacks {loss} that {path} has, and a copy may only gain",
                key.origin
            ))
            .hint(format!(
                "merge the two and export again: gpg --import {path} && plumb trust rotate {} --key {}",
                self.name, key.name
            )));
        }
        if file.to_text().is_ok_and(|text| text == key.text) {
            return Err(Failure::new(format!(
                "{} has nothing that {path} doesn't have",
                key.origin
            ))
            .hint("first extend the OpenPGP key: gpg --quick-set-expire FINGERPRINT 1y")
            .hint("or give the file or fingerprint of another key"));
        }
        Ok(())
    }

    /// Returns the old key. Fails if the person has several keys and the user named none.
    fn old(&self, identity: &Identity) -> Result<KeyName, Failure> {
        match (&self.old, identity.keys.as_slice()) {
            (Some(text), _) => key_of(identity, text),
            (None, [only]) => Ok(only.name.clone()),
            (None, keys) => {
                let failure = Failure::new(format!(
                    "{} has {} keys, and --old doesn't say which one to replace",
                    self.name,
                    keys.len()
                ));
                let hint = |failure: Failure, key: &plumb_trust::policy::PolicyKey| {
                    failure.hint(format!("--old {}", key.name))
                };
                Err(keys.iter().fold(failure, hint))
            }
        }
    }
}
