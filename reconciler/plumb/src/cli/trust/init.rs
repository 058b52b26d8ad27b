use std::fmt::Write as _;
use std::path::PathBuf;

use plumb_trust::policy::POLICY_PATH;
use serde::Serialize;

use super::beginning::random_id;
use super::commit_hooks::write_commit_hooks;
use super::folder::top;
use super::founders::{Founders, beginning};
use crate::git::Git;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

/// Begin a policy in a repository that has none
///
/// Writes trust/policy.yaml and the first public keys into a repository that is there already;
/// `plumb init` begins a whole fleet. Your key is taken from git's `user.signingkey`, or from --ssh-key
/// and --openpgp; private keys are never read. With one key the policy asks for one signature; with
/// keys of two people, for two where it matters.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust init\n  plumb trust init --ssh-key alice=alice.pub --openpgp bob=bob.asc"
)]
pub(super) struct Init {
    /// The repository's folder
    #[arg(default_value = ".")]
    dir: PathBuf,

    #[command(flatten)]
    founders: Founders,

    /// The branch that hosts follow; the one that is checked out when left out
    #[arg(long)]
    branch: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    identities: Vec<String>,
    files: Vec<String>,
    commands: Vec<String>,
}

impl Init {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let git = Git::at(&self.dir);
        if !self.dir.is_dir() || git.ask(&["rev-parse", "--git-dir"]).is_err() {
            return Err(
                Failure::new(format!("{} is in no git repository", self.dir.display()))
                    .hint("`plumb init DIR` begins a fleet with one; `git init` makes one here"),
            );
        }
        let root = top(&self.dir);
        if root.join("trust").exists() {
            return Err(
                Failure::new(format!("{} has a trust/ already", root.display()))
                    .hint("`plumb trust show` says what it asks for; `plumb trust add` adds a key"),
            );
        }
        let branch = match &self.branch {
            Some(branch) => git.branch(branch)?,
            None => git
                .try_ask(&["symbolic-ref", "--short", "--quiet", "HEAD"])
                .ok_or_else(|| {
                    Failure::new("no branch is checked out")
                        .hint("say which one hosts follow: --branch main")
                })?,
        };
        let beginning = beginning(self.founders.read(&root)?);
        let repository = random_id()?;
        let policy = beginning.policy(&repository, &branch);
        beginning.prove(&policy)?;
        let files = beginning.write(&root, &policy)?;
        let people = &beginning.identities;
        let two = people.len() > 1;
        if two {
            for left in write_commit_hooks(&root, &Git::at(&root)) {
                shell.warn(left);
            }
        }
        let begun = Begun {
            repository,
            reference: format!("refs/heads/{branch}"),
            identities: people.iter().map(|person| person.name.clone()).collect(),
            files,
            commands: vec![
                "plumb trust check".to_owned(),
                "git add trust && git commit -S -m 'Who may change this fleet'".to_owned(),
                "git config plumb.introduction $(git rev-parse HEAD)".to_owned(),
            ],
        };
        shell.emit(&begun, |palette| {
            let mut out = format!(
                "{} {POLICY_PATH} for {} of this repository\n",
                palette.paint(Paint::Good, "begun:"),
                begun.reference
            );
            for person in people {
                for (key, _) in &person.keys {
                    let _ = writeln!(
                        out,
                        "  {} is trusted by the key {} ({})",
                        person.name,
                        key.name,
                        key.file.kind()
                    );
                }
            }
            let _ = writeln!(
                out,
                "  {}",
                if two {
                    "one signature changes hosts, two change trust/ and fleet.yaml; each commit names this repository (a commit-msg hook adds it)"
                } else {
                    "one signature is enough for everything (count 1, bindRef none): whoever has this key owns the fleet.\n  With a second person: plumb trust add NAME --key FILE --group ops"
                }
            );
            let _ = writeln!(out, "\nnext:");
            for command in &begun.commands {
                let _ = writeln!(out, "  {}", palette.paint(Paint::Bold, command));
            }
            let _ = writeln!(
                out,
                "That commit is the introduction: nothing judges it, every later one is judged from it on.\nName it in the controller's configuration."
            );
            out
        })?;
        Ok(Exit::OK)
    }
}
