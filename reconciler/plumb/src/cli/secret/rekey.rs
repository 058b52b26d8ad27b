use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use plumb_api::kind::SecretReaders;
use plumb_core::secret::Recipients;
use serde::Serialize;

use super::identity::IdentityFile;
use super::object::SecretFolder;
use super::value;
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell, count};
use crate::report::{Exit, Failure};

/// Encrypt values again, to those who should read them now
///
/// Decrypts each value whose readers or use have changed with your operator's key, and encrypts it again. The
/// value and its version stay, so hosts restart nothing. Who could read a value before may have kept it:
/// after you remove somebody, set new values with `plumb secret set`.
#[derive(Debug, clap::Args)]
pub(super) struct Rekey {
    /// The Secrets; all of them if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Encrypt every value again, and not only those whose readers or use have changed
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    identity: IdentityFile,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RekeyResult {
    files: Vec<PathBuf>,
    values: Vec<String>,
    /// Values that somebody could read who can't any more.
    rotate: Vec<String>,
    /// Values with the hosts and operators that couldn't read them before, or had another key.
    added: BTreeMap<String, Vec<String>>,
}

impl Rekey {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = SecretFolder::open(self.folder.path())?;
        let identity = self.identity.read()?;
        let mut result = RekeyResult {
            files: Vec::new(),
            values: Vec::new(),
            rotate: Vec::new(),
            added: BTreeMap::new(),
        };
        for mut secret in folder.select(&self.names)? {
            let keys: Vec<String> = secret.spec.values.keys().cloned().collect();
            let stale: Vec<String> = keys
                .into_iter()
                .filter(|key| self.all || secret.needs_rekey(key))
                .collect();
            for key in &stale {
                let clear = value::open(&secret, &folder.repository, key, &identity)?;
                let before = secret.spec.recipients.get(key).cloned().unwrap_or_default();
                let version = secret.version(key);
                value::seal(&mut secret, &folder.repository, key, version, &clear)?;
                let is_gone = |name: &&String| {
                    !secret.recipients.hosts.contains_key(*name)
                        && !secret.recipients.operators.contains_key(*name)
                };
                let name = format!("{}/{key}", secret.name);
                if before
                    .hosts
                    .keys()
                    .chain(before.operators.keys())
                    .any(|name| is_gone(&name))
                {
                    result.rotate.push(name.clone());
                }
                let added = new_readers(&secret.recipients, &before);
                if !added.is_empty() {
                    result.added.insert(name.clone(), added);
                }
                result.values.push(name);
            }
            // Each file is complete when it is written, so an interrupted run can be repeated.
            if !stale.is_empty() {
                result.files.push(folder.write(&secret)?);
            }
        }
        shell.emit(&result, |palette| {
            let mut text = match result.values.len() {
                0 => "every value is encrypted to those who should read it\n".to_owned(),
                number => format!(
                    "{} {} again, in the same version\n",
                    palette.paint(Paint::Good, "encrypted"),
                    count(number, "value")
                ),
            };
            for (value, readers) in &result.added {
                let _ = writeln!(
                    text,
                    "{} {} can read {value} now; undo the change if one of them shouldn't",
                    palette.paint(Paint::Warn, "new:"),
                    readers.join(", ")
                );
            }
            for value in &result.rotate {
                let _ = writeln!(
                    text,
                    "{} somebody could read {value} who can't any more; set a new one: plumb secret set {value}",
                    palette.paint(Paint::Warn, "rotate:")
                );
            }
            text
        })?;
        Ok(Exit::OK)
    }
}

/// Returns the hosts and operators with a key that a value wasn't encrypted to before.
fn new_readers(now: &Recipients, before: &SecretReaders) -> Vec<String> {
    let hosts = now.hosts.iter().map(|one| (one, &before.hosts));
    let operators = now.operators.iter().map(|one| (one, &before.operators));
    hosts
        .chain(operators)
        .filter(|((name, key), before)| before.get(*name) != Some(*key))
        .map(|((name, _), _)| name.clone())
        .collect()
}
