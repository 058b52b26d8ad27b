//! Whose the commits are that wait together with one: a rebase, or an amended commit, puts the user's
//! signature on them.

use jiff::Timestamp;
use plumb_adapters::git::{Newer, Repository};
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::{Authority, KeyFile};
use plumb_trust::{
    KeyName, ObjectKind, Objects as _, Oid, Outcome, Reason, ReasonCode, Step, Verdict, named_key,
};

use super::describe::is_shown;
use super::floor::first_parents;
use super::place::Reader;
use super::{FloorOf, Range};
use crate::git::Git;

/// Commits that wait together with one, and that a rebase from there on would sign anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Others {
    /// What waits besides isn't known here.
    Unknown,
    /// These aren't the reader's, or must be looked at before anybody signs them: each with the reason.
    These(Vec<String>),
}

/// How many commits that wait are looked at one by one.
const LOOKED_AT: usize = 64;

/// The commits after what is accepted that aren't the reader's own, or that nobody should sign unseen. Whose
/// one is, is what its committer's address says, which anybody can write, *and* who signed it, if somebody did.
/// Of a pusher nothing is known, but that the newest commit is likely to be theirs. What can't be told counts
/// as another's.
pub(super) fn others(
    repository: &Repository,
    outcome: &Outcome,
    step: &Step,
    tip: Oid,
    reader: Reader,
) -> Others {
    let git = Git::at(repository.git_dir());
    let commits = if is_astray(step) {
        beside(&git, outcome.accepted, tip)
    } else {
        repository.newer(outcome.accepted, tip)
    };
    let Some(commits) = commits else {
        return Others::These(vec!["others, which can't be listed here".to_owned()]);
    };
    let newest = || commits.last().map(|newest| newest.committer.clone());
    let user = match reader {
        Reader::User => git.try_ask(&["config", "user.email"]).or_else(newest),
        Reader::Pusher => newest(),
    }
    .unwrap_or_default();
    let signs = match reader {
        Reader::User => Signs::of(&git),
        Reader::Pusher => Signs::default(),
    };
    let authority = super::authority(repository, &outcome.accepted).ok();
    let signer = Signer {
        repository,
        authority: authority.as_ref(),
        me: authority.as_ref().and_then(|authority| {
            signs
                .identity(authority)
                .or_else(|| identity_of(repository, authority, tip))
        }),
        signs: &signs,
    };
    let these = commits.iter().enumerate().filter_map(|(at, newer)| {
        let short = newer.commit.short();
        if !newer.committer.eq_ignore_ascii_case(&user) {
            return Some(format!("{short} by {}", newer.committer));
        }
        if let Some(who) = signer.another(newer.commit) {
            return Some(format!("{short} {who}"));
        }
        if newer.commit == step.commit {
            return None;
        }
        // Whoever has somebody's key has their address too.
        if at >= LOOKED_AT {
            return Some(format!("{short}, which wasn't looked at"));
        }
        suspicious(repository, newer.commit).map(|why| format!("{short} {why}"))
    });
    Others::These(these.collect())
}

/// Whether a commit isn't on a way from what is accepted.
pub(super) fn is_astray(step: &Step) -> bool {
    let astray = |reason: &Reason| reason.code == ReasonCode::NotDescendant;
    step.reasons.iter().any(astray)
}

/// The commits that a rebase onto what is accepted takes along, where that isn't on the way to the newest of
/// them; oldest first. Merges aren't made anew.
fn beside(git: &Git, accepted: Oid, tip: Oid) -> Option<Vec<Newer>> {
    let range = format!("{accepted}..{tip}");
    let listed = git.ask(&[
        "-c",
        "log.showSignature=false",
        "log",
        "--reverse",
        "--no-merges",
        "--format=%H %ce",
        &range,
        "--",
    ]);
    let commit = |line: &str| {
        let (commit, committer) = line.split_once(' ')?;
        Some(Newer {
            commit: commit.parse().ok()?,
            committer: committer.chars().filter(|c| is_shown(*c)).collect(),
        })
    };
    listed.ok()?.lines().map(commit).collect()
}

