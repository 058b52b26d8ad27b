use serde::Serialize;

use super::identity::IdentityFile;
use super::object::SecretFolder;
use super::value;
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell, Table};
use crate::report::{Exit, Failure};

/// Check that each value can be read by those who should, and by nobody else
///
/// Compares the recorded readers of each value with the hosts that the Secret selects and the operators of
/// fleet.yaml, and its recorded use with `hosts` and `deliver`. With your operator's key it also decrypts
/// every value and checks what it was made for. Prints no value.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all values are as they should be, 1 some aren't.")]
pub(super) struct SecretCheck {
    /// The Secrets; all of them if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    identity: IdentityFile,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
struct CheckResult {
    secrets: Vec<CheckedValue>,
}

#[derive(Serialize)]
struct CheckedValue {
    secret: String,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl SecretCheck {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = SecretFolder::open(self.folder.path())?;
        let identity = if self.identity.exists() {
            Some(self.identity.read()?)
        } else {
            None
        };
        let mut result = CheckResult {
            secrets: Vec::new(),
        };
        for secret in folder.select(&self.names)? {
            for key in secret.keys() {
                let mut problem = secret.problem(key);
                if let (None, Some(identity)) = (&problem, &identity) {
                    let opened = value::open(&secret, &folder.repository, key, identity);
                    problem = opened.err().map(|failure| failure.headline().to_owned());
                }
                result.secrets.push(CheckedValue {
                    secret: format!("{}/{key}", secret.name),
                    version: secret.version(key),
                    problem,
                });
            }
        }
        shell.emit(&result, |palette| {
            let mut table = Table::new(["SECRET", "VERSION", "STATE"], palette);
            for one in &result.secrets {
                let (paint, state) = match &one.problem {
                    None => (Paint::Good, "good".to_owned()),
                    Some(problem) => (Paint::Error, problem.clone()),
                };
                table.painted([
                    (None, one.secret.clone()),
                    (None, one.version.to_string()),
                    (Some(paint), state),
                ]);
            }
            table.to_string()
        })?;
        let is_good = result.secrets.iter().all(|one| one.problem.is_none());
        Ok(if is_good { Exit::OK } else { Exit::FAILED })
    }
}
