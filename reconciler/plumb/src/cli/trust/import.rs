mod allowed_signers;
mod codeowners;
mod sq_git;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use plumb_trust::policy::{BindRef, POLICY_PATH};
use plumb_trust::{Authority, Policy};
use serde::Serialize;

use super::folder::{Folder, must_be_there, owner, top};
use super::policy_edit::{PolicyEdit, diff};
use crate::cli::hook::write_commit_hooks;
use crate::cli::init::new_policy::{NewPolicy, Person, Rule, random_id};
use crate::git::Git;
use crate::output::{Paint, Palette, Shell};
use crate::public_key::PublicKey;
use crate::report::{Exit, Failure, OrFail as _};

/// Import a policy from another tool
///
/// Reads sequoia-git's openpgp-policy.toml, an allowed_signers file of ssh-keygen and git, or CODEOWNERS. Prints
/// the policy that it would write, and says line by line what has no equivalent here; the policy never allows
/// anything that the file doesn't allow. --write also installs the hooks that add `Deploy-Ref:` if the policy asks
/// for it. If there is a policy already, it shows what would be added.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust import openpgp-policy.toml\n  plumb trust import ~/.ssh/allowed_signers --write\n  plumb trust import .github/CODEOWNERS     # rules for the identities that the policy has"
)]
pub(super) struct Import {
    /// The file
    file: PathBuf,

    /// The file's format; by default guessed from its name and content
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,

    /// Write trust/, which must not exist yet
    #[arg(long)]
    write: bool,

    /// The branch that hosts follow; by default the one that is checked out
    #[arg(long)]
    branch: Option<String>,

    /// The repository's folder
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// sequoia-git's policy, `openpgp-policy.toml`
    SqGit,
    /// `allowed_signers` of ssh-keygen and git
    AllowedSigners,
    /// CODEOWNERS, as GitHub has it
    Codeowners,
}

/// A remark on something in the file that is different here, or has no equivalent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Note {
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    message: String,
}

