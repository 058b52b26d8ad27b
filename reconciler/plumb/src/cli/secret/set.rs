use std::fs;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use plumb_api::kind::{SecretDelivery, SecretObjectSpec};
use plumb_api::resource::{Mode, Principal};
use plumb_api::secret::MAX_VALUE;
use plumb_api::selector::Selector;
use plumb_core::secret::{FleetSecret, check_delivery, recipients_of};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::object::{SecretFolder, ValueName};
use super::value::{self, ClearValue};
use crate::cli::folder::RepositoryFolder;
use crate::output::{Paint, Shell, count};
use crate::report::{Exit, Failure, OrFail as _};

/// Set a value, as a new version
///
/// Reads the value from stdin, without one newline at its end, or from a file as it is. Encrypts it to the
/// hosts and operators that should read it, and writes secrets/NAME.yaml. Hosts get the new version once the
/// commit is accepted, and restart the services that have it in `restartOn`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  printf %s \"$TOKEN\" | plumb secret set web/token --hosts role=web --path /run/plumb/secrets/token --owner www-data\n  plumb secret set web/key --file key.pem --unit nginx"
)]
pub(super) struct Set {
    /// The Secret and the key of the value
    #[arg(value_name = "NAME/KEY")]
    value: ValueName,

    /// The hosts of a new Secret: a selector such as role=web, or * for all
    #[arg(long, value_name = "SELECTOR")]
    hosts: Option<String>,

    /// A file below /run that gets the value
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// The service that gets the value as a credential
    #[arg(long, value_name = "UNIT", conflicts_with_all = ["path", "owner", "group", "mode"])]
    unit: Option<String>,

    /// The owner of the file [default: root]
    #[arg(long, requires = "path")]
    owner: Option<Principal>,

    /// The group of the file [default: root]
    #[arg(long, requires = "path")]
    group: Option<Principal>,

    /// The mode of the file [default: 0400]
    #[arg(long, requires = "path")]
    mode: Option<Mode>,

    /// Read the value from this file instead of stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
struct SetResult {
    secret: String,
    version: u64,
    file: PathBuf,
    hosts: Vec<String>,
    operators: Vec<String>,
}

impl Set {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = SecretFolder::open(self.folder.path())?;
        let mut secret = match folder.find(&self.value.name)? {
            Some(secret) => {
                if self.hosts.is_some() {
                    return Err(Failure::new(format!(
                        "{} exists, so --hosts can't be set",
                        secret.file
                    ))
                    .hint("edit `hosts` in the file, then run `plumb secret rekey`"));
                }
                secret
            }
            None => self.create(&folder)?,
        };
        self.add_delivery(&mut secret)?;
        let clear = self.read(shell)?;
        store(&folder, secret, &self.value, &clear, shell)
    }

    /// Returns a new Secret without values.
    fn create(&self, folder: &SecretFolder) -> Result<FleetSecret, Failure> {
        let name = &self.value.name;
        let hosts = self.hosts.as_deref().ok_or_else(|| {
            Failure::new(format!("the repository has no Secret `{name}`"))
                .hint("name its hosts to make it: --hosts role=web")
        })?;
        let selector = Selector::parse(hosts).or_fail(|| "--hosts can't be used".to_owned())?;
        Ok(FleetSecret {
            name: name.clone(),
            file: format!("secrets/{name}.yaml").into(),
            spec: SecretObjectSpec {
                hosts: Value::from(hosts),
                ..SecretObjectSpec::default()
            },
            recipients: recipients_of(&folder.workspace.fleet, &selector),
        })
    }

    /// Adds the delivery of the options, in place of one to the same path or unit. Fails if `plumb check` would
    /// reject it.
    fn add_delivery(&self, secret: &mut FleetSecret) -> Result<(), Failure> {
        if self.path.is_none() && self.unit.is_none() {
            return Ok(());
        }
        let new = SecretDelivery {
            key: self.value.key.clone(),
            path: self.path.clone(),
            unit: self.unit.clone(),
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode,
        };
        let deliver = &mut secret.spec.deliver;
        deliver.retain(|one| (&one.key, &one.path, &one.unit) != (&new.key, &new.path, &new.unit));
        if let Err((message, hint)) = check_delivery(&new) {
            return Err(Failure::new(message).hint(hint));
        }
        deliver.push(new);
        Ok(())
    }

    /// Reads the value.
    fn read(&self, shell: &Shell) -> Result<ClearValue, Failure> {
        let limit = u64::try_from(MAX_VALUE).unwrap_or(u64::MAX) + 1;
        // The buffer doesn't grow, so that no copy of the value stays behind in memory.
        let mut clear = Zeroizing::new(Vec::with_capacity(MAX_VALUE + 1));
        if let Some(path) = &self.file {
            let what = || format!("cannot read {}", path.display());
            let file = fs::File::open(path).or_fail(what)?;
            file.take(limit).read_to_end(&mut clear).or_fail(what)?;
        } else {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                shell.say(format_args!(
                    "type the value of {}, and end it with Ctrl-D on a new line",
                    self.value
                ));
            }
            let what = || "cannot read the value from stdin".to_owned();
            stdin
                .lock()
                .take(limit)
                .read_to_end(&mut clear)
                .or_fail(what)?;
            if clear.last() == Some(&b'\n') {
                clear.pop();
            }
        }
        if clear.len() > MAX_VALUE {
            return Err(Failure::new(format!(
                "a value may have at most {} KiB",
                MAX_VALUE >> 10
            )));
        }
        if clear.is_empty() {
            return Err(Failure::new("the value is empty").hint("pass it on stdin, or with --file"));
        }
        Ok(clear)
    }
}

/// Encrypts a value as a new version of its Secret, and writes the Secret.
pub(super) fn store(
    folder: &SecretFolder,
    mut secret: FleetSecret,
    value: &ValueName,
    clear: &[u8],
    shell: &Shell,
) -> Result<Exit, Failure> {
    for name in &secret.recipients.keyless_hosts {
        shell.warn(format_args!(
            "{name} has no `ageKey`, so it can't read the value; run `plumb enroll {name} --address ADDRESS`, then `plumb secret rekey {}`",
            secret.name
        ));
    }
    for name in &secret.recipients.keyless_operators {
        shell.warn(format_args!(
            "the operator {name} has no key in trust/recipients/{name}.pub"
        ));
    }
    // A value without a record of its version has that of the Secret, which is raised now.
    for key in secret.spec.values.keys() {
        let version = secret.spec.version;
        let readers = secret.spec.recipients.entry(key.clone()).or_default();
        if readers.version == 0 {
            readers.version = version;
        }
    }
    let version = secret.spec.version + 1;
    secret.spec.version = version;
    value::seal(&mut secret, &folder.repository, &value.key, version, clear)?;
    let file = folder.write(&secret)?;
    let result = SetResult {
        secret: value.to_string(),
        version,
        file,
        hosts: secret.recipients.hosts.keys().cloned().collect(),
        operators: secret.recipients.operators.keys().cloned().collect(),
    };
    shell.emit(&result, |palette| {
        format!(
            "{} version {version} of {value} in {}\n{} and {} can read it\ncommit it: {}\n",
            palette.paint(Paint::Good, "wrote"),
            result.file.display(),
            count(result.hosts.len(), "host"),
            count(result.operators.len(), "operator"),
            palette.paint(
                Paint::Bold,
                format_args!("git add {} && git commit -S && git push", secret.file)
            )
        )
    })?;
    Ok(Exit::OK)
}
