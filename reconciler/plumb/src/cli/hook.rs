//! What the hooks of `hooks/` do; the shims there have no logic.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use plumb_adapters::git::{Quarantine, Repository};
use plumb_trust::policy::{BindRef, POLICY_PATH, Policy};
use plumb_trust::{Oid, Outcome, ReasonCode, TagRef, Verdict};

use super::{ControllerAddress, block_on, check};
use crate::git::Git;
use crate::http::Command;
use crate::judgement::{self, Range};
use crate::output::Shell;
use crate::report::{Exit, Failure, OrFail as _};

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
    /// On the server, after they moved: tells the controller
    PostReceive {
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// On the client, before a push
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
}

/// One line of a hook's standard input.
struct Update {
    old: Option<Oid>,
    new: Option<Oid>,
    name: String,
}

impl Hook {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.hook {
            Which::PreReceive => pre_receive(shell),
            Which::PostReceive { controller } => post_receive(&controller, shell),
            Which::PrePush { .. } => pre_push(shell),
            Which::CommitMsg { file } => commit_msg(&file),
        }
    }
}

fn pre_receive(shell: &Shell) -> Result<Exit, Failure> {
    let updates = updates(&lines()?)?;
    let folder = std::env::var("GIT_DIR").unwrap_or_else(|_| ".".to_owned());
    let variable = |name: &str| std::env::var(name).ok();
    let quarantine = Quarantine::from_values(
        variable("GIT_OBJECT_DIRECTORY").as_deref(),
        variable("GIT_ALTERNATE_OBJECT_DIRECTORIES").as_deref(),
    );
    let repository = Repository::open_with(Path::new(&folder), &quarantine)?;
    let reference = watched(&repository);
    for update in &updates {
        guard_tag(update)?;
    }
    let Some(update) = updates.iter().find(|update| update.name == reference) else {
        return Ok(Exit::OK);
    };
    let Some(new) = update.new else {
        return Err(Failure::new(format!(
            "{reference} can't be deleted: hosts follow it"
        )));
    };
    let introduction = introduction(&repository)?;
    let tags = tags_after(&repository, &updates)?;
    let judge = |floor, head| {
        judgement::judge(
            &repository,
            &Range {
                floor,
                head,
                tags: &tags,
                now: Timestamp::now(),
            },
        )
    };
    // What was accepted so far is the floor: the branch may be set back to it, and not below.
    let floor = match update.old {
        Some(old) => judge(introduction, old).accepted,
        None => introduction,
    };
    let outcome = judge(floor, new);
    if refused(&outcome) {
        shell.say(judgement::describe(&outcome, &repository, shell.err));
        let failure = Failure::new(format!("{reference} isn't moved to {}", new.short()));
        return Err(match outcome.verdict {
            Verdict::Reject => failure.hint("`plumb verify` shows the same before a push"),
            _ => failure.hint("sign the commit (git commit --amend -S), or push an approval of it at the same time: git push --atomic"),
        });
    }
    if !outcome.is_accept() {
        shell.say(judgement::describe(&outcome, &repository, shell.err));
    }
    Ok(Exit::OK)
}

/// What can never be accepted, or what nobody whom the policy knows stands behind.
fn refused(outcome: &Outcome) -> bool {
    let uncovered = |step: &plumb_trust::Step| {
        step.reasons
            .iter()
            .any(|reason| reason.code == ReasonCode::Uncovered)
    };
    outcome.verdict == Verdict::Reject || outcome.first_held().is_some_and(uncovered)
}

/// Approvals and revocations are only ever added.
fn guard_tag(update: &Update) -> Result<(), Failure> {
    let matters = ["refs/tags/approve/", "refs/tags/revoke/"]
        .iter()
        .any(|folder| update.name.starts_with(folder));
    if matters && update.old.is_some() && update.new != update.old {
        return Err(Failure::new(format!(
            "{} stays as it is: approvals and revocations are only added",
            update.name
        ))
        .hint("push another tag, with another last part"));
    }
    Ok(())
}

/// The tags as they would be after the push.
fn tags_after(repository: &Repository, updates: &[Update]) -> Result<Vec<TagRef>, Failure> {
    let mut tags = repository.tags()?;
    for update in updates
        .iter()
        .filter(|update| update.name.starts_with("refs/tags/"))
    {
        tags.retain(|tag| tag.name != update.name);
        if let Some(target) = update.new {
            tags.push(TagRef {
                name: update.name.clone(),
                target,
            });
        }
    }
    Ok(tags)
}

fn watched(repository: &Repository) -> String {
    repository
        .config("plumb.ref")
        .unwrap_or_else(|| "refs/heads/main".to_owned())
}

