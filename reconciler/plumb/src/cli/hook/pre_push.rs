//! The client's `pre-push`: runs `check` and `verify` before anything leaves.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::policy::POLICY_PATH;
use plumb_trust::{Oid, TagRef};

use super::input::{RefUpdate, fields, lines, oid, policy};
use super::judge::{Judge, PushView};
use super::tags::TagKind;
use crate::cli::check;
use crate::git::Git;
use crate::output::Shell;
use crate::report::{Exit, Failure};
use crate::verdict;
use crate::verdict::history::first_parents;

pub(super) fn pre_push(shell: &Shell) -> Result<Exit, Failure> {
    let repository = Repository::open(Path::new("."))?;
    let git = Git::at(Path::new("."));
    for line in lines()? {
        let [_, local, name, remote] = fields(&line)?;
        let (Some(local), remote) = (oid(local)?, oid(remote)?) else {
            continue;
        };
        let Some(policy) = policy(&git, &format!("{local}:{POLICY_PATH}")) else {
            continue;
        };
        if policy.reference != name {
            continue;
        }
        check::commit(&repository, &local, shell)?;
        let update = RefUpdate {
            old: remote.filter(|remote| repository.objects().has(remote)),
            new: Some(local),
            name: name.to_owned(),
        };
        verify(&repository, &update, local, shell)?;
    }
    Ok(Exit::OK)
}

/// Verifies a push as the server does. Never rejects a commit that the server would accept.
fn verify(
    repository: &Repository,
    update: &RefUpdate,
    local: Oid,
    shell: &Shell,
) -> Result<(), Failure> {
    let tags = repository.tags()?;
    let named = repository
        .config("plumb.introduction")
        .and_then(|text| repository.resolve(&text).ok());
    let fork = update
        .old
        .and_then(|remote| fork(repository, remote, local));
    let Some(introduction) = named.or(fork) else {
        // On the first push of a clone without an introduction, there is no policy to verify against.
        return Ok(());
    };
    let judge = Judge {
        repository,
        reference: &update.name,
        now: Timestamp::now(),
        introduction,
        tags: &tags,
        tombstones: &BTreeSet::new(),
    };
    let floor = match (named, update.old) {
        (Some(_), Some(remote)) if fork != Some(remote) => {
            left_behind(&judge, remote, local).or(fork)
        }
        _ => fork,
    };
    let mut outcome = judge.outcome_of(floor, local);
    if floor.is_none() && judge.check_introduction(&outcome).is_err() {
        shell.warn(format_args!(
            "nothing was judged here: git's plumb.introduction is {}, which isn't on the branch; the server has its own",
            introduction.short()
        ));
        return Ok(());
    }
    let mut refused = judge.refusal(PushView::Whole, &mut outcome).is_some();
    if !outcome.is_accept() {
        shell.say(verdict::describe(&outcome, repository, shell.err));
    }
    if !refused
        && let Some((_, behind)) = judge.refused_behind(PushView::Whole, &outcome, update)?
    {
        shell.say(verdict::describe(&behind, repository, shell.err));
        refused = true;
    }
    if refused {
        return Err(Failure::new(format!("{} isn't pushed", update.name)).hint(
            "to push anyway, run `git push --no-verify`: the server and the controller judge it again",
        ));
    }
    judge.check_bounds(&outcome, update)?;
    if !outcome.is_accept() {
        shell.say("pushing anyway: the server judges again and takes commits that only wait; hosts change once the commits are accepted");
    }
    Ok(())
}

/// Returns the newest commit on the first-parent chain of `local` that the server's branch has too.
fn fork(repository: &Repository, remote: Oid, local: Oid) -> Option<Oid> {
    let objects = repository.objects();
    let there: HashSet<Oid> = first_parents(objects, remote).collect();
    first_parents(objects, local).find(|id| there.contains(id))
}

/// Returns the newest commit that the server has certainly accepted, if `local` isn't built on it. Ignores
/// the approvals in this clone, because they may not be on the server yet.
fn left_behind(judge: &Judge<'_>, remote: Oid, local: Oid) -> Option<Oid> {
    let is_approval = |tag: &TagRef| matches!(TagKind::of(&tag.name), Some((TagKind::Approval, _)));
    let tags: Vec<TagRef> = judge
        .tags
        .iter()
        .filter(|tag| !is_approval(tag))
        .cloned()
        .collect();
    let judge = Judge {
        tags: &tags,
        ..*judge
    };
    let server = judge.outcome_of(None, remote);
    judge.check_introduction(&server).ok()?;
    let mut chain = first_parents(judge.repository.objects(), local);
    (!chain.any(|id| id == server.accepted)).then_some(server.accepted)
}