/// The key that the user's git signs with, as far as it can be told without asking gpg.
#[derive(Default)]
struct Signs {
    ssh: Option<KeyName>,
    /// Digits that the fingerprint of an OpenPGP key ends with.
    openpgp: Option<String>,
}

/// Fewer digits than these are no key's.
const LEAST_DIGITS: usize = 8;

impl Signs {
    fn of(git: &Git) -> Self {
        let Some(key) = git.try_ask(&["config", "--type=path", "user.signingkey"]) else {
            return Self::default();
        };
        let text = key.strip_prefix("key::").unwrap_or(&key);
        let name = |bytes: Vec<u8>| KeyFile::parse(&bytes).ok().map(|file| file.name());
        let beside = || std::fs::read(format!("{text}.pub")).ok();
        let ssh = name(text.as_bytes().to_vec())
            .or_else(|| beside().and_then(name))
            .or_else(|| std::fs::read(text).ok().and_then(name));
        let digits = text.trim_start_matches("0x").trim_end_matches('!');
        let is_id = digits.len() >= LEAST_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
        Self {
            ssh,
            openpgp: is_id.then(|| digits.to_ascii_uppercase()),
        }
    }

    fn with(&self, key: &KeyName) -> bool {
        match (key, &self.openpgp) {
            (KeyName::Ssh(_), _) => self.ssh.as_ref() == Some(key),
            (KeyName::OpenPgp(fingerprint), Some(digits)) => fingerprint.ends_with(digits),
            (KeyName::OpenPgp(_), None) => false,
        }
    }

    /// Whose of a policy it is.
    fn identity(&self, authority: &Authority) -> Option<String> {
        let identities = &authority.policy.identities;
        let has =
            |keys: &[plumb_trust::policy::PolicyKey]| keys.iter().any(|key| self.with(&key.name));
        let found = identities.iter().find(|identity| has(&identity.keys))?;
        Some(found.name.clone())
    }
}

/// Whose signature the reader's isn't.
struct Signer<'a> {
    repository: &'a Repository,
    authority: Option<&'a Authority>,
    /// The reader, as an identity of the policy.
    me: Option<String>,
    signs: &'a Signs,
}

impl Signer<'_> {
    /// Who else signed a commit, in words; none if nobody did or the reader.
    fn another(&self, commit: Oid) -> Option<String> {
        let raw = self
            .repository
            .objects()
            .read(&commit, ObjectKind::Commit, limits::COMMIT)
            .ok()?;
        let parsed = Commit::parse(&raw, commit.format()).ok()?;
        let named = parsed.signature.as_deref().and_then(named_key)?;
        if self.signs.with(&named) {
            return None;
        }
        match self.authority?.signer_of_commit(&raw, commit.format()) {
            Ok((identity, _)) => self
                .me
                .as_ref()
                .filter(|me| **me != identity.name)
                .map(|_| format!("signed by {}", identity.name)),
            Err(reason) if reason.code == ReasonCode::UnknownKey => {
                Some("signed by a key that the policy doesn't have".to_owned())
            }
            Err(_) => None,
        }
    }
}

/// Who signed a commit.
fn identity_of(repository: &Repository, authority: &Authority, commit: Oid) -> Option<String> {
    let raw = repository
        .objects()
        .read(&commit, ObjectKind::Commit, limits::COMMIT)
        .ok()?;
    let (identity, _) = authority.signer_of_commit(&raw, commit.format()).ok()?;
    Some(identity.name.clone())
}

/// Why nobody should sign a commit that waits without a look at it.
fn suspicious(repository: &Repository, commit: Oid) -> Option<&'static str> {
    let Some(parent) = first_parents(repository.objects(), commit).nth(1) else {
        return Some("that can't be judged here");
    };
    let tags = repository.tags().ok()?;
    let range = Range {
        floor: parent,
        floor_of: FloorOf::Accepted,
        head: commit,
        tags: &tags,
        now: Timestamp::now(),
    };
    let outcome = super::judge(repository, &range);
    let step = outcome.steps.first()?;
    let mut said = step.reasons.iter().chain(&step.notes);
    if said.any(|reason| reason.code == ReasonCode::KeyRevoked) {
        return Some("by a revoked key");
    }
    (step.verdict == Verdict::Reject).then_some("that can never be accepted")
}
