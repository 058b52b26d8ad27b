use std::path::PathBuf;

use plumb_trust::policy::Identity;
use plumb_trust::{KeyName, Policy};
use serde::Serialize;

use super::draft::Draft;
use super::folder::Folder;
use super::next::{Next, who_alone};
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

/// Trust a person, or one of their keys, no longer
///
/// Takes the identity out of the policy with its keys and memberships, or one key of it. What could
/// then no longer be changed by anybody is refused. It acts on the commits after it; a stolen key is
/// revoked first, which acts at once: plumb trust revoke.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust remove bob\n  plumb trust remove alice --key SHA256:…"
)]
pub(super) struct Remove {
    /// Whose
    name: String,

    /// One key only, by its fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,

    /// The repository's folder
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    identity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    next: Next,
}

impl Remove {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = Folder::read(&self.folder)?;
        let policy = folder.usable()?.policy;
        let identity = identity(&policy, &self.name)?;
        let mut draft = Draft::new(folder.clone());
        let what = match &self.key {
            None => {
                draft.remove_identity(&self.name)?;
                self.name.clone()
            }
            Some(text) => {
                let key = key_of(identity, text)?;
                if identity.keys.len() == 1 {
                    return Err(
                        Failure::new(format!("{key} is the only key of {}", self.name))
                            .hint(format!(
                                "the whole person: plumb trust remove {}",
                                self.name
                            ))
                            .hint(format!(
                                "another key in its place: plumb trust rotate {} --key NEW",
                                self.name
                            )),
                    );
                }
                draft.remove_key(&self.name, &key)?;
                format!("the key {key} of {}", self.name)
            }
        };
        let written = draft.write(&format!("without {what} "))?;
        let removed = Removed {
            identity: self.name.clone(),
            key: self.key.clone(),
            next: Next::new(&folder, &written, &format!("Trust {what} no longer")),
        };
        shell.emit(&removed, |palette| {
            let mut out = format!("{} {what}\n", palette.paint(Paint::Good, "removed:"));
            who_alone(&mut out, &written.check);
            removed.next.describe(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }
}

/// An identity of the policy.
pub(super) fn identity<'p>(policy: &'p Policy, name: &str) -> Result<&'p Identity, Failure> {
    let names = || policy.identities.iter().map(|i| i.name.as_str());
    policy
        .identities
        .iter()
        .find(|identity| identity.name == name)
        .ok_or_else(|| {
            let failure = Failure::new(format!("the policy has no identity {name}"));
            match plumb_document::closest(name, names()) {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure.hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
            }
        })
}

/// A key of an identity by its fingerprint.
pub(super) fn key_of(identity: &Identity, text: &str) -> Result<KeyName, Failure> {
    let own = || {
        let keys = identity.keys.iter().map(|key| key.name.to_string());
        format!(
            "{} has {}",
            identity.name,
            keys.collect::<Vec<_>>().join(", ")
        )
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
