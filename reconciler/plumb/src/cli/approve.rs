use std::path::PathBuf;

use plumb_trust::policy::{POLICY_PATH, Policy};
use serde::Serialize;

use crate::git::Git;
use crate::output::{Paint, Shell, short};
use crate::report::{Exit, Failure};

/// Approve a commit with your signature
///
/// Makes a signed tag `approve/BRANCH/ID` that names the repository, the branch and the commit, so
/// that it can't be moved to another. It is signed by your own git, with the key that your git signs
/// with: keys stay where they are. Look at the commit first; this shows what it changes.
///
/// The tag counts once it is pushed; the command for that is printed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb approve main\n  plumb approve 4f1d5e0b --branch main\n  git push origin 'refs/tags/approve/*'"
)]
pub(super) struct Approve {
    /// A commit, or a branch for its newest commit
    #[arg(value_name = "COMMIT|BRANCH")]
    commit: String,

    /// The branch that it is approved for; the policy's own when left out
    #[arg(long)]
    branch: Option<String>,

    /// Approve everything since this commit too (`Approve-Base:`)
    #[arg(long, value_name = "COMMIT")]
    base: Option<String>,

    /// The tag's last part; made of the commit and your name when left out
    #[arg(long)]
    id: Option<String>,

    /// The repository
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Approved {
    tag: String,
    commit: String,
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    push: String,
}

impl Approve {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let git = Git::at(&self.folder);
        let commit = git.commit(&self.commit)?;
        let base = self
            .base
            .as_deref()
            .map(|base| git.commit(base))
            .transpose()?;
        let policy = policy_of(&git, &commit)?;
        let branch = self.branch.as_deref().unwrap_or(&policy.reference);
        let branch = branch
            .strip_prefix("refs/heads/")
            .unwrap_or(branch)
            .to_owned();
        let reference = format!("refs/heads/{branch}");
        let tag = format!(
            "approve/{branch}/{}",
            self.id.clone().map_or_else(|| id(&git, &commit), Ok)?
        );
        show(&git, &commit, base.as_deref(), shell);
        let subject = git.ask(&["log", "-1", "--format=%s", &commit])?;
        let mut message = format!(
            "Approve {subject}\n\nApprove: {} {reference} {commit}\n",
            policy.repository
        );
        if let Some(base) = &base {
            message.push_str(&format!("Approve-Base: {base}\n"));
        }
        git.run(&["tag", "--sign", "--cleanup=verbatim", "--message", &message, &tag, &commit])
            .map_err(|failure| {
                failure
                    .hint("git signs with `user.signingkey` in the format `gpg.format` (openpgp or ssh); `git config --global user.signingkey KEY` sets it")
                    .hint(format!("`git tag -d {tag}` removes an earlier tag of that name"))
            })?;
        let push = format!("git push {} refs/tags/{tag}", remote(&git, &branch));
        let approved = Approved {
            tag,
            commit,
            repository: policy.repository.clone(),
            reference,
            push,
        };
        shell.emit(&approved, |palette| {
            format!(
                "{} {} as {}\npush it: {}\n",
                palette.paint(Paint::Good, "approved"),
                short(&approved.commit),
                approved.tag,
                palette.paint(Paint::Bold, &approved.push)
            )
        })?;
        Ok(Exit::OK)
    }
}

/// The policy that a commit has; what matters of it here (repository and branch) never changes.
fn policy_of(git: &Git, commit: &str) -> Result<Policy, Failure> {
    let text = git.blob(&format!("{commit}:{POLICY_PATH}")).map_err(|_| {
        Failure::new(format!(
            "{} has no {POLICY_PATH}, so there is nothing to approve for",
            short(commit)
        ))
        .hint("is this the fleet's repository? `plumb init` makes one")
    })?;
    Policy::parse(&text).map_err(|diagnostics| {
        let mut sources = plumb_document::SourceMap::default();
        sources.insert(POLICY_PATH.into(), text.into());
        Failure::new(format!("the policy of {} can't be read", short(commit)))
            .diagnostics(diagnostics, sources)
    })
}

/// A name that two approvers of one commit don't share.
fn id(git: &Git, commit: &str) -> Result<String, Failure> {
    let who = git
        .try_ask(&["config", "user.email"])
        .or_else(|| git.try_ask(&["config", "user.name"]))
        .ok_or_else(|| {
            Failure::new("git doesn't know who you are")
                .hint("git config --global user.email YOU@EXAMPLE, or say --id")
        })?;
    let who: String = who
        .split('@')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    Ok(format!("{}-{}", short(commit), who.trim_matches('-')))
}

/// What is being approved, on stderr, before anything is signed.
fn show(git: &Git, commit: &str, base: Option<&str>, shell: &Shell) {
    let range = base.map_or_else(|| format!("{commit}^!"), |base| format!("{base}..{commit}"));
    for args in [
        vec!["log", "--no-decorate", "--format=%h %an: %s", &range],
        vec!["diff", "--stat", "--no-color", &range],
    ] {
        if let Some(text) = git.try_ask(&args) {
            shell.say(text);
        }
    }
}

/// Where the branch is pushed to.
fn remote(git: &Git, branch: &str) -> String {
    git.try_ask(&["config", &format!("branch.{branch}.remote")])
        .unwrap_or_else(|| "origin".to_owned())
}
