mod allowed_signers;
mod codeowners;
mod note;
mod people;
mod sq_git;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use plumb_trust::Policy;
use plumb_trust::policy::{BindRef, POLICY_PATH};
use serde::Serialize;

use self::note::Note;
use super::folder::{Folder, must_be_there, owner, top};
use super::policy_edit::{PolicyEdit, diff};
use crate::cli::folder::RepositoryFolder;
use crate::cli::hook::write_commit_hooks;
use crate::cli::init::new_policy::{NewPolicy, Person, random_id};
use crate::git::Git;
use crate::output::{Paint, Palette, Shell};
use crate::report::{Exit, Failure, OrFail as _};

/// Import a policy from another tool
///
/// Reads sequoia-git's openpgp-policy.toml, an allowed_signers file of ssh-keygen and git, or
/// CODEOWNERS. Prints the policy that it would write, and reports line by line what has no equivalent.
/// The policy never allows anything that the file doesn't allow. --write writes the policy, and
/// installs the hooks that add `Deploy-Ref:` if the policy requires it. If there is a policy already,
/// prints what would be added.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust import openpgp-policy.toml\n  plumb trust import ~/.ssh/allowed_signers --write\n  plumb trust import .github/CODEOWNERS     # rules for the identities that the policy has"
)]
pub(super) struct Import {
    /// The file
    file: PathBuf,

    /// The file's format; by default guessed from its name and content
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<PolicyFormat>,

    /// Write trust/, which must not exist yet
    #[arg(long)]
    write: bool,

    /// The branch that hosts follow; by default the one that is checked out
    #[arg(long)]
    branch: Option<String>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PolicyFormat {
    /// sequoia-git's policy, `openpgp-policy.toml`
    SqGit,
    /// `allowed_signers` of ssh-keygen and git
    AllowedSigners,
    /// CODEOWNERS, as GitHub has it
    Codeowners,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportResult {
    /// The policy's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The files that were written.
    files: Vec<String>,
    /// The commands that add what an existing policy doesn't have.
    commands: Vec<String>,
    notes: Vec<Note>,
}

impl Import {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let bytes =
            std::fs::read(&self.file).or_fail(|| format!("cannot read {}", self.file.display()))?;
        let text = String::from_utf8(bytes)
            .or_fail(|| format!("{} isn't UTF-8 text", self.file.display()))?;
        must_be_there(self.folder.path())?;
        let root = top(self.folder.path());
        let there = root.join("trust").exists();
        if self.write && there {
            return Err(Failure::new(format!(
                "{} already has a trust/ folder, which is never overwritten",
                root.display()
            ))
            .hint("run this without --write to see what to add to it"));
        }
        let existing = if there {
            Some(Folder::read(self.folder.path())?)
        } else {
            None
        };
        match self.format(&text)? {
            PolicyFormat::Codeowners => self.rules(existing.as_ref(), &text, shell),
            PolicyFormat::SqGit => {
                self.people(existing.as_ref(), sq_git::read(&text)?, &root, shell)
            }
            PolicyFormat::AllowedSigners => {
                let (new, mut notes) = allowed_signers::read(&text);
                if existing.is_none() {
                    notes.extend(allowed_signers::rules(&new));
                }
                self.people(existing.as_ref(), (new, notes), &root, shell)
            }
        }
    }

    fn format(&self, text: &str) -> Result<PolicyFormat, Failure> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let name = self
            .file
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        if Path::new(&name)
            .extension()
            .is_some_and(|ending| ending == "toml")
        {
            return Ok(PolicyFormat::SqGit);
        }
        if name.contains("codeowners") {
            return Ok(PolicyFormat::Codeowners);
        }
        if name.contains("allowed") || allowed_signers::looks_like(text) {
            return Ok(PolicyFormat::AllowedSigners);
        }
        Err(
            Failure::new(format!("cannot tell the format of {}", self.file.display()))
                .hint("name it: --format sq-git, allowed-signers or codeowners"),
        )
    }

    /// Imports identities with their keys.
    fn people(
        &self,
        existing: Option<&Folder>,
        (new, mut notes): (NewPolicy, Vec<Note>),
        root: &Path,
        shell: &Shell,
    ) -> Result<Exit, Failure> {
        if new.identities.is_empty() {
            return Err(self.nothing_to_import(&notes, "it has no key that could be trusted here"));
        }
        if let Some(folder) = existing {
            let policy = folder.usable()?.policy;
            let commands = additions(&policy, &new.identities, &mut notes);
            let imported = ImportResult {
                policy: None,
                files: Vec::new(),
                commands,
                notes,
            };
            return self.shown(&imported, shell, |out, palette| {
                if imported.commands.is_empty() {
                    let _ = writeln!(out, "the policy already has all of these keys");
                    return;
                }
                let _ = writeln!(out, "# to add to {POLICY_PATH}:");
                for command in &imported.commands {
                    let _ = writeln!(out, "{}", palette.paint(Paint::Bold, command));
                }
            });
        }
        let branch = match &self.branch {
            Some(branch) => branch.clone(),
            None => Git::at(root)
                .try_ask(&["symbolic-ref", "--short", "--quiet", "HEAD"])
                .unwrap_or_else(|| "main".to_owned()),
        };
        let policy = new.text(&random_id()?, &branch);
        let edit = PolicyEdit::create(root, &new, &policy);
        let bound = new.bind != BindRef::None;
        let edited = if self.write {
            let edited = edit.finish("Who may change this fleet")?;
            if bound {
                for left in write_commit_hooks(root, &Git::at(root)) {
                    shell.warn(left);
                }
            }
            Some(edited)
        } else {
            edit.prove("Import")?;
            None
        };
        let imported = ImportResult {
            policy: Some(policy.clone()),
            files: edited
                .iter()
                .flat_map(|edited| edited.files.clone())
                .collect(),
            commands: edited
                .iter()
                .flat_map(|edited| edited.commands.clone())
                .collect(),
            notes,
        };
        self.shown(&imported, shell, |out, palette| {
            let Some(edited) = &edited else {
                out.push_str(&policy);
                for (path, _) in new.files() {
                    let _ = writeln!(out, "# and {path}");
                }
                let _ = writeln!(out, "# to write these files, add --write");
                return;
            };
            for path in &imported.files {
                let _ = writeln!(out, "{} {path}", palette.paint(Paint::Good, "written:"));
            }
            if bound {
                out.push_str(
                    "  each commit names this repository (a commit-msg hook adds the line)\n",
                );
            }
            edited.describe(out, palette);
        })
    }

