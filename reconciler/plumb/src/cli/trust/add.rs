use std::fmt::Write as _;

use serde::Serialize;

use super::policy_edit::{Edited, PolicyEdit};
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell};
use crate::public_key::PublicKey;
use crate::report::{Exit, Failure};

/// Trust a person's key
///
/// A new name becomes a new identity. A known person gets another key, or joins a group with the keys
/// that they have. Writes the public key and the policy, raises the serial, and prints the diff and the
/// next commands. Give the public key: private keys are never read.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust add bob --key bob.pub --group ops\n  plumb trust add bob --key 'ssh-ed25519 AAAA… bob' --group ops\n  plumb trust add carol --key 77AA… --group sec     # gpg exports it\n  plumb trust add alice --key ~/.ssh/laptop.pub     # another key of hers\n  plumb trust add bob --key bob.pub --group sec     # the same key, one more group"
)]
pub(super) struct Add {
    /// The person
    name: String,

    /// A public key: its file, its fingerprint (known to gpg or the SSH agent), or an SSH key itself
    #[arg(long, value_name = "FILE|FINGERPRINT|KEY", required = true)]
    key: Vec<String>,

    /// A group of the policy that the person joins
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddResult {
    identity: String,
    keys: Vec<String>,
    groups: Vec<String>,
    #[serde(flatten)]
    edited: Edited,
}

impl Add {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let name = &self.name;
        let mut edit = PolicyEdit::read(self.folder.path())?;
        let joins = self.joins(&edit)?;
        let mut keys = Vec::new();
        for given in &self.key {
            let key = PublicKey::of(given)?;
            // Somebody who joins a group may give a key that they already have.
            if joins.is_empty() || edit.owner(&key.name) != Some(name) {
                edit.add_key(name, &key)?;
                keys.push(key);
            }
        }
        for group in &joins {
            edit.join(name, group)?;
        }
        let groups = edit.groups();
        let grouped = groups.values().flatten().any(|member| member == name);
        let what = if keys.is_empty() {
            format!("{name} joins {}", joins.join(", "))
        } else {
            format!("Trust {name}")
        };
        let all = groups.into_keys().collect::<Vec<_>>().join(" or --group ");
        let lonely = (!grouped && joins.is_empty()).then(|| {
            format!("{name} is in no group, so {name}'s signatures don't count yet: repeat this with --group {all}")
        });
        let added = AddResult {
            identity: name.clone(),
            keys: keys.iter().map(|key| key.name.to_string()).collect(),
            groups: joins,
            edited: edit.finish(&what)?,
        };
        shell.emit(&added, |palette| {
            let title = palette.paint(Paint::Good, "added:");
            let note = palette.paint(Paint::Warn, "note:");
            let mut out = String::new();
            for key in &keys {
                let kind = key.file.kind();
                let _ = writeln!(
                    out,
                    "{title} {name} with the key {} ({kind})",
                    key.name
                );
            }
            if keys.is_empty() {
                let groups = added.groups.join(", ");
                let _ = writeln!(
                    out,
                    "{title} {name} to {groups}, with the keys that are in the policy"
                );
            } else {
                let _ = writeln!(
                    out,
                    "  Compare the fingerprint with {name} over a channel other than the one that brought the key."
                );
            }
            if let Some(lonely) = &lonely {
                let _ = writeln!(out, "{note} {lonely}");
            }
            added.edited.describe(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }

    /// Returns the given groups that the person isn't in yet.
    fn joins(&self, edit: &PolicyEdit) -> Result<Vec<String>, Failure> {
        let groups = edit.groups();
        let mut joins: Vec<String> = Vec::new();
        for group in &self.group {
            let Some(members) = groups.get(group.as_str()) else {
                let known = groups.keys().copied();
                let failure = Failure::new(format!("the policy has no group {group}"));
                return Err(match plumb_document::closest(group, known.clone()) {
                    Some(near) => failure.hint(format!("did you mean {near}?")),
                    None => failure.hint(format!(
                        "choose one of {}, or add the group and a rule that needs it to trust/policy.yaml",
                        known.collect::<Vec<_>>().join(", ")
                    )),
                });
            };
            if !members.contains(&self.name.as_str()) && !joins.contains(group) {
                joins.push(group.clone());
            }
        }
        Ok(joins)
    }
}
