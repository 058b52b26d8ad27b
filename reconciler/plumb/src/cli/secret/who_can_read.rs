use std::collections::BTreeSet;

use serde::Serialize;

use super::object::SecretFolder;
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell, Table};
use crate::report::{Exit, Failure};

/// Show who can read the values of a Secret
///
/// Lists the hosts and operators that each value is encrypted to, and those that it should be encrypted to.
/// age hides the readers of a file, so this is what the Secret's `recipients` say.
#[derive(Debug, clap::Args)]
pub(super) struct WhoCanRead {
    /// The Secrets; all of them if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
struct ReadersResult {
    readers: Vec<Reader>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reader {
    secret: String,
    name: String,
    kind: ReaderKind,
    access: Access,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum ReaderKind {
    Host,
    Operator,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Access {
    /// Can read the value, and should.
    Reads,
    /// Should be able to read it, and can't.
    Lacks,
    /// Can read it, and shouldn't.
    Extra,
    /// Has another key by now than the one that it is encrypted to.
    OldKey,
}

impl WhoCanRead {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = SecretFolder::open(self.folder.path())?;
        let mut result = ReadersResult {
            readers: Vec::new(),
        };
        for secret in folder.select(&self.names)? {
            for key in secret.spec.values.keys() {
                let written = secret.spec.recipients.get(key).cloned().unwrap_or_default();
                let should = &secret.recipients;
                for (kind, written, should, keyless) in [
                    (
                        ReaderKind::Host,
                        &written.hosts,
                        &should.hosts,
                        &should.keyless_hosts,
                    ),
                    (
                        ReaderKind::Operator,
                        &written.operators,
                        &should.operators,
                        &should.keyless_operators,
                    ),
                ] {
                    let names: BTreeSet<&String> =
                        written.keys().chain(should.keys()).chain(keyless).collect();
                    result.readers.extend(names.into_iter().map(|name| Reader {
                        secret: format!("{}/{key}", secret.name),
                        name: name.clone(),
                        kind,
                        access: match (written.get(name), should.get(name)) {
                            (Some(has), Some(should)) if has == should => Access::Reads,
                            (Some(_), Some(_)) => Access::OldKey,
                            (Some(_), None) => Access::Extra,
                            (None, _) => Access::Lacks,
                        },
                    }));
                }
            }
        }
        shell.emit(&result, |palette| {
            let mut table = Table::new(["SECRET", "READER", "KIND", "ACCESS"], palette);
            for one in &result.readers {
                let kind = match one.kind {
                    ReaderKind::Host => "host",
                    ReaderKind::Operator => "operator",
                };
                let (paint, access) = match one.access {
                    Access::Reads => (Paint::Good, "reads it"),
                    Access::Lacks => (Paint::Error, "should read it, and can't"),
                    Access::Extra => (Paint::Error, "can read it, and shouldn't"),
                    Access::OldKey => (Paint::Error, "its key has changed since"),
                };
                table.painted([
                    (None, one.secret.clone()),
                    (None, one.name.clone()),
                    (None, kind.to_owned()),
                    (Some(paint), access.to_owned()),
                ]);
            }
            table.to_string()
        })?;
        Ok(Exit::OK)
    }
}
