//! The result of a verification.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::evaluate::timestamp;
use crate::key_name::KeyName;
use crate::object::Commit;
use crate::oid::Oid;
use crate::reason::{Missing, Reason};
use crate::verdict::Verdict;
use crate::verified::{Revision, Verified};
use crate::work::Work;

/// The result of a verification. Serialises to the JSON of `plumb verify -o json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Outcome {
    /// Verdict of the first commit that isn't accepted, or of the whole chain if it fails otherwise (the
    /// floor can't be read, or a stale heartbeat blocks the chain); accept if nothing fails.
    pub verdict: Verdict,
    /// Last commit that is accepted together with all commits before it; the floor if no newer commit is.
    pub accepted: Oid,
    /// Every commit after the floor up to the head, oldest first.
    pub steps: Vec<Step>,
    /// Reasons about the whole chain rather than one commit, such as a stale heartbeat.
    pub reasons: Vec<Reason>,
    /// Keys that `revoke/` tags revoke.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<KeyName>,
    /// Keys of the last accepted policy with `revoke/` tags that don't have enough signatures yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<RevocationBegun>,
    /// Keys of the last accepted policy that tags revoked in the past
    /// ([`Inputs::revoked_before`](crate::Inputs::revoked_before)) and that the present tags don't revoke,
    /// because a tag was deleted or its signer has left the policy. The keys stay revoked. Doesn't include
    /// keys that this machine's configuration revokes. `None` if no tag was checked, because no chain from
    /// the floor to the head was found.
    #[serde(skip)]
    pub unbacked: Option<Vec<KeyName>>,
    /// Commits of [`Inputs::lower_bounds`](crate::Inputs::lower_bounds) that aren't on the accepted chain.
    /// Hosts that have run one of them are held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub off_chain: Vec<Oid>,
    /// Signed rollbacks that were accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
    /// Signed requests of accepted commits to resume halted rollouts, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resumes: Vec<Resume>,
    /// Counts of the verification's work; not part of the JSON.
    #[serde(skip)]
    pub work: Work,
    /// Time since which each key of `revoked` has had enough signatures on `revoke/` tags.
    #[serde(skip)]
    pub(crate) revoked_since: BTreeMap<KeyName, Timestamp>,
    #[serde(skip)]
    pub(crate) revision: Option<Revision>,
}

/// One commit and its verdict.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Step {
    /// The commit.
    pub commit: Oid,
    /// The commit's verdict.
    pub verdict: Verdict,
    /// The first line of the commit's message, without invisible characters. Empty if the commit couldn't be
    /// read, and for accepted commits whose details [`Inputs::detail`](crate::Inputs::detail) doesn't
    /// request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The author's name, as the commit claims. Set whenever `subject` is. Not part of the JSON.
    #[serde(skip)]
    pub author: String,
    /// The commit time, as the commit claims. Set whenever `subject` is. Not part of the JSON.
    #[serde(skip)]
    pub committed: Option<jiff::Timestamp>,
    /// Reasons for the verdict; empty if the commit is accepted.
    pub reasons: Vec<Reason>,
    /// Remarks that don't affect the verdict, such as ignored approvals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Reason>,
    /// Signatures that counted. For accepted commits, only if [`Inputs::detail`](crate::Inputs::detail)
    /// requests them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<Signer>,
    /// Needs of the rules that own the changed paths. For accepted commits, only if
    /// [`Inputs::detail`](crate::Inputs::detail) requests them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NeedMet>,
}

/// A signature that counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Signer {
    /// The identity that signed.
    pub identity: String,
    /// The key that signed.
    pub key: KeyName,
    /// The time that the signature claims.
    pub time: jiff::Timestamp,
    /// The object that carried the signature.
    pub by: By,
}

/// The object that carries a signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The commit itself.
    Commit,
    /// The approval tag with this name.
    Tag(String),
    /// A tag with this name, embedded in a merge commit.
    Mergetag(String),
    /// This empty commit, on the merged branch.
    EmptyCommit(Oid),
}

/// A need of a rule or of an emergency, and the identities that have approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NeedMet {
    /// Patterns of the rule, or `emergency`.
    pub rule: String,
    /// Name of the group.
    pub from: String,
    /// Number of identities of the group that must approve.
    pub count: u32,
    /// Number of identities that have approved. If it differs between the changed paths of a rule, the
    /// smallest.
    pub have: u32,
    /// Identities that have approved every changed path of the rule.
    pub identities: Vec<String>,
    /// Other identities of the group that have a usable key and could still approve. Empty if the need is
    /// met.
    pub could: Vec<String>,
}

/// A key with `revoke/` tags that don't have enough signatures yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevocationBegun {
    /// The key that the tags name.
    pub key: KeyName,
    /// Signers of the tags that count.
    pub signers: Vec<Signer>,
    /// Needs of a change of `trust/`, which the tags don't meet yet.
    pub missing: Vec<Missing>,
}

/// A rollback: the branch went back to an earlier commit, as a signed commit declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rollback {
    /// The floor before the rollback.
    pub from: Oid,
    /// The earlier commit that the branch went back to.
    pub to: Oid,
    /// The commit that declares the rollback.
    pub commit: Oid,
}

/// A request to resume a halted rollout, as the trailer `Rollout-Resume:` of a signed commit declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resume {
    /// The revision whose rollout resumes, as the trailer names it.
    pub rollout: String,
    /// The commit with the trailer.
    pub commit: Oid,
}

impl Outcome {
    /// Makes an outcome that accepts nothing after the floor, for a verification to fill in.
    pub(crate) fn at(floor: Oid) -> Self {
        Self {
            verdict: Verdict::Reject,
            accepted: floor,
            steps: Vec::new(),
            reasons: Vec::new(),
            revoked: Vec::new(),
            revoked_since: BTreeMap::new(),
            begun: Vec::new(),
            unbacked: None,
            off_chain: Vec::new(),
            rollbacks: Vec::new(),
            resumes: Vec::new(),
            work: Work::default(),
            revision: None,
        }
    }

    /// Returns the last accepted revision, or `None` if the floor itself can't be read. No other function
    /// makes a [`Verified`].
    pub fn revision(&self) -> Option<Verified<Revision>> {
        self.revision.clone().map(Verified::vouch)
    }

    /// Returns the keys that `revoke/` tags revoke, each with the time since which the tags have had enough
    /// signatures.
    pub fn revoked_since(&self) -> impl Iterator<Item = (&KeyName, Timestamp)> {
        self.revoked_since.iter().map(|(key, since)| (key, *since))
    }

    /// Returns the first commit that isn't accepted.
    pub fn first_held(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.verdict.is_accept())
    }

    /// True if every commit up to the head is accepted and no stale heartbeat blocks the chain. There may
    /// still be `reasons` that block nothing, such as an alarm about a revoked key.
    pub const fn is_accept(&self) -> bool {
        self.verdict.is_accept()
    }
}

impl Step {
    pub(crate) fn new(commit: Oid, verdict: Verdict) -> Self {
        Self {
            commit,
            verdict,
            subject: String::new(),
            author: String::new(),
            committed: None,
            reasons: Vec::new(),
            notes: Vec::new(),
            signers: Vec::new(),
            needs: Vec::new(),
        }
    }

    /// Sets the subject, the author and the commit time.
    pub(crate) fn set_header(&mut self, commit: &Commit<'_>) {
        self.subject = commit.subject();
        self.author = commit.author_name();
        self.committed = Some(timestamp(commit.committer.seconds));
    }
}
