//! The policy: who may change what. Read from `trust/policy.yaml`, with the keys of `trust/keys/`.

mod authority;
mod cert_revocations;
mod certificate;
pub mod codes;
mod identity_set;
mod key_file;
mod key_files;
mod key_record;
mod keys;
mod material;
mod moments;
mod names;
mod parse;
mod pattern;
mod satisfiable;
mod spec;
mod standing;
mod witness;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

pub(crate) use authority::first as first_error;
pub use authority::{Authority, authority};
pub use key_file::{KeyFile, KeyFileError};
pub(crate) use key_record::{KeyRecord, RecordedRevocations};
pub use keys::KeyRing;
use keys::verified_revocations;
pub(crate) use material::{Material, rsa_bits};
pub use pattern::{Pattern, PatternError};
pub use satisfiable::{Alone, Satisfiability, Unsatisfiable};
pub use spec::{BindRef, Bypass, OnStale, Seconds, SideBranches};

use crate::signature::KeyName;

/// Where the policy stands, always.
pub const POLICY_PATH: &str = "trust/policy.yaml";
/// Where its keys stand, always.
pub const KEYS_PATH: &str = "trust/keys";
/// The folder that only policy steps touch.
pub const TRUST_PATH: &str = "trust";

/// An identity's number within one policy.
pub type IdentityIndex = usize;

/// A policy, read and found to make sense in itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Policy {
    /// Raised with each change.
    pub serial: u64,
    /// The repository's own name, fixed at birth.
    pub repository: String,
    /// The branch that it speaks of.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What a signature must say of where it is meant.
    pub bind_ref: BindRef,
    /// Everybody who counts, in order of name.
    pub identities: Vec<Identity>,
    /// The identities of each group.
    pub groups: BTreeMap<String, Vec<IdentityIndex>>,
    /// The rules, in their order.
    pub rules: Vec<Rule>,
    /// What is asked of merged branches.
    pub side_branches: SideBranches,
    /// How far apart the signatures of one step may lie.
    pub approvals_max_age: Seconds,
    /// How wrong a clock may be.
    pub skew: Seconds,
    /// How much older than its first sight a signature may claim to be.
    pub max_age: Seconds,
    /// RSA keys with fewer bits count for nothing.
    pub min_rsa_bits: u32,
    /// The heartbeat, if there is one.
    pub freshness: Option<Freshness>,
    /// When nothing is accepted.
    pub freeze: Vec<Freeze>,
    /// What an emergency may do.
    pub emergency: Option<Emergency>,
}

/// Somebody who counts as one, however many keys they have.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Their name.
    pub name: String,
    /// Their keys.
    pub keys: Vec<PolicyKey>,
}

/// A key of an identity.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyKey {
    /// Its fingerprint.
    pub name: KeyName,
    /// Signatures of this time and later don't count.
    pub valid_before: Option<Timestamp>,
}

/// Paths, and what a change of them needs.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// The paths.
    pub paths: Vec<Pattern>,
    /// All of these must be met.
    pub need: Vec<Need>,
}

impl Rule {
    /// Whether it speaks of a path.
    pub fn owns(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.owns(path))
    }

    /// The patterns, for messages.
    pub fn title(&self) -> String {
        self.paths
            .iter()
            .map(Pattern::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// So many different identities of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The group.
    pub from: String,
    /// How many of it.
    pub count: u32,
}

/// A signed sign of life that names the head.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// The tags that are one, without `refs/tags/`.
    pub tag: Pattern,
    /// Whose they are; this identity is in no group.
    pub from: IdentityIndex,
    /// How old the last may be.
    pub max_age: Seconds,
    /// What happens then.
    pub on_stale: OnStale,
}

/// A time in which some paths don't change.
#[derive(Debug, Clone, Serialize)]
pub struct Freeze {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end; this moment is no longer in it.
    pub to: Timestamp,
    /// What it covers.
    pub paths: Vec<Pattern>,
}

/// What a commit with a signed `Emergency:` trailer may do.
#[derive(Debug, Clone, Serialize)]
pub struct Emergency {
    /// What it needs.
    pub need: Vec<Need>,
    /// For how long after it was made.
    pub ttl: Seconds,
    /// What it gets around.
    pub bypasses: Vec<Bypass>,
    /// What it never touches; `trust/` never, whatever is written.
    pub never: Vec<Pattern>,
}

impl Policy {
    /// An identity's name.
    pub fn name(&self, index: IdentityIndex) -> &str {
        self.identities
            .get(index)
            .map_or("", |identity| identity.name.as_str())
    }

    /// The identities of a group.
    pub fn group(&self, name: &str) -> &[IdentityIndex] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }

    /// The rules that speak of a path, with their numbers.
    pub fn rules_for<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (usize, &'a Rule)> {
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| rule.owns(path))
    }

    /// The names of those of a group who haven't given what is missing yet, whether or not their keys
    /// still count.
    pub fn who_could(&self, from: &str, have: &[&str]) -> Vec<&str> {
        self.group(from)
            .iter()
            .map(|index| self.name(*index))
            .filter(|name| !have.contains(name))
            .collect()
    }

    /// The short name of its branch: `main` for `refs/heads/main`.
    pub fn branch(&self) -> &str {
        self.reference
            .strip_prefix("refs/heads/")
            .unwrap_or(&self.reference)
    }
}
