use std::fmt::Write as _;
use std::path::PathBuf;

use plumb_trust::Policy;
use serde::Serialize;

use super::draft::Draft;
use super::folder::{Folder, owner};
use super::founders::unverifiable;
use super::key::PublicKey;
use super::next::{Next, one_person, who_alone};
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

/// Trust a person's key
///
/// A new name becomes a new identity; a known one gets another key, or joins a group with the key that
/// it has. Writes the public key into trust/keys/ and the policy, raises the serial, and says what to do
/// next. Private keys are never read: give the public part.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust add bob --key bob.pub --group ops\n  plumb trust add bob --key 'ssh-ed25519 AAAA… bob' --group ops\n  plumb trust add carol --key 77AA… --group sec     # gpg exports it\n  plumb trust add alice --key ~/.ssh/laptop.pub     # another key of hers\n  plumb trust add bob --key bob.pub --group sec     # a key that he has: he joins one more group"
)]
pub(super) struct Add {
    /// Whose key it is
    name: String,

    /// A public key: its file, its fingerprint (gpg or the SSH agent knows it), or an SSH key itself
    #[arg(long, value_name = "FILE|FINGERPRINT|KEY", required = true)]
    key: Vec<String>,

    /// A group of the policy that the person joins
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,

    /// The repository's folder
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Added {
    identity: String,
    keys: Vec<String>,
    groups: Vec<String>,
    #[serde(flatten)]
    next: Next,
}

impl Add {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = Folder::read(&self.folder)?;
        let policy = folder.usable()?.policy;
        let keys = self
            .key
            .iter()
            .map(|given| PublicKey::of(given))
            .collect::<Result<Vec<_>, _>>()?;
        let known = policy.identities.iter().any(|i| i.name == self.name);
        let joins = self.joins(&policy)?;
        // Whoever joins a group may say again by which key they are known.
        let own = |key: &PublicKey| owner(&policy, &key.name) == Some(self.name.as_str());
        let (_, keys): (Vec<_>, Vec<_>) = keys
            .into_iter()
            .partition(|key| own(key) && !joins.is_empty());
        for key in &keys {
            refuse_another(&policy, &self.name, key)?;
        }
        let mut draft = Draft::new(folder.clone());
        for (at, key) in keys.iter().enumerate() {
            if known || at > 0 {
                draft.add_key(&self.name, key)?;
            } else {
                draft.add_identity(&self.name, key)?;
            }
        }
        for group in &joins {
            draft.join(&self.name, group)?;
        }
        for key in &keys {
            if let Some(why) = draft.unusable(&key.name)? {
                return Err(unverifiable(key, &why));
            }
        }
        let grouped = policy.groups.iter().any(|(_, members)| {
            members
                .iter()
                .any(|member| policy.name(*member) == self.name)
        });
        let written = draft.write("")?;
        let message = if keys.is_empty() {
            format!("{} joins {}", self.name, joins.join(", "))
        } else {
            format!("Trust {}", self.name)
        };
        let added = Added {
            identity: self.name.clone(),
            keys: keys.iter().map(|key| key.name.to_string()).collect(),
            groups: joins.clone(),
            next: Next::new(&folder, &written, &message),
        };
        shell.emit(&added, |palette| {
            let mut out = String::new();
            for key in &keys {
                let _ = writeln!(
                    out,
                    "{} {} is trusted by the key {} ({})",
                    palette.paint(Paint::Good, "added:"),
                    self.name,
                    key.name,
                    key.file.kind()
                );
            }
            if keys.is_empty() {
                let _ = writeln!(
                    out,
                    "{} {} is in {}, with the keys that the policy has; then:",
                    palette.paint(Paint::Good, "added:"),
                    self.name,
                    joins.join(", ")
                );
                who_alone(&mut out, &written.check);
            } else {
                if !joins.is_empty() {
                    let _ = writeln!(out, "  in {}; then:", joins.join(", "));
                    who_alone(&mut out, &written.check);
                }
                let _ = writeln!(
                    out,
                    "  Compare the fingerprint with {} over another way than the one that the key came by.",
                    self.name
                );
            }
            if !grouped && joins.is_empty() {
                let groups: Vec<_> = policy.groups.keys().map(String::as_str).collect();
                let _ = writeln!(
                    out,
                    "{} {} is in no group, so nothing of theirs counts yet: the same again with --group {}",
                    palette.paint(Paint::Warn, "note:"),
                    self.name,
                    groups.join(" or --group ")
                );
            }
            if let Some(note) = one_person(&written.authority) {
                let _ = writeln!(out, "{} {note}", palette.paint(Paint::Warn, "note:"));
            }
            added.next.describe(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }

    /// The groups that are new to the person.
    fn joins(&self, policy: &Policy) -> Result<Vec<String>, Failure> {
        let mut joins: Vec<String> = Vec::new();
        for group in &self.group {
            let Some(members) = policy.groups.get(group) else {
                let known = policy.groups.keys().map(String::as_str);
                let failure = Failure::new(format!("the policy has no group {group}"));
                return Err(match plumb_document::closest(group, known.clone()) {
                    Some(near) => failure.hint(format!("did you mean {near}?")),
                    None => failure.hint(format!(
                        "it has {}; a new group is written in trust/policy.yaml, with the rule that needs it",
                        known.collect::<Vec<_>>().join(", ")
                    )),
                });
            };
            let member = members.iter().any(|m| policy.name(*m) == self.name);
            if !member && !joins.contains(group) {
                joins.push(group.clone());
            }
        }
        Ok(joins)
    }
}

/// One key counts for one identity, and once.
pub(super) fn refuse_another(policy: &Policy, name: &str, key: &PublicKey) -> Result<(), Failure> {
    match owner(policy, &key.name) {
        None => Ok(()),
        Some(own) if own == name => Err(Failure::new(format!(
            "{name} has the key {} already",
            key.name
        ))
        .hint(format!(
            "a newer copy of the same certificate: plumb trust rotate {name} --key …; another group: the same with --group GROUP"
        ))),
        Some(other) => Err(Failure::new(format!(
            "the key {} is {other}'s already; one key counts for one identity",
            key.name
        ))
        .hint("each person needs a key of their own: two signatures by one key are one")),
    }
}
