//! The result of a verification.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::key_name::KeyName;
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
    /// The verdict of the first commit that isn't accepted; accept if there is none.
    pub verdict: Verdict,
    /// The end of the longest accepted prefix: the floor if nothing new is accepted.
    pub accepted: Oid,
    /// Each commit from the floor to the head, in order.
    pub steps: Vec<Step>,
    /// Reasons that concern the whole rather than one commit, such as a stale heartbeat.
    pub reasons: Vec<Reason>,
    /// Keys that `revoke/` tags revoke.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<KeyName>,
    /// Keys of the accepted policy that `revoke/` tags name without enough signatures to revoke them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<RevocationBegun>,
    /// Keys of the accepted policy that tags revoked before
    /// ([`Inputs::revoked_before`](crate::Inputs::revoked_before)) and that the present tags don't revoke: a
    /// tag was deleted, or its signer has left. The keys stay revoked. `None` if no chain was found, because
    /// then no tag was checked. Keys that this machine's configuration revokes aren't included.
    #[serde(skip)]
    pub unbacked: Option<Vec<KeyName>>,
    /// Lower bounds that aren't on the verified chain. Their hosts are held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub off_chain: Vec<Oid>,
    /// Signed rollbacks that were accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
    /// Work that the verification took; not part of the JSON.
    #[serde(skip)]
    pub work: Work,
    /// The time at which each key of `revoked` had enough signatures against it.
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
    /// The first line of its message, without control characters. Only the first commit that isn't accepted
    /// has one, and only if the commit could be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Reasons for the verdict; empty if the commit is accepted.
    pub reasons: Vec<Reason>,
    /// Observations that don't affect the verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Reason>,
    /// The signers and approvers; of accepted commits only on request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<Signer>,
    /// The needs of its rules; of accepted commits only on request.
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

/// The carrier of a signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The commit itself.
    Commit,
    /// An approval tag, by its name.
    Tag(String),
    /// A tag that a merge embeds.
    Mergetag(String),
    /// An empty commit on the merged branch.
    EmptyCommit(Oid),
}

/// A need of a rule, and the identities that meet it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NeedMet {
    /// The rule's patterns.
    pub rule: String,
    /// The group.
    pub from: String,
    /// Identities that are needed.
    pub count: u32,
    /// Identities that have approved: the smallest number over the rule's paths.
    pub have: u32,
    /// The identities that have approved every path that the rule owns.
    pub identities: Vec<String>,
    /// Identities of the group that could still approve, because they have a key that counts.
    pub could: Vec<String>,
}

/// A revocation that doesn't have enough signatures yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevocationBegun {
    /// The key that the tags name.
    pub key: KeyName,
    /// The signers whose tags count for it.
    pub signers: Vec<Signer>,
    /// Needs that aren't met yet.
    pub missing: Vec<Missing>,
}

/// A signed rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rollback {
    /// The floor before the rollback.
    pub from: Oid,
    /// The earlier commit that the branch went back to.
    pub to: Oid,
    /// The commit that declares the rollback.
    pub commit: Oid,
}

impl Outcome {
    /// Makes an outcome that accepts nothing but the floor.
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
            work: Work::default(),
            revision: None,
        }
    }

    /// Returns the accepted revision, as the only maker of [`Verified`]. Returns `None` only if the floor
    /// itself can't be read.
    pub fn revision(&self) -> Option<Verified<Revision>> {
        self.revision.clone().map(Verified::vouch)
    }

    /// Returns the keys that `revoke/` tags revoke, each with the time at which there were enough signatures
    /// against it.
    pub fn revoked_since(&self) -> impl Iterator<Item = (&KeyName, Timestamp)> {
        self.revoked_since.iter().map(|(key, since)| (key, *since))
    }

    /// Returns the first commit that isn't accepted.
    pub fn first_held(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.verdict.is_accept())
    }

    /// True if everything up to the head is accepted, and nothing else is wrong.
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
            reasons: Vec::new(),
            notes: Vec::new(),
            signers: Vec::new(),
            needs: Vec::new(),
        }
    }
}
