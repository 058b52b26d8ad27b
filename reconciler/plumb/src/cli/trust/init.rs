use std::fmt::Write as _;

use plumb_trust::policy::POLICY_PATH;
use serde::Serialize;

use super::folder::top;
use super::policy_edit::{Edited, PolicyEdit};
use crate::cli::folder::RepositoryFolderOrWord;
use crate::cli::hook::write_commit_hooks;
use crate::cli::init::founders::{Founders, first_policy};
use crate::cli::init::new_policy::random_id;
use crate::git::Git;
use crate::output::{Paint, Shell};
use crate::report::{Exit, Failure};

/// Create a policy in a repository that has none
///
/// Writes trust/policy.yaml and the first public keys into an existing repository; `plumb init` creates a whole
/// fleet. Your key is taken from git's `user.signingkey`, or from --ssh-key and --openpgp; private keys are
/// never read. With one key the policy asks for one signature; with keys of two people, for two on changes of
/// trust/ and fleet.yaml.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust init\n  plumb trust init --ssh-key alice=alice.pub --openpgp bob=bob.asc"
)]
pub(super) struct TrustInit {
    #[command(flatten)]
    folder: RepositoryFolderOrWord,

    #[command(flatten)]
    founders: Founders,

    /// The branch that hosts follow; by default the one that is checked out
    #[arg(long)]
    branch: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrustInitResult {
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    identities: Vec<String>,
    #[serde(flatten)]
    edited: Edited,
}

impl TrustInit {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let git = Git::at(self.folder.path());
        if !self.folder.path().is_dir() || git.ask(&["rev-parse", "--git-dir"]).is_err() {
            return Err(Failure::new(format!(
                "{} isn't in a git repository",
                self.folder.path().display()
            ))
            .hint("create a fleet with `plumb init DIR`, or a repository with `git init`"));
        }
        let root = top(self.folder.path());
        if root.join("trust").exists() {
            return Err(
                Failure::new(format!("{} already has a trust/ folder", root.display()))
                    .hint("run `plumb trust show` to see it, `plumb trust add` to add a key"),
            );
        }
        let branch = match &self.branch {
            Some(branch) => git.branch(branch)?,
            None => git
                .try_ask(&["symbolic-ref", "--short", "--quiet", "HEAD"])
                .ok_or_else(|| {
                    Failure::new("no branch is checked out")
                        .hint("name the branch that hosts follow: --branch main")
                })?,
        };
        let new = first_policy(self.founders.read(&root)?);
        let repository = random_id()?;
        let text = new.text(&repository, &branch);
        let edited = PolicyEdit::create(&root, &new, &text).finish("Who may change this fleet")?;
        let two = new.identities.len() > 1;
        if two {
            for left in write_commit_hooks(&root, &Git::at(&root)) {
                shell.warn(left);
            }
        }
        let people = new.identities.iter();
        let begun = TrustInitResult {
            repository,
            reference: format!("refs/heads/{branch}"),
            identities: people.map(|person| person.name.clone()).collect(),
            edited,
        };
        shell.emit(&begun, |palette| {
            let mut out = format!(
                "{} {POLICY_PATH} for {} of this repository\n",
                palette.paint(Paint::Good, "created:"),
                begun.reference
            );
            for person in &new.identities {
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
                    "one signature changes hosts, two change trust/ and fleet.yaml; each commit names this repository (a commit-msg hook adds the line)"
                } else {
                    "one signature is enough for everything (count 1, bindRef none): whoever has this key owns the fleet.\n  Add a second person with: plumb trust add NAME --key FILE --group ops"
                }
            );
            begun.edited.describe(&mut out, palette);
            let _ = writeln!(out, "Name that commit in the controller's configuration.");
            out
        })?;
        Ok(Exit::OK)
    }
}
