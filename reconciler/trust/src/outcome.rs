//! What a verification found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::oid::Oid;
use crate::reason::{Missing, Reason};
use crate::signature::KeyName;
use crate::verdict::Verdict;
use crate::verified::{Revision, Verified};
use crate::work::Work;

/// What a verification found. Serialises to the JSON of `plumb verify -o json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Outcome {
    /// That of the first commit that isn't accepted; accept if there is none.
    pub verdict: Verdict,
    /// The end of the longest accepted prefix: the floor if nothing new is accepted.
    pub accepted: Oid,
    /// Each commit from the floor to the head, in order.
    pub steps: Vec<Step>,
    /// What concerns the whole rather than one commit, such as a stale heartbeat.
    pub reasons: Vec<Reason>,
    /// Keys that `revoke/` tags take authority away from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<KeyName>,
    /// Keys of the accepted policy that `revoke/` tags name and take nothing from, as they aren't enough yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<RevocationBegun>,
    /// Keys of the accepted policy that tags took authority away from before
    /// ([`Inputs::revoked_before`](crate::Inputs::revoked_before)) and take it from no more: one was
    /// deleted, or who signed it has left. They stay revoked. Nothing if no way was found, as then no tag
    /// was looked at; those that this machine's configuration takes away aren't among them.
    #[serde(skip)]
    pub unbacked: Option<Vec<KeyName>>,
    /// Lower bounds that aren't on the verified chain: those hosts are held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub off_chain: Vec<Oid>,
    /// Signed rollbacks that were accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
    /// Work that it took; not part of the JSON.
    #[serde(skip)]
    pub work: Work,
    /// Since when enough people say so, of each of those.
    #[serde(skip)]
    pub(crate) revoked_since: BTreeMap<KeyName, Timestamp>,
    #[serde(skip)]
    pub(crate) revision: Option<Revision>,
}

/// One commit and what became of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Step {
    /// The commit.
    pub commit: Oid,
    /// What became of it.
    pub verdict: Verdict,
    /// The first line of its message, without control characters; only of the first commit that isn't
    /// accepted, if it could be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Why; empty if it is accepted.
    pub reasons: Vec<Reason>,
    /// What was noticed and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Reason>,
    /// Who signed or approved it; of accepted commits only if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<Signer>,
    /// What its rules needed; of accepted commits only if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NeedMet>,
}

/// A signature that counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Signer {
    /// Whose it is.
    pub identity: String,
    /// By which key.
    pub key: KeyName,
    /// When it was made, as it says.
    pub time: jiff::Timestamp,
    /// What carried it.
    pub by: By,
}

/// What carried a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The commit itself.
    Commit,
    /// An approval tag of this name.
    Tag(String),
    /// A tag that a merge embeds.
    Mergetag(String),
    /// An empty commit on the merged branch.
    EmptyCommit(Oid),
}

/// A need of a rule, and whether it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NeedMet {
    /// The rule's patterns.
    pub rule: String,
    /// The group.
    pub from: String,
    /// How many of it are needed.
    pub count: u32,
    /// How many are there.
    pub have: u32,
    /// Who they are: those who cover every path that the rule owns.
    pub identities: Vec<String>,
    /// Who could give what is missing: those of the group whose key still counts.
    pub could: Vec<String>,
}

/// A revocation that isn't enough yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevocationBegun {
    /// The key that it names.
    pub key: KeyName,
    /// Whose tags count for it.
    pub signers: Vec<Signer>,
    /// What it needs besides.
    pub missing: Vec<Missing>,
}

/// A signed rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rollback {
    /// The floor that was left.
    pub from: Oid,
    /// The earlier commit that it went back to.
    pub to: Oid,
    /// The commit that says so.
    pub commit: Oid,
}

impl Outcome {
    /// Nothing is accepted but the floor.
    pub(crate) const fn at(floor: Oid) -> Self {
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
            work: Work::NONE,
            revision: None,
        }
    }

    /// The accepted revision: the only maker of [`Verified`]. There is none only if the floor itself
    /// can't be read.
    pub fn revision(&self) -> Option<Verified<Revision>> {
        self.revision.clone().map(Verified::vouch)
    }

    /// The keys that `revoke/` tags take authority away from, each with the time since which enough
    /// people say so.
    pub fn revoked_since(&self) -> impl Iterator<Item = (&KeyName, Timestamp)> {
        self.revoked_since.iter().map(|(key, since)| (key, *since))
    }

    /// The first commit that isn't accepted.
    pub fn first_held(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.verdict.is_accept())
    }

    /// Whether everything up to the head is accepted, and nothing else is wrong.
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
