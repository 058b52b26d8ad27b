//! The client's `pre-push`: what the server would say, before anything leaves.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::policy::POLICY_PATH;
use plumb_trust::{Oid, Outcome, TagRef, Verdict};

use super::judge::{Judge, View};
use super::tags::Kind;
use super::{Update, fields, lines, oid, policy};
use crate::cli::check;
use crate::git::Git;
use crate::judgement;
use crate::judgement::floor::first_parents;
use crate::judgement::place::Reader;
use crate::output::Shell;
use crate::report::{Exit, Failure};

pub(super) fn pre_push(server: Option<&String>, shell: &Shell) -> Result<Exit, Failure> {
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
        let update = Update {
            old: remote.filter(|remote| repository.objects().has(remote)),
            new: Some(local),
            name: name.to_owned(),
        };
        let place = Place {
            repository: &repository,
            git: &git,
            server: server.map(String::as_str),
        };
        judge(place, &update, local, shell)?;
    }
    Ok(Exit::OK)
}

/// From where it is pushed, and to where.
#[derive(Clone, Copy)]
struct Place<'a> {
    repository: &'a Repository,
    git: &'a Git,
    /// The remote, as git names it.
    server: Option<&'a str>,
}

/// Refuses nothing that the server takes: what merely waits goes, and waits there.
fn judge(place: Place<'_>, update: &Update, local: Oid, shell: &Shell) -> Result<(), Failure> {
    let Place {
        repository, git, ..
    } = place;
    let tags = repository.tags()?;
    let introduction = repository
        .config("plumb.introduction")
        .and_then(|text| repository.resolve(&text).ok());
    let floor = match update.old {
        Some(remote) => {
            let floor = floor(repository, git, introduction, remote, &update.name, local);
            if floor.is_none() {
                // Nothing new, or nothing that has a beginning here: the server knows what it accepted.
                return Ok(());
            }
            floor
        }
        None => None,
    };
    let known = introduction;
    let Some(introduction) = introduction.or(floor) else {
        // A first push: there is nothing yet to judge it by.
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
    if let Some(remote) = update.old.filter(|remote| floor != Some(*remote))
        && let Some(way) = left_behind(&judge, place, remote, local)
    {
        shell.say(judgement::describe(
            &way,
            repository,
            Reader::User,
            shell.err,
        ));
        return Err(not_pushed(&update.name));
    }
    let mut outcome = judge.way(floor, local);
    if floor.is_none() && judge.placed(&outcome).is_err() {
        shell.warn(format_args!(
            "nothing was judged here: git's plumb.introduction is {}, which isn't on the branch; the server has its own",
            introduction.short()
        ));
        return Ok(());
    }
    let mut refused = judge.refusal(View::Whole, &mut outcome).is_some();
    if !outcome.is_accept() {
        shell.say(judgement::describe(
            &outcome,
            repository,
            Reader::User,
            shell.err,
        ));
    }
    if !refused && let Some((_, way)) = judge.behind(View::Whole, &outcome, update)? {
        shell.say(judgement::describe(
            &way,
            repository,
            Reader::User,
            shell.err,
        ));
        refused = true;
    }
    if refused {
        return Err(not_pushed(&update.name));
    }
    // What the server took stays as good as it was, but for what a key signed that is revoked since.
    let revoked = |tag: &TagRef| matches!(Kind::of(&tag.name), Some((Kind::Revocation, _)));
    let doubt = known.zip(update.old).and_then(|(_, remote)| {
        if floor != Some(remote) {
            doubt_of_way(&judge, remote, local)
        } else if tags.iter().any(revoked) {
            doubt_of_held(&judge, remote, shell)
        } else {
            None
        }
    });
    if let Some(doubt) = doubt {
        shell.warn(doubt);
    } else if !outcome.is_accept() {
        shell.say("it is pushed all the same: the server takes what merely waits, and hosts stay as they are until then");
    }
    Ok(())
}

fn not_pushed(reference: &str) -> Failure {
    Failure::new(format!("{reference} isn't pushed")).hint(
        "git push --no-verify pushes all the same; the server and the controller judge it anyway",
    )
}

/// What comes of a push that leaves what the server has accepted for certain: by the approvals that are there,
/// which it is asked for.
fn left_behind(judge: &Judge<'_>, place: Place<'_>, remote: Oid, local: Oid) -> Option<Outcome> {
    doubt_of_way(judge, remote, local)?;
    let listed = place
        .git
        .ask(&[
            "ls-remote",
            "--refs",
            "--",
            place.server?,
            "refs/tags/approve/*",
        ])
        .ok()?;
    let there: BTreeSet<(&str, Oid)> = listed
        .lines()
        .filter_map(|line| {
            let (id, name) = line.split_once('\t')?;
            Some((name, id.parse().ok()?))
        })
        .collect();
    let tags: Vec<TagRef> = judge
        .tags
        .iter()
        .filter(|tag| !is_approval(tag) || there.contains(&(tag.name.as_str(), tag.target)))
        .cloned()
        .collect();
    let judge = Judge {
        tags: &tags,
        ..*judge
    };
    let way = judge.way(None, remote);
    judge.placed(&way).ok()?;
    doubt_of_way(&judge, remote, local)?;
    let left = judge.way(Some(way.accepted), local);
    (left.verdict == Verdict::Reject).then_some(left)
}

fn is_approval(tag: &TagRef) -> bool {
    matches!(Kind::of(&tag.name), Some((Kind::Approval, _)))
}

/// Why the server may refuse what builds on its tip: something below isn't taken any more, such as what a key
/// signed that is revoked by now. An approval that isn't here may cover it, so the client doesn't refuse it.
fn doubt_of_held(judge: &Judge<'_>, remote: Oid, shell: &Shell) -> Option<String> {
    let mut way = judge.way(None, remote);
    judge.placed(&way).ok()?;
    judge.refusal(View::Whole, &mut way)?;
    let held = way.first_held()?.commit.short();
    shell.say(judgement::describe(
        &way,
        judge.repository,
        Reader::User,
        shell.err,
    ));
    Some(format!(
        "the server has {held}, which nobody stands behind as far as is known here: then it refuses what builds on it, until the branch is set back"
    ))
}

/// Why the server may refuse what leaves its branch: what is accepted there stays on it. Which approvals
/// the server has isn't known here for certain, so the client doesn't refuse it.
fn doubt_of_way(judge: &Judge<'_>, remote: Oid, local: Oid) -> Option<String> {
    let way = judge.way(None, remote);
    judge.placed(&way).ok()?;
    let accepted = way.accepted;
    let mut chain = first_parents(judge.repository.objects(), local);
    if chain.any(|id| id == accepted) {
        return None;
    }
    Some(format!(
        "first parents of {} don't lead to {}: if that is accepted on the server, as it is here, the server refuses this; a merge of the branch belongs on top of it, not the other way around",
        local.short(),
        accepted.short()
    ))
}

/// From where a push is judged: the server's tip where the push builds on it, or where that is accepted
/// without a doubt. Anything else on the server may be dropped, so what is new is judged from where it
/// leaves the server's branch.
fn floor(
    repository: &Repository,
    git: &Git,
    introduction: Option<Oid>,
    remote: Oid,
    reference: &str,
    local: Oid,
) -> Option<Oid> {
    let fork = fork(repository, git, remote, local);
    if fork == Some(remote) {
        return fork;
    }
    // An approval that lies here may not be on the server yet.
    let tags: Vec<TagRef> = repository.tags().ok()?;
    let tags: Vec<TagRef> = tags.into_iter().filter(|tag| !is_approval(tag)).collect();
    let accepted = introduction.is_some_and(|introduction| {
        let judge = Judge {
            repository,
            reference,
            now: Timestamp::now(),
            introduction,
            tags: &tags,
            tombstones: &BTreeSet::new(),
        };
        judge.way(None, remote).is_accept()
    });
    if accepted { Some(remote) } else { fork }
}

/// The last commit of what is pushed, along first parents, that the server has; none where all is there.
fn fork(repository: &Repository, git: &Git, remote: Oid, local: Oid) -> Option<Oid> {
    let new = git.try_ask(&[
        "rev-list",
        "--first-parent",
        &local.to_string(),
        &format!("^{remote}"),
    ])?;
    let oldest = new.lines().last()?;
    repository.resolve(&format!("{oldest}^")).ok()
}