    /// Imports rules for the identities of an existing policy.
    fn rules(&self, existing: Option<&Folder>, text: &str, shell: &Shell) -> Result<Exit, Failure> {
        let Some(folder) = existing else {
            return Err(Failure::new(
                "CODEOWNERS has no keys, so it can't become a policy by itself",
            )
            .hint("add the keys first: plumb trust init --ssh-key alice=alice.pub …, or import an allowed_signers file")
            .hint("name the identities as in CODEOWNERS, without the @"));
        };
        let policy = folder.usable()?.policy;
        let (changed, notes) = codeowners::read(text, &policy, &folder.policy);
        let changed = changed.map_err(|failure| {
            let notes = notes.iter().map(|note| self.located(note));
            notes.fold(failure, Failure::hint)
        })?;
        if changed == folder.policy {
            return Err(self.nothing_to_import(&notes, "it has nothing that can be translated"));
        }
        let imported = ImportResult {
            policy: Some(changed.clone()),
            files: Vec::new(),
            commands: Vec::new(),
            notes,
        };
        self.shown(&imported, shell, |out, palette| {
            diff(out, &folder.policy, &changed, palette);
            let _ = writeln!(
                out,
                "# copy what you want from this into {POLICY_PATH}, raise `serial`, and run: plumb trust check"
            );
        })
    }

    fn shown(
        &self,
        imported: &ImportResult,
        shell: &Shell,
        text: impl FnOnce(&mut String, Palette),
    ) -> Result<Exit, Failure> {
        for note in &imported.notes {
            shell.warn(self.located(note));
        }
        shell.emit(imported, |palette| {
            let mut out = String::new();
            text(&mut out, palette);
            out
        })?;
        Ok(Exit::OK)
    }

    fn nothing_to_import(&self, notes: &[Note], why: &str) -> Failure {
        let failure = Failure::new(format!("{}: {why}", self.file.display()));
        notes
            .iter()
            .fold(failure, |failure, note| failure.hint(self.located(note)))
    }

    fn located(&self, note: &Note) -> String {
        match note.line {
            Some(line) => format!("{}:{line}: {}", self.file.display(), note.message),
            None => format!("{}: {}", self.file.display(), note.message),
        }
    }
}

/// Returns the commands that add the keys that a policy doesn't have. A person in the imported file and a
/// different person in the policy may have the same name.
fn additions(policy: &Policy, people: &[Person], notes: &mut Vec<Note>) -> Vec<String> {
    let mut commands = Vec::new();
    for person in people {
        let known = policy
            .identities
            .iter()
            .map(|identity| identity.name.as_str())
            .find(|name| name.eq_ignore_ascii_case(&person.name));
        let has = |name: &str| {
            let mut owners = person.keys.iter().map(|(key, _)| owner(policy, &key.name));
            owners.any(|owner| owner == Some(name))
        };
        if let Some(name) = known.filter(|name| !has(name)) {
            notes.push(Note::without_line(format!(
                "{name} is in the policy with other keys: if {} of this file is another person, choose another name in the command, or one could sign for the other",
                person.name
            )));
        }
        let name = known.unwrap_or(&person.name);
        for (key, end) in &person.keys {
            if let Some(owner) = owner(policy, &key.name) {
                if owner != name {
                    notes.push(Note::without_line(format!(
                        "the key {} of {} is left out: it is {owner}'s in the policy, and a key belongs to one identity",
                        key.name, person.name
                    )));
                }
                continue;
            }
            let given = match key.name {
                plumb_trust::KeyName::Ssh(_) => {
                    format!("'{}'", key.text.trim_end().replace('\'', ""))
                }
                plumb_trust::KeyName::OpenPgp(_) => key.name.to_string(),
            };
            let group = known.map_or(" --group GROUP", |_| "");
            let end = end.map_or_else(String::new, |end| {
                format!("     # and `validBefore: {end}` in the policy")
            });
            commands.push(format!("plumb trust add {name} --key {given}{group}{end}"));
        }
    }
    commands
}

#[cfg(test)]
mod tests;
