pub(super) mod founders;
pub(super) mod new_policy;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::hook::write_commit_hooks;
use super::trust::policy_edit::PolicyEdit;
use crate::embedded;
use crate::git::Git;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure, OrFail as _};
use crate::schema;
use founders::{Founders, first_policy};
use new_policy::random_id;

/// Create a fleet repository that trusts your key
///
/// Writes an example fleet: `fleet.yaml`, hosts, networks, a catalogue of profiles, and in `trust/` the
/// policy that says who may change what. --minimal writes a small one of four hosts. Your public key comes from git's `user.signingkey`, or from --ssh-key and
/// --openpgp; private keys are never read. With one key the policy needs one signature; with keys of
/// two people it needs two for sensitive paths.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb init fleet\n  plumb init --minimal fleet\n  plumb init fleet --ssh-key ~/.ssh/id_ed25519.pub\n  plumb init fleet --ssh-key alice=alice.pub --openpgp bob=bob.asc"
)]
pub(super) struct Init {
    /// The folder, which is created if it doesn't exist
    dir: PathBuf,

    #[command(flatten)]
    founders: Founders,

    /// The fleet's name; by default the folder's name
    #[arg(long)]
    name: Option<plumb_api::FleetName>,

    /// The branch that hosts follow
    #[arg(long, default_value = "main")]
    branch: String,

    /// Write a small fleet instead of the whole catalogue
    #[arg(long)]
    minimal: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitResult {
    folder: PathBuf,
    repository: String,
    identities: Vec<String>,
    files: Vec<String>,
}

impl Init {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let name = self.fleet_name()?;
        let branch = Git::at(Path::new(".")).branch(&self.branch)?;
        let new = first_policy(self.founders.read(&self.dir)?);
        refuse_a_fleet(&self.dir)?;
        let template = if self.minimal {
            embedded::MINIMAL
        } else {
            embedded::TEMPLATE
        };
        refuse_what_is_in_the_way(&self.dir, template)?;
        let repository = random_id()?;
        let line = schema::line("trust/policy.yaml").unwrap_or_default();
        let policy = line + &new.text(&repository, &branch);
        let edit = PolicyEdit::create(&self.dir, &new, &policy);
        edit.prove("this policy")?;
        fs::create_dir_all(&self.dir)
            .or_fail(|| format!("cannot create {}", self.dir.display()))?;
        let mut files = Vec::new();
        for (path, bytes) in template {
            // The template's keys are public test keys: never trust them in a real fleet.
            if path.starts_with("trust/") {
                continue;
            }
            let mut whole = schema::line(path).unwrap_or_default().into_bytes();
            if *path == "fleet.yaml" {
                whole.extend(rename(bytes, name.as_str()).bytes());
            } else {
                whole.extend(*bytes);
            }
            self.write(path, &whole, &mut files)?;
        }
        files.extend(schema::write(&self.dir)?);
        files.extend(edit.finish("A fleet")?.files);
        let git = Git::at(&self.dir);
        self.own_repository(&git, &branch, shell)?;
        let people = &new.identities;
        let two = people.len() > 1;
        if two {
            for left in write_commit_hooks(&self.dir, &git) {
                shell.warn(left);
            }
        }
        let begun = InitResult {
            folder: self.dir.clone(),
            repository,
            identities: people.iter().map(|person| person.name.clone()).collect(),
            files,
        };
        shell.emit(&begun, |palette| {
            let bold = |text: &str| palette.paint(Paint::Bold, text);
            let folder = self.dir.display();
            let mut out = format!(
                "{} fleet {name} in {folder}: {} files\n",
                palette.paint(Paint::Good, "created:"),
                begun.files.len()
            );
            for person in people {
                for (key, _) in &person.keys {
                    let _ = writeln!(out, "  {} is trusted by the key {}", person.name, key.name);
                }
            }
            if two {
                let _ = writeln!(
                    out,
                    "  one signature changes hosts, two change trust/ and fleet.yaml; each commit names this fleet (a commit-msg hook adds the line)"
                );
            } else {
                let _ = writeln!(
                    out,
                    "  one signature is enough for everything (count 1, bindRef none): whoever has this key owns the fleet.\n  With a second person, give both keys to `plumb init`, or later `plumb trust add NAME --key FILE --group ops`."
                );
            }
            let _ = writeln!(out, "next:");
            for step in [
                format!("cd {folder}"),
                "plumb check".to_owned(),
                "git add --all && git commit --gpg-sign --message 'A fleet'".to_owned(),
                "git rev-parse HEAD     # the introduction of the controller's configuration".to_owned(),
                "git config plumb.introduction $(git rev-parse HEAD)     # for `plumb verify` here".to_owned(),
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
                    "cannot derive the fleet's name from the folder {}",
                    self.dir.display()
                )
            })
            .map_err(|failure| failure.hint("name it with --name"))
    }

