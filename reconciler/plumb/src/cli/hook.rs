//! Implements the git hooks; the shims in `hooks/` have no logic.

mod accepted_state;
mod install;
mod judge;
mod message;
mod pre_push;
mod server;
mod tags;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use plumb_trust::Oid;
use plumb_trust::policy::{BindRef, POLICY_PATH, Policy};

use self::message::Cleanup;
use super::{ControllerAddress, block_on};
use crate::git::Git;
use crate::output::Shell;
use crate::report::{Exit, Failure, OrFail as _};
pub(super) use install::write_commit_hooks;
pub(super) use tags::{HeartbeatTag, heartbeat_tag};

/// Run a git hook
///
/// The scripts in hooks/ call this; git passes the pushed refs on standard input. `pre-receive` refuses
/// commits that can never be accepted and commits that no identity covers, and lets through those that merely
/// wait for approvals. Hooks only inform whoever pushes: the controller judges everything again.
#[derive(Debug, Args)]
pub(super) struct Hook {
    #[command(subcommand)]
    hook: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// On the server, before refs move
    PreReceive,
    /// On the server, before one ref moves, where `pre-receive` can't be used
    ///
    /// It can't see approvals that come in the same push, so it refuses only what can never be accepted.
    Update {
        /// The ref's full name
        name: String,
        /// What it names
        old: String,
        /// What it would name
        new: String,
    },
    /// On the server, after they moved: notifies the controller, and stores what is accepted
    PostReceive {
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// On the client, before a push: runs `check` and `verify`, and refuses what `pre-receive` would
    PrePush {
        /// The remote's name and address, which git passes
        #[arg(hide = true)]
        remote: Vec<String>,
    },
    /// On the client: adds `Deploy-Ref:` if the policy asks for it
    CommitMsg {
        /// The file of the message
        file: PathBuf,
    },
    /// On the client: the same where git runs no `commit-msg`, as in `git revert --no-edit`
    PrepareCommitMsg {
        /// The file of the message
        file: PathBuf,
        /// The message's source and its commit, which git passes
        #[arg(hide = true)]
        source: Vec<String>,
    },
}

/// The change of one ref in a push.
struct Update {
    old: Option<Oid>,
    new: Option<Oid>,
    name: String,
}

impl Hook {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.hook {
            Which::PreReceive => server::pre_receive(shell),
            Which::Update { name, old, new } => {
                let update = Update {
                    old: oid(&old)?,
                    new: oid(&new)?,
                    name,
                };
                server::update(update, shell)
            }
            Which::PostReceive { controller } => server::post_receive(&controller, shell),
            Which::PrePush { remote: _ } => pre_push::pre_push(shell),
            Which::CommitMsg { file } => commit_msg(&file),
            Which::PrepareCommitMsg { file, source } => {
                // If the message is yet to be written, our line would hide from git that it is empty. After
                // an editor, git runs `commit-msg` anyway.
                match (source.first().map(String::as_str), Editor::of_git()) {
                    (Some("message" | "commit"), Editor::None) => commit_msg(&file),
                    _ => Ok(Exit::OK),
                }
            }
        }
    }
}

/// The editor that git opens for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Editor {
    Any,
    None,
}

impl Editor {
    /// Reads `GIT_EDITOR`: git sets it to `:` for hooks if it opens no editor.
    fn of_git() -> Self {
        match std::env::var_os("GIT_EDITOR") {
            Some(editor) if editor == ":" => Self::None,
            _ => Self::Any,
        }
    }
}

fn commit_msg(file: &Path) -> Result<Exit, Failure> {
    let git = Git::at(Path::new("."));
    let Some(policy) = policy(&git, &format!(":{POLICY_PATH}")) else {
        return Ok(Exit::OK);
    };
    if policy.bind_ref == BindRef::None || branch(&git) != Some(policy.reference.clone()) {
        return Ok(Exit::OK);
    }
    let unread = || format!("cannot read {}", file.display());
    let text = std::fs::read(file).or_fail(unread)?;
    let comment = git
        .try_ask(&["config", "core.commentString"])
        .or_else(|| git.try_ask(&["config", "core.commentChar"]));
    let comment = match comment.as_deref() {
        None => b"#",
        Some("auto") => message::comment_of(&text),
        Some(comment) => comment.as_bytes(),
    };
    let setting = git.try_ask(&["config", "commit.cleanup"]);
    let cleanup = match (setting.as_deref(), Editor::of_git()) {
        (Some("strip"), _) | (None | Some("default"), Editor::Any) => Cleanup::Strips(comment),
        _ => Cleanup::Keeps(comment),
    };
    if message::is_empty(&text, cleanup) {
        // Git aborts the commit, as it should.
        return Ok(Exit::OK);
    }
    let meant = format!("{} {}", policy.repository, policy.reference);
    let bound = message::bind(&text, &meant, cleanup);
    if bound != text {
        std::fs::write(file, bound).or_fail(|| format!("cannot write {}", file.display()))?;
    }
    Ok(Exit::OK)
}

/// Finds the branch that a commit is made on. During a rebase, `HEAD` is detached and git's files name it.
fn branch(git: &Git) -> Option<String> {
    git.try_ask(&["symbolic-ref", "--quiet", "HEAD"])
        .or_else(|| {
            ["rebase-merge/head-name", "rebase-apply/head-name"]
                .iter()
                .filter_map(|name| git.try_ask(&["rev-parse", "--git-path", name]))
                .find_map(|path| std::fs::read_to_string(path).ok())
                .map(|name| name.trim_end().to_owned())
        })
}

/// Reads a policy by its blob's name. Returns `None` if there is none or it is invalid, which `check` reports.
fn policy(git: &Git, name: &str) -> Option<Policy> {
    Policy::parse(&git.blob(name).ok()?).ok()
}

fn lines() -> Result<Vec<String>, Failure> {
    std::io::stdin()
        .lock()
        .lines()
        .collect::<Result<_, _>>()
        .or_fail(|| "cannot read git's list of refs".to_owned())
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N], Failure> {
    let fields: Vec<_> = line.split(' ').collect();
    <[&str; N]>::try_from(fields).map_err(|_| {
        Failure::new(format!("unexpected input line from git: `{line}`"))
            .hint("let git run this hook: copy it from hooks/")
    })
}

/// Parses an object's name; git writes zeros for none.
fn oid(text: &str) -> Result<Option<Oid>, Failure> {
    let oid: Oid = text
        .parse()
        .or_fail(|| format!("unexpected object id from git: `{text}`"))?;
    Ok((!oid.is_null()).then_some(oid))
}

fn updates(lines: &[String]) -> Result<Vec<Update>, Failure> {
    lines
        .iter()
        .map(|line| {
            let [old, new, name] = fields(line)?;
            Ok(Update {
                old: oid(old)?,
                new: oid(new)?,
                name: name.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_lines_that_git_does_not_write() {
        for line in ["", "a b", "x y refs/heads/main"] {
            assert!(updates(&[line.to_owned()]).is_err(), "{line}");
        }
    }
}
