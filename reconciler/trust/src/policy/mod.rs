//! The policy: which identities may change which paths. It is read from `trust/policy.yaml`, with the keys in
//! `trust/keys/`.

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
mod unusable;
mod validity;
mod witness;

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_api::selector::Selector;
use serde::{Deserialize, Serialize};

pub(crate) use authority::first as first_error;
pub use authority::{Authority, authority};
pub(crate) use cert_revocations::AnyKey;
pub use certificate::CertificateLoss;
pub use key_file::{KeyFile, KeyFileError};
pub(crate) use key_record::{KeyRecord, RecordedRevocations};
pub use keys::KeyRing;
use keys::verified_revocations;
pub(crate) use material::{Material, rsa_bits};
pub use pattern::{Pattern, PatternError};
pub use satisfiable::{Alone, LockedOut, NeedOrigin, Satisfiability, Unsatisfiable};
pub use spec::{BindRef, Bypass, OnStale, Seconds, SideBranches};
pub use unusable::Unusable;

/// Creates the JSON Schema of a policy's spec with this generator.
#[cfg(feature = "schema")]
pub fn schema(generator: schemars::SchemaGenerator) -> schemars::Schema {
    generator.into_root_schema_for::<spec::Spec>()
}
pub(crate) use validity::unverifiable;

use crate::key_name::KeyName;

/// Path of the policy in every repository.
pub const POLICY_PATH: &str = "trust/policy.yaml";
/// Path of the folder with the policy's keys in every repository.
pub const KEYS_PATH: &str = "trust/keys";
/// Path of the folder of the policy and its keys. A commit that changes it may change nothing else.
pub const TRUST_PATH: &str = "trust";

/// An identity's position within one policy.
pub type IdentityIndex = usize;

/// A policy that was parsed and is valid in itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Policy {
    /// Number that each change of the policy must raise.
    pub serial: u64,
    /// Name that the repository gives itself. Never changes.
    pub repository: String,
    /// Full name of the branch that the policy is for. Never changes.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The way in which a signature must name the branch.
    pub bind_ref: BindRef,
    /// All identities, ordered by name.
    pub identities: Vec<Identity>,
    /// The identities of each group.
    pub groups: BTreeMap<String, Vec<IdentityIndex>>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// The requirements for commits of merged branches.
    pub side_branches: SideBranches,
    /// Maximum time between the signatures of one step.
    pub approvals_max_age: Seconds,
    /// Maximum clock error that is tolerated.
    pub skew: Seconds,
    /// Maximum time between the date of a signature and the time at which this machine first sees it.
    pub max_age: Seconds,
    /// Minimum length in bits of an RSA key that counts.
    pub min_rsa_bits: u32,
    /// The heartbeat, if there is one.
    pub freshness: Option<Freshness>,
    /// Times during which some paths may not change.
    pub freeze: Vec<Freeze>,
    /// The rules of an emergency, if the policy allows one.
    pub emergency: Option<Emergency>,
}

/// A person or machine that counts as one, however many keys it has.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The identity's name.
    pub name: String,
    /// The identity's keys.
    pub keys: Vec<PolicyKey>,
}

/// A key of an identity.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyKey {
    /// The key's fingerprint.
    pub name: KeyName,
    /// Time from which on the key's signatures don't count any more.
    pub valid_before: Option<Timestamp>,
}

/// Paths or hosts, and the approvals that a change of them needs.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// Patterns of the paths that the rule owns.
    pub paths: Vec<Pattern>,
    /// The hosts that the rule is about, by the labels that they have before or after a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Selector>,
    /// The needs, all of which must be met.
    pub need: Vec<Need>,
}

impl Rule {
    /// True if the rule owns the path.
    pub fn owns(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.owns(path))
    }

    /// Returns the patterns or the hosts, for messages.
    pub fn title(&self) -> String {
        if let Some(hosts) = &self.hosts {
            return format!("hosts {hosts}");
        }
        self.paths
            .iter()
            .map(Pattern::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A required number of different identities of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// Name of the group.
    pub from: String,
    /// Required number of identities.
    pub count: u32,
}

/// The heartbeat that the policy requires: a signed tag that names the head.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// Pattern of the names of heartbeat tags, without `refs/tags/`.
    pub tag: Pattern,
    /// The identity that signs heartbeats. It is in no group.
    pub from: IdentityIndex,
    /// Maximum age of the latest heartbeat.
    pub max_age: Seconds,
    /// The effect of a stale heartbeat.
    pub on_stale: OnStale,
}

/// A time during which some paths or hosts may not change.
#[derive(Debug, Clone, Serialize)]
pub struct Freeze {
    /// The first moment of the freeze.
    pub from: Timestamp,
    /// The first moment after the freeze.
    pub to: Timestamp,
    /// The paths that the freeze covers.
    pub paths: Vec<Pattern>,
    /// The hosts that the freeze covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Selector>,
}

impl Freeze {
    /// True if the freeze covers the path.
    pub fn owns(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.owns(path))
    }
}

/// The rules of an emergency, which a signed `Emergency:` trailer declares.
#[derive(Debug, Clone, Serialize)]
pub struct Emergency {
    /// Needs that an emergency must meet.
    pub need: Vec<Need>,
    /// Maximum time that an emergency counts after its commit was made.
    pub ttl: Seconds,
    /// Checks that an emergency bypasses.
    pub bypasses: Vec<Bypass>,
    /// Paths that an emergency may not change, in addition to `trust/`, which it may never change.
    pub never: Vec<Pattern>,
}

impl Policy {
    /// Returns an identity's name.
    pub fn name(&self, index: IdentityIndex) -> &str {
        self.identities
            .get(index)
            .map_or("", |identity| identity.name.as_str())
    }

    /// Returns the identities of a group.
    pub fn group(&self, name: &str) -> &[IdentityIndex] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }

    /// True if the policy needs an identity: for a rule, for an emergency, or for heartbeats.
    pub(crate) fn asks_for(&self, who: IdentityIndex) -> bool {
        let rules = self.rules.iter().flat_map(|rule| &rule.need);
        let emergency = self.emergency.iter().flat_map(|emergency| &emergency.need);
        let beats = self.freshness.as_ref().is_some_and(|f| f.from == who);
        let mut needs = rules.chain(emergency);
        beats || needs.any(|need| self.group(&need.from).contains(&who))
    }

    /// True if a rule or a freeze is about hosts.
    pub(crate) fn selects_hosts(&self) -> bool {
        let rules = self.rules.iter().map(|rule| &rule.hosts);
        rules
            .chain(self.freeze.iter().map(|freeze| &freeze.hosts))
            .any(Option::is_some)
    }

    /// Returns the rules that own a path, with their positions.
    pub fn rules_for<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (usize, &'a Rule)> {
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| rule.owns(path))
    }

    /// Returns the names of the identities of a group that aren't in `have`, even of those whose keys no
    /// longer count.
    pub fn who_could(&self, from: &str, have: &[&str]) -> Vec<&str> {
        self.group(from)
            .iter()
            .map(|index| self.name(*index))
            .filter(|name| !have.contains(name))
            .collect()
    }

    /// Returns the short name of the branch: `main` for `refs/heads/main`.
    pub fn branch(&self) -> &str {
        self.reference
            .strip_prefix("refs/heads/")
            .unwrap_or(&self.reference)
    }
}
