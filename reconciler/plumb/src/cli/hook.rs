//! What the hooks of `hooks/` do; the shims there have no logic.

mod judge;
mod memory;
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
pub(super) use tags::{HeartbeatTag, heartbeat_tag};

/// Do what a git hook asks for
///
/// Called by the scripts in hooks/; git tells it on standard input what is pushed. `pre-receive` refuses
/// what can never be accepted and what no identity covers, and lets through what merely waits for
/// approvals. It is advice for whoever pushes: the controller judges everything again.
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
    /// Approvals that come in the same push don't show to it, so it refuses only what can never be accepted.
    Update {
        /// The ref's full name
        name: String,
        /// What it names
        old: String,
        /// What it would name
        new: String,
    },
    /// On the server, after they moved: tells the controller, and remembers what is accepted
    PostReceive {
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// On the client, before a push: checks the manifests, and refuses of the commits what `pre-receive` would
    PrePush {
        /// What git passes: the remote's name and address
        #[arg(hide = true)]
        remote: Vec<String>,
    },
    /// On the client: adds `Deploy-Ref:` where the policy asks for it
    CommitMsg {
        /// The file of the message
        file: PathBuf,
    },
    /// On the client: the same where git asks no `commit-msg`, as in `git revert --no-edit`
    PrepareCommitMsg {
        /// The file of the message
        file: PathBuf,
        /// What git passes: where the message comes from, and the commit that it is of
        #[arg(hide = true)]
        source: Vec<String>,
    },
}

/// What a push does to one ref.
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
            Which::PrePush { remote } => pre_push::pre_push(remote.first(), shell),
            Which::CommitMsg { file } => commit_msg(&file),
            Which::PrepareCommitMsg { file, source } => {
                // In what is yet to be written, a line of ours would keep git from seeing that nothing was;
                // and after an editor git asks `commit-msg`.
                match (source.first().map(String::as_str), Editor::of_git()) {
                    (Some("message" | "commit"), Editor::None) => commit_msg(&file),
                    _ => Ok(Exit::OK),
                }
            }
        }
    }
}

/// Whether git shows the message to somebody before it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Editor {
    Any,
    None,
}

impl Editor {
    /// Git tells hooks that there is none by an editor that does nothing.
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
    let unread = || format!("{} can't be read", file.display());
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
        // Git gives the commit up, as it should.
        return Ok(Exit::OK);
    }
    let meant = format!("{} {}", policy.repository, policy.reference);
    let bound = message::bind(&text, &meant, cleanup);
    if bound != text {
        std::fs::write(file, bound).or_fail(|| format!("{} can't be written", file.display()))?;
    }
    Ok(Exit::OK)
}

/// The branch that a commit is made on; while it is rebased, `HEAD` is on none.
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

/// A policy by its blob's name; none where there is none, or where it is for others to say what is wrong.
fn policy(git: &Git, name: &str) -> Option<Policy> {
    Policy::parse(&git.blob(name).ok()?).ok()
}

fn lines() -> Result<Vec<String>, Failure> {
    std::io::stdin()
        .lock()
        .lines()
        .collect::<Result<_, _>>()
        .or_fail(|| "git's list of refs can't be read".to_owned())
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N], Failure> {
    let fields: Vec<_> = line.split(' ').collect();
    <[&str; N]>::try_from(fields).map_err(|_| {
        Failure::new(format!("`{line}` isn't what git tells a hook"))
            .hint("this is called by git, from hooks/")
    })
}

/// An object's name; none for git's zeros.
fn oid(text: &str) -> Result<Option<Oid>, Failure> {
    let oid: Oid = text
        .parse()
        .or_fail(|| format!("`{text}` isn't what git tells a hook"))?;
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
    fn what_git_doesnt_say_is_refused() {
        for line in ["", "a b", "x y refs/heads/main"] {
            assert!(updates(&[line.to_owned()]).is_err(), "{line}");
        }
    }
}