    /// Creates a git repository in the folder, even if the folder is inside another repository: every commit
    /// of the fleet's repository is verified, so it can't be shared.
    fn own_repository(&self, git: &Git, branch: &str, shell: &Shell) -> Result<(), Failure> {
        if self.dir.join(".git").exists() {
            let head = git.try_ask(&["symbolic-ref", "--quiet", "HEAD"]);
            if head.as_deref() != Some(&format!("refs/heads/{branch}")) {
                shell.warn(format_args!(
                    "hosts follow {branch}, but another branch is checked out: git switch --create {branch}"
                ));
            }
            return Ok(());
        }
        if let Some(outer) = git.try_ask(&["rev-parse", "--show-toplevel"]) {
            shell.warn(format_args!(
                "the new repository lies inside the one of {outer}, which should ignore it"
            ));
        }
        git.run(&["init", "--quiet", "--initial-branch", branch])
    }

    fn write(&self, path: &str, bytes: &[u8], files: &mut Vec<String>) -> Result<(), Failure> {
        let whole = self.dir.join(path);
        if let Some(folder) = whole.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&whole, bytes).or_fail(|| format!("cannot write {}", whole.display()))?;
        files.push(path.to_owned());
        Ok(())
    }
}

fn refuse_a_fleet(dir: &Path) -> Result<(), Failure> {
    for path in ["fleet.yaml", "trust"] {
        if dir.join(path).exists() {
            return Err(
                Failure::new(format!("{} already has a {path}", dir.display()))
                    .hint("name another folder; `plumb init` only creates new fleets"),
            );
        }
    }
    Ok(())
}

/// Refuses to overwrite anything: fails if a file of the new fleet, or a file in the way of one of its
/// folders, exists.
fn refuse_what_is_in_the_way(dir: &Path, template: &[embedded::File]) -> Result<(), Failure> {
    let there = |path: &Path| path.symlink_metadata().is_ok();
    let mut taken: Vec<String> = Vec::new();
    if there(dir) && !dir.is_dir() {
        taken.push(dir.display().to_string());
    }
    let schemas = (schema::FOLDER, &[] as &[u8]);
    for (path, _) in template.iter().chain([&schemas]) {
        let folders = Path::new(path).ancestors().skip(1);
        let mut folders = folders.filter(|folder| !folder.as_os_str().is_empty());
        let folder = folders.find(|folder| {
            let folder = dir.join(folder);
            there(&folder) && !folder.is_dir()
        });
        let name = match folder {
            Some(folder) => folder.display().to_string(),
            None if there(&dir.join(path)) => (*path).to_owned(),
            None => continue,
        };
        if !taken.contains(&name) {
            taken.push(name);
        }
    }
    if taken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} already has files that a new fleet would overwrite: {}",
        dir.display(),
        taken.join(", ")
    ))
    .hint("name another folder, or move these away; nothing was written"))
}

/// Sets the name in the template's `fleet.yaml`.
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

#[cfg(test)]
mod tests;
