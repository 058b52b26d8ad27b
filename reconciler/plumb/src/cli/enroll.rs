use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use plumb_adapters::hosts::{Connector, ShownKey};
use plumb_api::HostName;
use plumb_api::frame::Facts;
use plumb_core::desired::{Endpoint, HostResult};
use plumb_core::ports::{HostTarget, Hosts as _, Route};
use serde::Serialize;

use crate::cli::folder::RepositoryFolder;
use crate::config::Config;
use crate::connect;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure, OrFail as _};
use crate::runtime::block_on;
use crate::schema;
use crate::workspace::Workspace;

/// Pin a machine's keys and write its Host
///
/// Connects to the machine and shows its host keys with their fingerprints. Compare them with those on
/// the machine's console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`): from then on the
/// controller trusts these keys and no others. Writes `hosts/NAME.yaml`, which takes effect once it is
/// committed, signed and accepted. If the user can log in already, the machine also makes its key for
/// secrets, and the Host gets its public half as `ageKey`. In an existing file it changes only `hostKeys`
/// and `ageKey`, and warns where the rest differs from the options.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb enroll linda --address 192.0.2.7 --user deploy\n  plumb enroll cloud --address cloud.example --port 2222 --yes --labels role=cloud"
)]
pub(super) struct Enroll {
    /// The host's name in the fleet
    name: HostName,

    /// A host name or an address
    #[arg(long)]
    address: String,

    /// The user that the controller logs in as; sudo is used unless it is root [default: root]
    #[arg(long)]
    user: Option<String>,

    /// The SSH port [default: 22]
    #[arg(long)]
    port: Option<u16>,

    /// Labels, as role=cloud,site=home
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE")]
    labels: Vec<String>,

    /// Don't ask for confirmation of the fingerprints
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// Use the SSH key of this controller configuration instead of your own keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnrollResult {
    host: HostName,
    file: PathBuf,
    arch: Option<String>,
    age_key: Option<String>,
    host_keys: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    key: String,
    fingerprint: String,
}

