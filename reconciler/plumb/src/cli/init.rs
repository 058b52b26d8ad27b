mod key;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::embedded;
use crate::git::Git;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure, OrFail as _};

use key::TrustedKey;

/// Begin a fleet repository, with your own key as the first that is trusted
///
/// Writes a small whole fleet: `fleet.yaml`, a host, profiles, and under `trust/` the policy that says
/// who may change what. Your public key is taken from git's `user.signingkey`, or from --ssh-key and
/// --openpgp; private keys are never read. With one key the policy asks for one signature; with keys of
/// two people, for two where it matters.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb init fleet\n  plumb init fleet --ssh-key ~/.ssh/id_ed25519.pub\n  plumb init fleet --ssh-key alice=alice.pub --openpgp bob=bob.asc"
)]
pub(super) struct Init {
    /// The folder; made if it isn't there
    dir: PathBuf,

    /// An SSH public key, as a file; with a name before it for more than one person
    #[arg(long, value_name = "[NAME=]FILE")]
    ssh_key: Vec<String>,

    /// An OpenPGP certificate, as a file
    #[arg(long, value_name = "[NAME=]FILE")]
    openpgp: Vec<String>,

    /// The fleet's name; the folder's when left out
    #[arg(long)]
    name: Option<plumb_api::FleetName>,

    /// The branch that hosts follow
    #[arg(long, default_value = "main")]
    branch: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    folder: PathBuf,
    repository: String,
    identities: Vec<String>,
    files: Vec<String>,
}

impl Init {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let name = self.fleet_name()?;
        let keys = self.keys()?;
        refuse_a_fleet(&self.dir)?;
        fs::create_dir_all(&self.dir)
            .or_fail(|| format!("{} can't be made", self.dir.display()))?;
        let repository = random_id()?;
        let mut files = Vec::new();
        for (path, bytes) in embedded::FILES {
            // The template's own keys are for its tests; a policy that trusts them would be anyone's.
            if path.starts_with("trust/") {
                continue;
            }
            let renamed;
            let bytes = if *path == "fleet.yaml" {
                renamed = rename(bytes, name.as_str());
                renamed.as_bytes()
            } else {
                bytes
            };
            self.write(path, bytes, &mut files)?;
        }
        for key in &keys {
            self.write(&key.path(), &key.text, &mut files)?;
        }
        let policy = policy(&keys, &repository, &self.branch);
        self.write("trust/policy.yaml", policy.as_bytes(), &mut files)?;
        let git = Git::at(&self.dir);
        if git.ask(&["rev-parse", "--git-dir"]).is_err() {
            git.run(&["init", "--quiet", "--initial-branch", &self.branch])?;
        }
        let two = keys.len() > 1;
        if two {
            self.write_hooks(&git)?;
        }
        let begun = Begun {
            folder: self.dir.clone(),
            repository,
            identities: keys.iter().map(|key| key.identity.clone()).collect(),
            files,
        };
        shell.emit(&begun, |palette| {
            let bold = |text: &str| palette.paint(Paint::Bold, text);
            let folder = self.dir.display();
            let mut out = format!(
                "{} fleet {name} in {folder}: {} files\n",
                palette.paint(Paint::Good, "begun:"),
                begun.files.len()
            );
            for key in &keys {
                let _ = writeln!(out, "  {} is trusted by the key {}", key.identity, key.name);
            }
            if two {
                let _ = writeln!(
                    out,
                    "  one signature changes hosts, two change trust/ and fleet.yaml; each commit names this fleet (a commit-msg hook adds it)"
                );
            } else {
                let _ = writeln!(
                    out,
                    "  one signature is enough for everything (count 1, bindRef none): whoever has this key owns the fleet.\n  With a second person, give both keys to `plumb init`, or add an identity to trust/policy.yaml and raise the counts."
                );
            }
            let _ = writeln!(out, "next:");
            for step in [
                format!("cd {folder}"),
                "plumb check".to_owned(),
                "git add --all && git commit --gpg-sign --message 'A fleet'".to_owned(),
                "git rev-parse HEAD     # the introduction of the controller's configuration".to_owned(),
            ] {
                let _ = writeln!(out, "  {}", bold(&step));
            }
            out
        })?;
        Ok(Exit::OK)
    }

    fn fleet_name(&self) -> Result<plumb_api::FleetName, Failure> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let folder = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let folder = folder
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        let fit: String = folder
            .unwrap_or_default()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        fit.trim_matches('-')
            .parse()
            .or_fail(|| {
                format!(
                    "the folder {} doesn't give the fleet a name",
                    self.dir.display()
                )
            })
            .map_err(|failure| failure.hint("say one with --name"))
    }

    fn keys(&self) -> Result<Vec<TrustedKey>, Failure> {
        let mut keys = Vec::new();
        for given in self.ssh_key.iter().chain(&self.openpgp) {
            keys.push(TrustedKey::from_file(given)?);
        }
        if keys.is_empty() {
            let folder = if self.dir.is_dir() {
                self.dir.as_path()
            } else {
                Path::new(".")
            };
            keys.push(TrustedKey::of_git(&Git::at(folder))?);
        }
        for (at, key) in keys.iter().enumerate() {
            let before = &keys[..at];
            if before.iter().any(|other| other.identity == key.identity) {
                return Err(
                    Failure::new(format!("two keys are called {}", key.identity))
                        .hint("name each: --ssh-key alice=FILE --openpgp bob=FILE"),
                );
            }
            if before.iter().any(|other| other.name == key.name) {
                return Err(Failure::new("the same key is given twice")
                    .hint("two signatures are worth something only from two people's keys"));
            }
        }
        Ok(keys)
    }

    fn write(&self, path: &str, bytes: &[u8], files: &mut Vec<String>) -> Result<(), Failure> {
        let whole = self.dir.join(path);
        if let Some(folder) = whole.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("{} can't be made", folder.display()))?;
        }
        fs::write(&whole, bytes).or_fail(|| format!("{} can't be written", whole.display()))?;
        files.push(path.to_owned());
        Ok(())
    }

    /// With `bindRef: trailer` each commit must name the fleet: nobody should have to type that.
    fn write_hooks(&self, git: &Git) -> Result<(), Failure> {
        let path = PathBuf::from(git.ask(&["rev-parse", "--git-path", "hooks/commit-msg"])?);
        let path = self.dir.join(path);
        if path.exists() {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("{} can't be made", folder.display()))?;
        }
        fs::write(&path, include_str!("../../../../hooks/commit-msg"))
            .or_fail(|| format!("{} can't be written", path.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode)
            .or_fail(|| format!("{} can't be made executable", path.display()))
    }
}

