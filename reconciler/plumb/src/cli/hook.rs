//! Implements the git hooks. The scripts in `hooks/` only call this program.

mod accepted_state;
mod bounds;
mod input;
mod install;
mod judge;
mod message;
mod pre_push;
mod server;
mod tags;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use plumb_trust::policy::{BindRef, POLICY_PATH};

use self::input::{RefUpdate, oid, policy};
use self::message::Cleanup;
use crate::cli::controller_address::ControllerAddress;
use crate::git::Git;
use crate::output::Shell;
use crate::report::{Exit, Failure, OrFail as _};

pub(super) use install::write_commit_hooks;
pub(super) use tags::{HeartbeatTag, heartbeat_tag};

/// Run a git hook
///
/// The scripts in hooks/ call this; git passes the pushed refs on standard input. `pre-receive` refuses
/// commits that can never be accepted, commits that no identity signed or approved, and commits whose
/// files exceed a bound. It accepts commits that only wait for approvals. Hooks only inform the person who pushes: the controller judges
/// everything again.
#[derive(Debug, Args)]
pub(super) struct Hook {
    #[command(subcommand)]
    hook: HookKind,
}

#[derive(Debug, Subcommand)]
enum HookKind {
    /// Runs on the server before refs move
    PreReceive,
    /// Runs on the server before one ref moves, if `pre-receive` isn't available
    ///
    /// It can't see approvals in the same push, so it refuses only commits that can never be accepted.
    Update {
        /// The ref's full name
        name: String,
        /// Its old object id
        old: String,
        /// Its new object id
        new: String,
    },
    /// Runs on the server after a push: notifies the controller, and stores the accepted commit
    PostReceive {
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// Runs in a clone before a push: checks and verifies what `pre-receive` would refuse
    PrePush {
        /// The remote's name and address, which git passes
        #[arg(hide = true)]
        remote: Vec<String>,
    },
    /// Runs in a clone: adds the line `Deploy-Ref:` if the policy requires it
    CommitMsg {
        /// The file of the message
        file: PathBuf,
    },
    /// Runs in a clone: does the same if git doesn't run `commit-msg`, as in `git revert --no-edit`
    PrepareCommitMsg {
        /// The file of the message
        file: PathBuf,
        /// The message's source and its commit, which git passes
        #[arg(hide = true)]
        source: Vec<String>,
    },
}

impl Hook {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.hook {
            HookKind::PreReceive => server::pre_receive(shell),
            HookKind::Update { name, old, new } => {
                let update = RefUpdate {
                    old: oid(&old)?,
                    new: oid(&new)?,
                    name,
                };
                server::update(update, shell)
            }
            HookKind::PostReceive { controller } => server::post_receive(&controller, shell),
            HookKind::PrePush { remote: _ } => pre_push::pre_push(shell),
            HookKind::CommitMsg { file } => commit_msg(&file),
            HookKind::PrepareCommitMsg { file, source } => {
                // If the user has yet to write the message, don't add the line: git would no longer see that
                // the message is empty. After the editor, git runs `commit-msg` anyway.
                match (source.first().map(String::as_str), Editor::of_git()) {
                    (Some("message" | "commit"), Editor::None) => commit_msg(&file),
                    _ => Ok(Exit::OK),
                }
            }
        }
    }
}

/// The editor that git opens for the message, if any.
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
        // The message is empty, so git aborts the commit.
        return Ok(Exit::OK);
    }
    let meant = format!("{} {}", policy.repository, policy.reference);
    let bound = message::bind(&text, &meant, cleanup);
    if bound != text {
        std::fs::write(file, bound).or_fail(|| format!("cannot write {}", file.display()))?;
    }
    Ok(Exit::OK)
}

/// Finds the branch that a commit is made on. During a rebase `HEAD` is detached, and the files of the rebase
/// name the branch.
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