impl Enroll {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let folder = self.folder.path();
        let file = folder.join("hosts").join(format!("{}.yaml", self.name));
        if !folder.join("fleet.yaml").exists() {
            return Err(
                Failure::new(format!("{} isn't a fleet repository", folder.display())).hint(
                    "run this inside the repository, or name it with -C; `plumb init` creates one",
                ),
            );
        }
        let labels = self.labels()?;
        let old = Self::existing_manifest(&file)?;
        let ssh = match &self.config {
            Some(path) => Config::read(path)?.ssh,
            None => connect::personal(),
        };
        let connector = connect::connector(&ssh)?;
        let keys = block_on(async {
            connector
                .scan_host_keys(&self.address, self.port())
                .await
                .map_err(|error| Failure::new(error.to_string()))
        })?;
        self.confirm(&keys, shell)?;
        let lines: Vec<_> = keys.iter().map(|key| key.line.clone()).collect();
        let exists = old.is_some();
        let facts = block_on(async { Ok(self.facts(&connector, &keys, shell).await) })?;
        let (arch, age_key) = facts.map_or((None, None), |facts| (Some(facts.arch), facts.age_key));
        let text = if let Some(old) = &old {
            let text = replace_host_keys(old, &lines).ok_or_else(|| cannot_edit(&file, &lines))?;
            match &age_key {
                Some(key) => pin_age_key(&text, key).ok_or_else(|| {
                    Failure::new(format!("cannot edit the ageKey of {}", file.display()))
                        .hint(format!("write under `spec:`: ageKey: {key}"))
                })?,
                None => text,
            }
        } else {
            let line = schema::line_in(folder, &format!("hosts/{}.yaml", self.name));
            line + &self.manifest(&labels, &lines, arch.as_deref(), age_key.as_deref())
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&file, text).or_fail(|| format!("cannot write {}", file.display()))?;
        let enrolled = EnrollResult {
            host: self.name.clone(),
            file: file.clone(),
            arch: arch.filter(|_| !exists),
            age_key,
            host_keys: keys
                .into_iter()
                .map(|key| Shown {
                    key: key.line,
                    fingerprint: key.fingerprint,
                })
                .collect(),
        };
        if exists {
            self.warn_of_differences(&labels, shell);
        }
        shell.emit(&enrolled, |palette| {
            let word = if exists { "wrote the keys of" } else { "wrote" };
            format!(
                "{} {}\ncommit it: {}\n",
                palette.paint(Paint::Good, word),
                file.display(),
                palette.paint(
                    Paint::Bold,
                    format_args!(
                        "git add hosts/{0}.yaml && git commit -S -m 'Enroll {0}' && git push",
                        self.name
                    )
                )
            )
        })?;
        Ok(Exit::OK)
    }

    fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(22)
    }

    /// Reads the existing manifest. Fails early if its keys can't be replaced in place, before anybody
    /// compares fingerprints.
    fn existing_manifest(file: &Path) -> Result<Option<String>, Failure> {
        if !file.exists() {
            return Ok(None);
        }
        let old = fs::read_to_string(file).or_fail(|| format!("cannot read {}", file.display()))?;
        if replace_host_keys(&old, &["ssh-ed25519 KEY".to_owned()]).is_none() {
            return Err(cannot_edit(file, &["ssh-ed25519 KEY".to_owned()]));
        }
        Ok(Some(old))
    }

    /// Warns of arguments that differ from an existing manifest, because only its keys are changed.
    fn warn_of_differences(&self, labels: &[(&str, &str)], shell: &Shell) {
        let Ok(workspace) = Workspace::of_folder(self.folder.path()) else {
            return;
        };
        if let Some(HostResult::Ready(intent)) = workspace.resolved.hosts.get(&self.name) {
            let is = |way: &&Endpoint| {
                way.address == self.address
                    && self.user.as_ref().is_none_or(|user| *user == way.user)
                    && way.port == self.port()
            };
            if !intent.connect.iter().any(|way| is(&way)) {
                let ways: Vec<_> = intent
                    .connect
                    .iter()
                    .map(|way| format!("{}@{} port {}", way.user, way.address, way.port))
                    .collect();
                let ways = match ways.as_slice() {
                    [] => "nowhere".to_owned(),
                    ways => ways.join(", "),
                };
                shell.warn(format_args!(
                    "wrote only keys; {} is still reached at {ways}. To change that, write: connect: [{}]",
                    self.name,
                    self.endpoint_item()
                ));
            }
        }
        let have = workspace.fleet.labels(&self.name);
        let have = |key: &str| have.and_then(|labels| labels.get(key)).map(String::as_str);
        for &(key, value) in labels {
            if have(key) != Some(value) {
                shell.warn(format_args!(
                    "wrote only keys; the label {key} is still {}",
                    have(key).unwrap_or("missing")
                ));
            }
        }
    }

    /// Renders the endpoint as an item of `connect`.
    fn endpoint_item(&self) -> String {
        format!(
            "{{user: {}, address: {}, port: {}}}",
            quoted(self.user()),
            quoted(&self.address),
            self.port()
        )
    }

    fn labels(&self) -> Result<Vec<(&str, &str)>, Failure> {
        self.labels
            .iter()
            .map(|label| {
                label
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| {
                        Failure::new(format!("`{label}` isn't a label"))
                            .hint("write labels as KEY=VALUE, such as role=cloud,site=home")
                    })
            })
            .collect()
    }

    /// Shows the fingerprints and asks for confirmation, unless `--yes` was given.
    fn confirm(&self, keys: &[ShownKey], shell: &Shell) -> Result<(), Failure> {
        shell.say(format_args!("{} port {} shows:", self.address, self.port()));
        for key in keys {
            let kind = shell.err.paint(Paint::Dim, &key.kind);
            shell.say(format_args!(
                "  {kind} {}",
                shell.err.paint(Paint::Bold, &key.fingerprint)
            ));
        }
        if self.yes {
            return Ok(());
        }
        if !shell.can_ask() {
            return Err(Failure::new(
                "nobody can confirm these host keys, because there is no terminal",
            )
            .hint("compare the keys, then repeat the command with --yes"));
        }
        if shell.confirms(&format!("Do these keys belong to {}?", self.name))? {
            Ok(())
        } else {
            Err(Failure::new("host keys not confirmed; nothing was written"))
        }
    }

    /// Requests the machine's facts if the user can already log in. The agent makes the machine's key for
    /// secrets when it is asked.
    async fn facts(
        &self,
        connector: &Connector,
        keys: &[ShownKey],
        shell: &Shell,
    ) -> Option<Facts> {
        let target = HostTarget {
            name: self.name.clone(),
            arch: None,
            route: Route::Ssh {
                endpoints: vec![Endpoint {
                    address: self.address.clone(),
                    port: self.port(),
                    user: self.user().to_owned(),
                }],
                host_keys: keys.iter().map(|key| key.line.clone()).collect(),
            },
        };
        let facts = async { connector.connect(&target).await?.facts().await };
        match facts.await {
            Ok(facts) => Some(facts),
            Err(error) => {
                shell.warn(format_args!("{error}; `arch` and `ageKey` are left out"));
                if let Some(hint) = error.hint() {
                    shell.say(format_args!("  hint: {hint}"));
                }
                None
            }
        }
    }

    fn manifest(
        &self,
        labels: &[(&str, &str)],
        keys: &[String],
        arch: Option<&str>,
        age_key: Option<&str>,
    ) -> String {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}: {}", quoted(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!(", labels: {{{}}}", labels.join(", "))
        };
        let mut text = format!(
            "kind: Host\nmetadata: {{name: {}{labels}}}\nspec:\n",
            self.name
        );
        if let Some(arch) = arch {
            let _ = writeln!(text, "  arch: {arch}");
        }
        let _ = writeln!(text, "  hostKeys: {}", list(keys));
        if let Some(key) = age_key {
            let _ = writeln!(text, "  ageKey: {key}");
        }
        let _ = writeln!(text, "  connect: [{}]", self.endpoint_item());
        text
    }
}