fn refuse_a_fleet(dir: &Path) -> Result<(), Failure> {
    for path in ["fleet.yaml", "trust"] {
        if dir.join(path).exists() {
            return Err(
                Failure::new(format!("{} has a {path} already", dir.display()))
                    .hint("`plumb init` only begins a fleet; name another folder"),
            );
        }
    }
    Ok(())
}

/// The template's `fleet.yaml` under another name.
fn rename(bytes: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut done = false;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if !done && line.starts_with("metadata:") && line.contains("name:") {
            out.push_str(&format!("metadata: {{name: {name}}}\n"));
            done = true;
        } else if !done && line.trim_start().starts_with("name:") {
            let indent = &line[..line.len() - line.trim_start().len()];
            out.push_str(&format!("{indent}name: {name}\n"));
            done = true;
        } else {
            out.push_str(line);
        }
    }
    out
}

/// A random UUID: what tells this fleet from a fork of it.
fn random_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .or_fail(|| "the system gives no random numbers".to_owned())?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

fn policy(keys: &[TrustedKey], repository: &str, branch: &str) -> String {
    let two = keys.len() > 1;
    let names: Vec<_> = keys.iter().map(|key| key.identity.as_str()).collect();
    let names = names.join(", ");
    let bind = if two { "trailer" } else { "none   " };
    let many = if two { 2 } else { 1 };
    let mut text = format!(
        "# Who may change this fleet. Each commit is judged by the policy of its parent, so a change here acts
# on the commits after it. Any change under trust/ stands alone in its commit and raises `serial`.
# `plumb trust show` says who can change what; docs/trust.md explains the rules.
kind: TrustPolicy
metadata: {{name: {branch}}}
spec:
  serial: 1
  repository: {repository}
  ref: refs/heads/{branch}
  bindRef: {bind}       # none: one person, own server. trailer: each commit says `Deploy-Ref: REPOSITORY REF`
  identities:
"
    );
    for key in keys {
        let _ = writeln!(
            text,
            "    {}: {{keys: [{}]}}",
            key.identity,
            key.policy_form()
        );
    }
    let _ = write!(
        text,
        "  groups: {{ops: [{names}]}}
  rules:                  # all that match a changed path must hold
    - {{paths: [\"**\"], need: [{{from: ops, count: 1}}]}}
"
    );
    if two {
        let _ = writeln!(
            text,
            "    - {{paths: [fleet.yaml], need: [{{from: ops, count: 2}}]}}"
        );
    }
    let _ = writeln!(
        text,
        "    - {{paths: [\"trust/**\"], need: [{{from: ops, count: {many}}}]}}"
    );
    text
}

#[cfg(test)]
mod tests;
