use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use plumb_trust::KeyName;
use plumb_trust::policy::Identity;
use serde::Serialize;

use super::add::refuse_another;
use super::draft::Draft;
use super::folder::Folder;
use super::founders::unverifiable;
use super::key::PublicKey;
use super::next::Next;
use super::remove::{identity, key_of};
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

/// Give a person a new key in place of an old one
///
/// Adds the new key, and removes the old one or gives it an end. When the key is a newer copy of a
/// certificate that the policy has (a later expiry, new subkeys), its file is refreshed; a copy that
/// has forgotten a revocation is refused.
///
/// The commit is judged by the policy before it, so it is signed with the old key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust rotate alice --key ~/.ssh/new.pub\n  plumb trust rotate alice --key ~/.ssh/new.pub --valid-before 2027-01-01T00:00:00Z\n  plumb trust rotate bob --key 77AA…     # gpg has the extended certificate"
)]
pub(super) struct Rotate {
    /// Whose
    name: String,

    /// The new public key: its file, its fingerprint, or an SSH key itself
    #[arg(long, value_name = "FILE|FINGERPRINT|KEY")]
    key: String,

    /// The old key, by its fingerprint; needed when the person has several
    #[arg(long, value_name = "FINGERPRINT")]
    old: Option<String>,

    /// Keep the old key until this time (RFC 3339) instead of removing it
    #[arg(long, value_name = "TIME")]
    valid_before: Option<Timestamp>,

    /// The repository's folder
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rotated {
    identity: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_before: Option<Timestamp>,
    #[serde(flatten)]
    next: Next,
}

/// What becomes of the old key.
enum Old {
    /// It is the same key; only its file is newer.
    Same,
    /// It is another one.
    Other(KeyName),
}

impl Rotate {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        if let Some(end) = self.valid_before.filter(|end| *end <= Timestamp::now()) {
            return Err(Failure::new(format!("--valid-before {end} has passed"))
                .hint("leave it out to remove the old key"));
        }
        let folder = Folder::read(&self.folder)?;
        let policy = folder.usable()?.policy;
        let identity = identity(&policy, &self.name)?;
        let key = PublicKey::of(&self.key)?;
        let mut draft = Draft::new(folder.clone());
        let old = if identity.keys.iter().any(|own| own.name == key.name) {
            self.refresh(&folder, &key)?;
            draft.refresh(&self.name, &key);
            Old::Same
        } else {
            refuse_another(&policy, &self.name, &key)?;
            let old = self.old(identity)?;
            draft.add_key(&self.name, &key)?;
            match self.valid_before {
                Some(end) => draft.end_key(&self.name, &old, end)?,
                None => draft.remove_key(&self.name, &old)?,
            }
            Old::Other(old)
        };
        // A copy that is revoked or past its end is taken too: that is what others must learn.
        let unusable = draft.unusable(&key.name)?;
        if let (Old::Other(_), Some(why)) = (&old, &unusable) {
            return Err(unverifiable(&key, why));
        }
        let written = draft.write("")?;
        let what = match old {
            Old::Same => format!("Newer certificate of {}", self.name),
            Old::Other(_) => format!("Another key of {}", self.name),
        };
        let rotated = Rotated {
            identity: self.name.clone(),
            key: key.name.to_string(),
            old: match &old {
                Old::Same => None,
                Old::Other(old) => Some(old.to_string()),
            },
            valid_before: self.valid_before,
            next: Next::new(&folder, &written, &what),
        };
        let end = written.authority.end_of(&key.name, Timestamp::now());
        shell.emit(&rotated, |palette| {
            let mut out = String::new();
            match (&old, self.valid_before) {
                (Old::Same, _) => {
                    let _ = writeln!(
                        out,
                        "{} the certificate {} of {}{}",
                        palette.paint(Paint::Good, "refreshed:"),
                        key.name,
                        self.name,
                        end.map_or_else(String::new, |end| format!(", good until {end}"))
                    );
                }
                (Old::Other(old), Some(end)) => {
                    let _ = writeln!(
                        out,
                        "{} {} has the key {} ({}); {old} counts until {end}",
                        palette.paint(Paint::Good, "rotated:"),
                        self.name,
                        key.name,
                        key.file.kind()
                    );
                }
                (Old::Other(old), None) => {
                    let _ = writeln!(
                        out,
                        "{} {} has the key {} ({}) in place of {old}",
                        palette.paint(Paint::Good, "rotated:"),
                        self.name,
                        key.name,
                        key.file.kind()
                    );
                }
            }
            if let Some(why) = &unusable {
                let _ = writeln!(
                    out,
                    "{} nothing that it signs from now on counts: {why}",
                    palette.paint(Paint::Warn, "note:")
                );
            }
            if matches!(old, Old::Other(_)) {
                let _ = writeln!(
                    out,
                    "  The new key counts from the commit after this one: sign this one with a key that is trusted now."
                );
            }
            rotated.next.describe(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }

    /// Whether a newer copy of a certificate may take the place of the one that is there.
    fn refresh(&self, folder: &Folder, key: &PublicKey) -> Result<(), Failure> {
        if self.old.is_some() || self.valid_before.is_some() {
            return Err(Failure::new(format!(
                "{} has the key {} already, so there is no old one to end",
                self.name, key.name
            ))
            .hint("leave --old and --valid-before out to refresh its file"));
        }
        let Some((path, file)) = folder.file_of(&key.name) else {
            return Ok(());
        };
        if key.file.loses_revocation_of(&file) {
            return Err(Failure::new(format!(
                "{} has lost a revocation that {path} has, and revocations stay",
                key.origin
            ))
            .hint(format!(
                "join the two and export again: gpg --import {path} && plumb trust rotate {} --key {}",
                self.name, key.name
            )));
        }
        let same = file.to_text().is_ok_and(|text| text == key.text);
        if same {
            return Err(Failure::new(format!(
                "{} says nothing that {path} doesn't say already",
                key.origin
            ))
            .hint("an OpenPGP key gets a later expiry with: gpg --quick-set-expire FINGERPRINT 1y")
            .hint("another key is a rotation: give its file or fingerprint"));
        }
        Ok(())
    }

    fn old(&self, identity: &Identity) -> Result<KeyName, Failure> {
        match (&self.old, identity.keys.as_slice()) {
            (Some(text), _) => key_of(identity, text),
            (None, [only]) => Ok(only.name.clone()),
            (None, keys) => {
                let failure = Failure::new(format!(
                    "{} has {} keys, and it isn't said which one is old",
                    self.name,
                    keys.len()
                ));
                Err(keys.iter().fold(failure, |failure, key| {
                    failure.hint(format!("--old {}", key.name))
                }))
            }
        }
    }
}