fn cannot_edit(file: &Path, keys: &[String]) -> Failure {
    Failure::new(format!(
        "{} exists, and its hostKeys can't be edited in place",
        file.display()
    ))
    .hint(format!(
        "write `spec:` on a line of its own, and under it: hostKeys: {}",
        list(keys)
    ))
}

/// Renders host keys as a YAML list, one per line.
fn list(keys: &[String]) -> String {
    let lines: Vec<_> = keys
        .iter()
        .map(|key| format!("\n    - {}", quoted(key)))
        .collect();
    lines.concat()
}

/// Quotes text as JSON does, which YAML reads too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Replaces a manifest's host keys, and keeps comments and order. Returns `None` if the list's layout isn't
/// understood.
fn replace_host_keys(text: &str, keys: &[String]) -> Option<String> {
    if !text.contains("hostKeys") {
        return add_host_keys(text, keys);
    }
    let mut out = String::new();
    let mut lines = text.split_inclusive('\n').peekable();
    let mut done = false;
    while let Some(line) = lines.next() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if done || !body.starts_with("hostKeys:") {
            out.push_str(line);
            continue;
        }
        done = true;
        let value = body["hostKeys:".len()..].trim();
        if value.starts_with('[') && !value.ends_with(']') || value.contains('#') {
            return None;
        }
        let _ = write!(out, "{:indent$}hostKeys:", "");
        for key in keys {
            let _ = write!(out, "\n{:indent$}  - {}", "", quoted(key));
        }
        out.push('\n');
        if value.is_empty() {
            while lines
                .peek()
                .is_some_and(|next| next.trim_start().starts_with("- "))
            {
                lines.next();
            }
        }
    }
    done.then_some(out)
}

