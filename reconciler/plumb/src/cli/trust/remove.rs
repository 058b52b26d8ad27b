use plumb_trust::KeyName;
use plumb_trust::policy::Identity;
use serde::Serialize;

use super::policy_edit::{Edited, PolicyEdit};
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

/// Stop trusting a person, or one of their keys
///
/// Removes the identity with its keys and memberships, or one of its keys. Refuses if nobody could
/// change something then. The removal applies to the commits after it. Revoke a stolen key first, which
/// takes effect at once: plumb trust revoke.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust remove bob\n  plumb trust remove alice --key SHA256:…"
)]
pub(super) struct Remove {
    /// The person
    name: String,

    /// One key only, by its fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemoveResult {
    identity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    edited: Edited,
}

impl Remove {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let name = &self.name;
        let mut edit = PolicyEdit::read(self.folder.path())?;
        let identity = edit.identity(name)?;
        let what = match &self.key {
            None => {
                edit.remove_identity(name)?;
                name.clone()
            }
            Some(text) => {
                let key = key_of(identity, text)?;
                if identity.keys.len() == 1 {
                    return Err(Failure::new(format!("{key} is the only key of {name}"))
                        .hint(format!("remove the person: plumb trust remove {name}"))
                        .hint(format!(
                            "or replace the key: plumb trust rotate {name} --key NEW"
                        )));
                }
                edit.remove_key(name, &key)?;
                format!("the key {key} of {name}")
            }
        };
        let removed = RemoveResult {
            identity: name.clone(),
            key: self.key.clone(),
            edited: edit.finish(&format!("Remove {what}"))?,
        };
        shell.emit(&removed, |palette| {
            let mut out = format!("{} {what}\n", palette.paint(Paint::Good, "removed:"));
            removed.edited.describe(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }
}

/// Finds a key of an identity by its fingerprint.
pub(super) fn key_of(identity: &Identity, text: &str) -> Result<KeyName, Failure> {
    let own = || {
        let keys = identity.keys.iter().map(|key| key.name.to_string());
        let keys = keys.collect::<Vec<_>>().join(", ");
        format!("{} has {keys}", identity.name)
    };
    let name: KeyName = text
        .parse()
        .map_err(|error| Failure::new(format!("`{text}` is {error}")).hint(own()))?;
    if identity.keys.iter().any(|key| key.name == name) {
        Ok(name)
    } else {
        Err(Failure::new(format!("{} has no key {name}", identity.name)).hint(own()))
    }
}
