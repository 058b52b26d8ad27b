//! Where a commit stands that isn't accepted: what a cure for it must know.

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::{Commit, Trailers, limits};
use plumb_trust::policy::BindRef;
use plumb_trust::{ObjectKind, Objects as _, Oid, Outcome, Step};

use super::describe::is_shown;
use super::emergency::{Emergency, Freeze};
use super::floor::{first_parents, server_head};
use super::message::Messages;
use super::others::{Others, is_astray, others};
use crate::git::Git;
use crate::output::quoted;

/// Who reads what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Who uses this git: its `user.email` is theirs.
    User,
    /// Whoever pushes to this server: what git is told here of a user is of the server's own account.
    Pusher,
}

/// Whether other commits stand on top of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// It is the branch's newest commit: it can be amended.
    Newest,
    /// It isn't.
    Below,
}

/// With what a commit is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// A key of SSH, which has no end of its own.
    Ssh,
    /// A key that may have one, or it isn't known here.
    Other,
}

impl Signature {
    fn of(repository: &Repository, commit: Oid) -> Self {
        let is_ssh = |commit: &Commit<'_>| {
            let signature = commit.signature.as_ref()?;
            signature
                .starts_with(b"-----BEGIN SSH SIGNATURE-----")
                .then_some(())
        };
        look_at(repository, &commit, is_ssh).map_or(Self::Other, |()| Self::Ssh)
    }
}

/// Something of a commit, if it can be read.
fn look_at<T>(
    repository: &Repository,
    commit: &Oid,
    look: impl FnOnce(&Commit<'_>) -> Option<T>,
) -> Option<T> {
    let raw = repository
        .objects()
        .read(commit, ObjectKind::Commit, limits::COMMIT)
        .ok()?;
    look(&Commit::parse(&raw, commit.format()).ok()?)
}

/// How many messages are read at most.
const READ: usize = 64;

/// How those commits say where they are meant that a change of this one signs anew.
fn messages(
    repository: &Repository,
    outcome: &Outcome,
    step: &Step,
    tip: Oid,
    deploy_ref: Option<&str>,
) -> Messages {
    let newer = if step.commit == tip {
        None
    } else {
        repository.newer(outcome.accepted, tip)
    };
    let commits = newer.map_or_else(
        || vec![step.commit],
        |newer| newer.iter().map(|newer| newer.commit).collect(),
    );
    let of = |commit: &Oid| {
        look_at(repository, commit, |commit| {
            Some(Messages::of(commit.message, deploy_ref))
        })
    };
    let worst = commits.iter().take(READ).filter_map(of).max();
    worst.unwrap_or(Messages::Plain)
}

/// Where a commit stands that isn't accepted.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Git gets it whole: what is shorter may be the name of a tag, on a server that has no hooks of ours.
    /// As what is pushed it gets `~0` too, as `HEAD` does: there git takes even a tag that is called like a
    /// whole id, or `HEAD`, before the commit.
    pub(crate) commit: String,
    /// The last accepted commit.
    pub(crate) accepted: String,
    /// What to build on, where it isn't built on that: the server's newest commit if it is on top of the last
    /// accepted one, so that nothing of others' is dropped.
    pub(crate) base: String,
    /// The newest commit of what it is one of.
    pub(crate) tip: String,
    pub(crate) position: Position,
    /// The branch's short name, and where it is pushed to, both as they stand in a command.
    pub(crate) branch: String,
    pub(crate) remote: String,
    /// What each commit must say, if the policy asks for it.
    pub(crate) deploy_ref: Option<String>,
    pub(crate) messages: Messages,
    pub(crate) signature: Signature,
    pub(crate) others: Others,
    pub(crate) start: Start,
    pub(crate) on_server: OnServer,
    pub(crate) freeze: Freeze,
    pub(crate) emergency: Emergency,
    pub(crate) approvals: Approvals,
}

/// Whether the server's branch has a commit, as far as it was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnServer {
    /// It has, or it isn't known here.
    Yes,
    /// It hasn't: nothing has to be set back there.
    No,
}