/// Pins a host's key for secrets in a manifest that has host keys: replaces the line `ageKey:`, or adds one
/// above `hostKeys:`. Returns `None` if the layout isn't understood.
fn pin_age_key(text: &str, key: &str) -> Option<String> {
    let is = |line: &&str, field: &str| line.trim_start().starts_with(field);
    let lines = || text.split_inclusive('\n');
    let has_key = lines().any(|line| is(&line, "ageKey:"));
    if !has_key && text.contains("ageKey") {
        return None;
    }
    let mut out = String::new();
    let mut done = false;
    for line in lines() {
        let indent = line.len() - line.trim_start().len();
        let pinned = format!("{:indent$}ageKey: {key}\n", "");
        if !done && has_key && is(&line, "ageKey:") {
            out.push_str(&pinned);
            done = true;
            continue;
        }
        if !done && !has_key && is(&line, "hostKeys:") {
            out.push_str(&pinned);
            done = true;
        }
        out.push_str(line);
    }
    done.then_some(out)
}

/// Adds host keys to a manifest that has none, at the beginning of its `spec`.
fn add_host_keys(text: &str, keys: &[String]) -> Option<String> {
    let at = text
        .split_inclusive('\n')
        .scan(0, |at, line| {
            *at += line.len();
            Some((*at, line))
        })
        .find(|(_, line)| {
            let rest = line.strip_prefix("spec:").map(str::trim);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        })
        .map(|(end, _)| end)?;
    let (before, after) = text.split_at(at);
    let next = after
        .lines()
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
    let indent = next.len() - next.trim_start_matches(' ').len();
    if indent == 0 || next.trim_start().starts_with('-') {
        return None;
    }
    let mut out = before.to_owned();
    let _ = write!(out, "{:indent$}hostKeys:", "");
    for key in keys {
        let _ = write!(out, "\n{:indent$}  - {}", "", quoted(key));
    }
    out.push('\n');
    out.push_str(after);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA";

    #[test]
    fn a_reinstalled_machine_gets_new_keys_and_keeps_its_comments() {
        for old in [
            "kind: Host # mine\nspec:\n  hostKeys: [\"ssh-ed25519 OLD\"]\n  arch: x86_64\n",
            "kind: Host # mine\nspec:\n  hostKeys:\n    - \"ssh-ed25519 OLD\"\n    - \"ssh-rsa OLD\"\n  arch: x86_64\n",
        ] {
            assert_eq!(
                replace_host_keys(old, &[KEY.to_owned()]).unwrap(),
                "kind: Host # mine\nspec:\n  hostKeys:\n    - \"ssh-ed25519 AAAA\"\n  arch: x86_64\n"
            );
        }
    }

    #[test]
    fn key_for_secrets_is_pinned_once() {
        let first = "kind: Host\nspec:\n  hostKeys:\n    - \"ssh-ed25519 AAAA\"\n";
        let pinned =
            "kind: Host\nspec:\n  ageKey: age1a\n  hostKeys:\n    - \"ssh-ed25519 AAAA\"\n";
        assert_eq!(pin_age_key(first, "age1a").unwrap(), pinned);
        let again = pinned.replace("age1a", "age1b");
        assert_eq!(pin_age_key(pinned, "age1b").unwrap(), again);
        assert_eq!(
            pin_age_key("spec: {ageKey: x, hostKeys: []}\n", "age1a"),
            None
        );
    }

    #[test]
    fn a_host_without_keys_gets_its_first() {
        assert_eq!(
            replace_host_keys(
                "# a\nkind: Host\nspec:   # b\n\n    # c\n    arch: x86_64\n",
                &[KEY.to_owned()]
            )
            .unwrap(),
            "# a\nkind: Host\nspec:   # b\n    hostKeys:\n      - \"ssh-ed25519 AAAA\"\n\n    # c\n    arch: x86_64\n"
        );
    }

    #[test]
    fn what_cant_be_replaced_safely_isnt() {
        for odd in [
            "kind: Host\nspec: {}\n",
            "kind: Host\nspec:\n",
            "spec:\nkind: Host\n",
            "kind: Host\n",
        ] {
            assert_eq!(replace_host_keys(odd, &[KEY.to_owned()]), None, "{odd}");
        }
        assert_eq!(
            replace_host_keys("spec:\n  hostKeys: [a,\n    b]\n", &[KEY.to_owned()]),
            None
        );
    }
}