impl Note {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            message: message.into(),
        }
    }

    fn general(message: impl Into<String>) -> Self {
        Self {
            line: None,
            message: message.into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    /// The policy's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The files that were written.
    files: Vec<String>,
    /// The commands that add what the policy doesn't have.
    commands: Vec<String>,
    notes: Vec<Note>,
}

impl Import {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let bytes = std::fs::read(&self.file)
            .or_fail(|| format!("{} can't be read", self.file.display()))?;
        let text = String::from_utf8(bytes)
            .or_fail(|| format!("{} isn't UTF-8 text", self.file.display()))?;
        must_be_there(&self.folder)?;
        let root = top(&self.folder);
        let there = root.join("trust").exists();
        if self.write && there {
            return Err(Failure::new(format!(
                "{} has a trust/ already, which isn't written over",
                root.display()
            ))
            .hint("without --write this shows what would be added to it"));
        }
        let existing = if there {
            Some(Folder::read(&self.folder)?)
        } else {
            None
        };
        match self.format(&text)? {
            Format::Codeowners => self.rules(existing.as_ref(), &text, shell),
            Format::SqGit => self.people(existing.as_ref(), sq_git::read(&text)?, &root, shell),
            Format::AllowedSigners => {
                let (new, mut notes) = allowed_signers::read(&text);
                if existing.is_none() {
                    notes.extend(allowed_signers::rules(&new));
                }
                self.people(existing.as_ref(), (new, notes), &root, shell)
            }
        }
    }

    fn format(&self, text: &str) -> Result<Format, Failure> {
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
            return Ok(Format::SqGit);
        }
        if name.contains("codeowners") {
            return Ok(Format::Codeowners);
        }
        if name.contains("allowed") || allowed_signers::looks_like(text) {
            return Ok(Format::AllowedSigners);
        }
        Err(
            Failure::new(format!("the format of {} isn't known", self.file.display()))
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
            return Err(self.nothing(&notes, "no key in it can be trusted here"));
        }
        if let Some(folder) = existing {
            let policy = folder.usable()?.policy;
            let commands = additions(&policy, &new.identities, &mut notes);
            let imported = Imported {
                policy: None,
                files: Vec::new(),
                commands,
                notes,
            };
            return self.shown(&imported, shell, |out, palette| {
                if imported.commands.is_empty() {
                    let _ = writeln!(out, "the policy has all of these keys already");
                    return;
                }
                let _ = writeln!(out, "# what {POLICY_PATH} doesn't have yet:");
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
        let imported = Imported {
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
                let _ = writeln!(out, "# --write writes it");
                return;
            };
            for path in &imported.files {
                let _ = writeln!(out, "{} {path}", palette.paint(Paint::Good, "written:"));
            }
            if bound {
                out.push_str("  each commit names this repository (a commit-msg hook adds it)\n");
            }
            edited.describe(out, palette);
        })
    }

    /// Imports rules for the identities of an existing policy.
    fn rules(&self, existing: Option<&Folder>, text: &str, shell: &Shell) -> Result<Exit, Failure> {
        let Some(folder) = existing else {
            return Err(Failure::new(
                "CODEOWNERS names no keys, so it makes no policy alone",
            )
            .hint("begin with the keys: plumb trust init --ssh-key alice=alice.pub …, or import an allowed_signers file")
            .hint("name the identities as CODEOWNERS does, without the @"));
        };
        let policy = folder.usable()?.policy;
        let (changed, notes) = codeowners::read(text, &policy, &folder.policy);
        let changed = changed.map_err(|failure| {
            let notes = notes.iter().map(|note| self.located(note));
            notes.fold(failure, Failure::hint)
        })?;
        if changed == folder.policy {
            return Err(self.nothing(&notes, "nothing in it can be translated"));
        }
        let imported = Imported {
            policy: Some(changed.clone()),
            files: Vec::new(),
            commands: Vec::new(),
            notes,
        };
        self.shown(&imported, shell, |out, palette| {
            diff(out, &folder.policy, &changed, palette);
            let _ = writeln!(
                out,
                "# write what you want of it into {POLICY_PATH}, raise `serial`, and prove it: plumb trust check"
            );
        })
    }

    fn shown(
        &self,
        imported: &Imported,
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

    fn nothing(&self, notes: &[Note], why: &str) -> Failure {
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

/// The commands that add keys which a policy doesn't have. Two people may have the same name.
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
            notes.push(Note::general(format!(
                "{name} is in the policy already, with other keys: if {} of this file is somebody else, say another name in the command, or one of them signs for the other",
                person.name
            )));
        }
        let name = known.unwrap_or(&person.name);
        for (key, end) in &person.keys {
            if let Some(owner) = owner(policy, &key.name) {
                if owner != name {
                    notes.push(Note::general(format!(
                        "the key {} of {} is left out: the policy has it as {owner}'s, and one key counts for one identity",
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

/// Returns why a key couldn't sign anything that counts under a policy's default settings.
fn unusable(key: &PublicKey, at: Timestamp) -> Option<String> {
    let name = || "somebody".to_owned();
    let alone = NewPolicy {
        identities: vec![Person {
            name: name(),
            keys: vec![(key.clone(), None)],
        }],
        groups: vec![("all".to_owned(), vec![name()])],
        rules: vec![Rule {
            paths: vec!["**".to_owned()],
            needs: vec![("all".to_owned(), 1)],
        }],
        bind: BindRef::None,
    };
    let policy = alone.text("none", "main");
    match Authority::new(policy.as_bytes(), alone.files(), at) {
        Ok(authority) => authority
            .unusable(&key.name, at)
            .map(|unusable| unusable.to_string()),
        Err(wrong) => wrong.first().map(|diagnostic| diagnostic.message.clone()),
    }
}

/// People by name; a second key of a name is another key of that person.
#[derive(Default)]
struct People(Vec<Person>);

impl People {
    /// Adds a key, unless somebody has it already.
    fn add(&mut self, name: &str, key: PublicKey, end: Option<Timestamp>) -> Result<(), String> {
        let has = |person: &&Person| person.keys.iter().any(|(own, _)| own.name == key.name);
        if let Some(other) = self.0.iter().find(has) {
            return Err(if other.name == name {
                format!("{name} has the key {} already", key.name)
            } else {
                format!(
                    "the key {} is {}'s already, and one key counts for one identity",
                    key.name, other.name
                )
            });
        }
        match self.0.iter_mut().find(|person| person.name == name) {
            Some(person) => person.keys.push((key, end)),
            None => self.0.push(Person {
                name: name.to_owned(),
                keys: vec![(key, end)],
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