impl OnServer {
    fn of(
        repository: &Repository,
        commit: &Oid,
        branch: &str,
        remote: &str,
        reader: Reader,
    ) -> Self {
        let server = format!("refs/remotes/{remote}/{branch}");
        if reader == Reader::Pusher || repository.resolve(&server).is_err() {
            return Self::Yes;
        }
        let git = Git::at(repository.git_dir());
        let has = ["merge-base", "--is-ancestor", &commit.to_string(), &server];
        if git.ask(&has).is_ok() {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// From where the newest commit is changed, and how what comes of that gets to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The command that goes to that commit; none where the reader is there.
    pub(crate) go: Option<String>,
    /// The command that pushes; none where the commit isn't on the server's branch, but on one of the
    /// reader's own.
    pub(crate) push: Option<String>,
}

impl Start {
    /// Of who is on the policy's branch, at its newest commit.
    pub(crate) fn on(branch: &str, remote: &str) -> Self {
        Self {
            go: None,
            push: Some(format!(
                "git push --force-with-lease {} {branch}",
                quoted(remote)
            )),
        }
    }

    /// Of who is wherever the commit was pushed from: on the policy's branch, or on another.
    fn anywhere(branch: &str, remote: &str) -> Self {
        Self {
            go: None,
            push: Some(format!(
                "git push --force-with-lease {} HEAD~0:refs/heads/{branch}",
                quoted(remote)
            )),
        }
    }

    /// Of a commit that `HEAD` may be or not, on the policy's branch or not. Whoever pushes is in a clone
    /// that isn't seen here.
    fn of(repository: &Repository, tip: Oid, branch: &str, remote: &str, reader: Reader) -> Self {
        if reader == Reader::Pusher {
            return Self::anywhere(branch, remote);
        }
        let git = Git::at(repository.git_dir());
        let bare = git.try_ask(&["rev-parse", "--is-bare-repository"]);
        if bare.as_deref() == Some("true") {
            return Self::on(branch, remote);
        }
        let own = format!("refs/heads/{branch}");
        let current = git.try_ask(&["symbolic-ref", "--quiet", "HEAD"]);
        let is_tip = |name: &str| repository.resolve(name).is_ok_and(|id| id == tip);
        let there = is_tip("HEAD");
        if is_tip(&own) {
            let go = (current.as_ref() != Some(&own)).then(|| format!("git switch {branch}"));
            return Self {
                go,
                ..Self::on(branch, remote)
            };
        }
        let server = format!("refs/remotes/{remote}/{branch}");
        let tip_id = tip.to_string();
        let pushed = git
            .ask(&["merge-base", "--is-ancestor", &tip_id, &server])
            .is_ok();
        let points = format!("--points-at={tip_id}");
        let branches = git.try_ask(&[
            "for-each-ref",
            "--format=%(refname:short)",
            &points,
            "refs/heads",
        ]);
        let plain = |name: &&str| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        };
        let named = branches
            .as_deref()
            .and_then(|names| names.lines().find(plain));
        let go = named.map_or_else(
            || format!("git switch --detach {tip}"),
            |name| format!("git switch {name}"),
        );
        Self {
            go: (!there).then_some(go),
            push: Self::anywhere(branch, remote).push.filter(|_| pushed),
        }
    }
}

/// Whether the server may have approvals that aren't here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approvals {
    /// It hasn't: this is where they are pushed to, or the commit isn't there yet.
    Here,
    /// It may have some, and none is here: a clone that was made with `--no-tags`, as for checks, never gets
    /// any by itself.
    Unfetched,
    /// Some are here, and it may have newer ones.
    Older,
}

/// Looks whether a clone has any approval for a branch, and whether the server has what they would be of.
fn approvals(
    repository: &Repository,
    commit: &Oid,
    remote: &str,
    branch: &str,
    reader: Reader,
) -> Approvals {
    let folder = format!("refs/tags/approve/{branch}/");
    let any = repository
        .tags()
        .is_ok_and(|tags| tags.iter().any(|tag| tag.name.starts_with(&folder)));
    let server = repository.config(&format!("remote.{remote}.url"));
    let git = Git::at(repository.git_dir());
    let there = ["branch", "--remotes", "--contains", &commit.to_string()];
    match (reader, server) {
        (Reader::Pusher, _) | (_, None) => Approvals::Here,
        _ if !any => Approvals::Unfetched,
        _ if git.try_ask(&there).is_some() => Approvals::Older,
        _ => Approvals::Here,
    }
}

/// What a commit says to be an emergency, fit for a line of its own.
pub(super) fn declared_emergency(repository: &Repository, commit: &Oid) -> Option<String> {
    let why = look_at(repository, commit, |commit| {
        let trailers = Trailers::parse(commit.message).ok()?;
        trailers.get("emergency").map(str::to_owned)
    })?;
    let why: String = why.chars().filter(|c| is_shown(*c)).take(72).collect();
    (!why.is_empty()).then_some(why)
}

/// What a commit is best built on: never less than what is accepted.
fn base(repository: &Repository, accepted: Oid, reader: Reader) -> Oid {
    let objects = repository.objects();
    server_head(repository, &accepted)
        .filter(|_| reader == Reader::User)
        .filter(|server| first_parents(objects, *server).any(|id| id == accepted))
        .unwrap_or(accepted)
}

impl Place {
    /// Of a step of a verification, as far as the repository tells. `tip` is the newest commit of what the
    /// step is one of.
    pub(crate) fn of(
        repository: &Repository,
        outcome: &Outcome,
        step: &Step,
        tip: Oid,
        reader: Reader,
    ) -> Self {
        let policy = super::authority(repository, &outcome.accepted)
            .ok()
            .map(|authority| authority.policy);
        let branch = policy
            .as_ref()
            .map_or("main", |policy| policy.branch())
            .to_owned();
        let remote = repository
            .config(&format!("branch.{branch}.remote"))
            .unwrap_or_else(|| "origin".to_owned());
        let declared = declared_emergency(repository, &step.commit).is_some();
        let deploy_ref = policy
            .as_ref()
            .filter(|policy| policy.bind_ref != BindRef::None)
            .map(|policy| format!("{} {}", policy.repository, policy.reference));
        Self {
            freeze: policy
                .as_ref()
                .map_or(Freeze::Over, |policy| Freeze::of(policy, Timestamp::now())),
            emergency: match &policy {
                None => Emergency::Unknown,
                Some(_) if declared => Emergency::No,
                Some(policy) => Emergency::of(policy, step),
            },
            commit: step.commit.to_string(),
            accepted: outcome.accepted.to_string(),
            base: base(repository, outcome.accepted, reader).to_string(),
            tip: tip.to_string(),
            position: if step.commit == tip {
                Position::Newest
            } else {
                Position::Below
            },
            on_server: if reader == Reader::Pusher && is_astray(step) {
                OnServer::No
            } else {
                OnServer::of(repository, &step.commit, &branch, &remote, reader)
            },
            start: Start::of(repository, tip, &branch, &remote, reader),
            approvals: approvals(repository, &step.commit, &remote, &branch, reader),
            branch,
            remote: quoted(&remote).into_owned(),
            others: others(repository, outcome, step, tip, reader),
            messages: messages(repository, outcome, step, tip, deploy_ref.as_deref()),
            signature: Signature::of(repository, step.commit),
            deploy_ref,
        }
    }
}