fn introduction(repository: &Repository) -> Result<Oid, Failure> {
    let unknown = || {
        Failure::new("this repository doesn't know its root of trust, so nothing can be judged")
            .hint("whoever keeps the server says it once, in the bare repository: git config plumb.introduction COMMIT")
    };
    let text = repository
        .config("plumb.introduction")
        .ok_or_else(unknown)?;
    text.parse()
        .or_fail(|| format!("plumb.introduction is `{text}`, which isn't a whole commit id"))
}

fn post_receive(controller: &ControllerAddress, shell: &Shell) -> Result<Exit, Failure> {
    // The repository's configuration isn't read for this: a needless fetch costs nothing.
    let matters = |update: &Update| {
        update.name.starts_with("refs/heads/")
            || ["approve", "alive", "revoke"]
                .iter()
                .any(|kind| update.name.starts_with(&format!("refs/tags/{kind}/")))
    };
    if !updates(&lines()?)?.iter().any(matters) {
        return Ok(Exit::OK);
    }
    let client = controller.client()?;
    match block_on(async { client.tell(&Command::Notify).await }) {
        Ok(_) => Ok(Exit::OK),
        Err(failure) => {
            shell.warn("the controller wasn't told; it sees the push at its next poll");
            Err(failure)
        }
    }
}

fn pre_push(shell: &Shell) -> Result<Exit, Failure> {
    let repository = Repository::open(Path::new("."))?;
    for line in lines()? {
        let [_, local, name, remote] = fields(&line)?;
        let (Some(local), remote) = (oid(local)?, oid(remote)?) else {
            continue;
        };
        let Some(policy) = policy(&Git::at(Path::new(".")), &format!("{local}:{POLICY_PATH}"))
        else {
            continue;
        };
        if policy.reference != name {
            continue;
        }
        check::commit(&repository, &local, shell)?;
        let known = remote.filter(|remote| repository.objects().has(remote));
        let floor = match known {
            Some(remote) => remote,
            None => match repository
                .config("plumb.introduction")
                .and_then(|text| text.parse().ok())
            {
                Some(introduction) => introduction,
                // A first push: there is nothing yet to judge it by.
                None => continue,
            },
        };
        let tags = repository.tags()?;
        let outcome = judgement::judge(
            &repository,
            &Range {
                floor,
                head: local,
                tags: &tags,
                now: Timestamp::now(),
            },
        );
        if refused(&outcome) {
            shell.say(judgement::describe(&outcome, &repository, shell.err));
            return Err(Failure::new(format!("{name} isn't pushed"))
                .hint("git push --no-verify pushes all the same; the server and the controller judge it anyway"));
        }
        if !outcome.is_accept() {
            shell.say(judgement::describe(&outcome, &repository, shell.err));
        }
    }
    Ok(Exit::OK)
}

fn commit_msg(file: &Path) -> Result<Exit, Failure> {
    let git = Git::at(Path::new("."));
    let Some(policy) = policy(&git, &format!(":{POLICY_PATH}")) else {
        return Ok(Exit::OK);
    };
    let branch = git
        .try_ask(&["symbolic-ref", "--quiet", "HEAD"])
        .unwrap_or_default();
    if policy.bind_ref == BindRef::None || branch != policy.reference {
        return Ok(Exit::OK);
    }
    let trailer = format!("Deploy-Ref: {} {}", policy.repository, policy.reference);
    let file = file.display().to_string();
    git.run(&[
        "interpret-trailers",
        "--in-place",
        "--if-exists",
        "doNothing",
        "--trailer",
        &trailer,
        &file,
    ])?;
    Ok(Exit::OK)
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

    fn update(line: &str) -> Update {
        updates(&[line.to_owned()]).unwrap().remove(0)
    }

    #[test]
    fn approvals_are_only_added() {
        let (zero, one, two) = ("0".repeat(40), "1".repeat(40), "2".repeat(40));
        let tag = "refs/tags/approve/main/x";
        assert!(guard_tag(&update(&format!("{zero} {one} {tag}"))).is_ok());
        assert!(guard_tag(&update(&format!("{one} {zero} {tag}"))).is_err());
        assert!(guard_tag(&update(&format!("{one} {two} {tag}"))).is_err());
        assert!(guard_tag(&update(&format!("{one} {zero} refs/tags/v1"))).is_ok());
    }

    #[test]
    fn what_git_doesnt_say_is_refused() {
        for line in ["", "a b", "x y refs/heads/main"] {
            assert!(updates(&[line.to_owned()]).is_err(), "{line}");
        }
    }
}
