//! The rollout of a change: one host first, then the rest, halted by failures.
//!
//! Every change of a host's desired state belongs to a rollout, whether it comes from a commit or from a new
//! version of Plumb that renders differently. Each change has its own rollout, with its own first host and its
//! own number of failures. A halted rollout blocks the hosts that its change affects and that haven't received
//! it yet, and no other hosts. A host that belongs to no rollout keeps its target.
//!
//! A transient failure counts only once a retry fails too. This includes a host that becomes unreachable after
//! its changes began. A host on which nothing was changed, because it is unreachable, busy or refuses the run,
//! says nothing about the change, so no other host waits for it.

mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use plumb_api::report::Retry;
use plumb_api::{Digest, HostName};
use serde::{Deserialize, Serialize};

use record::RolloutRecord;

/// Number of failed attempts after which a transient failure counts.
const TRIES: u32 = 2;

/// The number of a rollout. Later rollouts have higher numbers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RolloutId(u64);

impl RolloutId {
    /// Returns the next higher number.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The progress of a change through the fleet. It is persisted: neither a restart nor a newer revision by
/// itself ends a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "RolloutRecord")]
pub struct Rollout {
    id: RolloutId,
    revision: Option<String>,
    stage: Stage,
    members: Members,
    #[serde(rename = "flying")]
    in_flight: BTreeMap<HostName, Flight>,
    failed: BTreeMap<HostName, Failure>,
}

/// The stage of a rollout, which limits how many hosts may get a new target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// One host at a time, until a host has reached its new target.
    #[default]
    First,
    /// All other hosts, a limited number at a time.
    Rest,
}

/// The hosts that the change affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Members {
    /// The hosts whose backlog contains the rollout.
    Named,
    /// Every host that waited for a target when an earlier version stored the rollout.
    EveryPendingHost,
}

/// A host that hasn't reached its new target yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flight {
    digest: Digest,
    contact: FirstContact,
    #[serde(default)]
    wait: RolloutWait,
    /// Number of failed attempts.
    #[serde(default)]
    failures: u32,
}

/// The first contact with a host since it got its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum FirstContact {
    /// No change was made on it yet.
    NotYet,
    /// Its changes have begun.
    Made,
}

/// The way in which a rollout waits for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RolloutWait {
    /// Other hosts wait for it.
    #[default]
    Awaited,
    /// It is stuck for a reason of its own, so no other host waits for it.
    LeftBehind,
    /// It is unreachable or busy, and no change was made on it. Its target is withdrawn until it answers
    /// again.
    Away,
}

/// A host that failed to reach its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The digest of the target that the host failed to reach.
    pub digest: Digest,
    /// The reason, in a sentence.
    pub reason: String,
    /// The time of the failure.
    pub since: Timestamp,
}

/// The outcome of a run that should bring a host to its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOutcome {
    /// The host matches its target.
    Reached,
    /// Changes were made, and their success isn't known yet: a unit is still starting.
    UnderWay,
    /// Changes were made, and the others wait for something else on the host.
    Waits,
    /// Nothing was changed: something else is at work on the host.
    Busy,
    /// Nothing was changed: the run was refused, or failed before it could change anything.
    Refused,
    /// The host couldn't be contacted, for this reason.
    Unreachable(String),
    /// The run failed.
    Failed {
        /// The reason, in a sentence.
        reason: String,
        /// The kind of retry.
        retry: Retry,
    },
}

/// The limits of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of hosts that may be on their way to a new target at the same time.
    pub at_once: usize,
    /// Number of failed hosts that halts the rollout.
    pub failures: u32,
}

impl Rollout {
    /// Creates the rollout of a revision's change.
    pub fn new(id: RolloutId, revision: String) -> Self {
        Self {
            id,
            revision: Some(revision),
            stage: Stage::First,
            members: Members::Named,
            in_flight: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Returns the number of the rollout.
    pub fn id(&self) -> RolloutId {
        self.id
    }

    /// True if an earlier version stored the rollout. Every pending host without a rollout then belongs to it.
    pub fn takes_every_pending_host(&self) -> bool {
        self.members == Members::EveryPendingHost
    }

    /// Limits the rollout to the hosts whose backlog contains it, even if an earlier version stored it.
    pub fn name_members(&mut self) {
        self.members = Members::Named;
    }

    /// Removes hosts and failures whose digest isn't wanted any more, and hosts whose target has another
    /// digest. If a failure is removed, the rollout continues with one host at a time.
    pub fn supersede(
        &mut self,
        is_wanted: impl Fn(&HostName, Digest) -> bool,
        is_target: impl Fn(&HostName, Digest) -> bool,
    ) {
        self.in_flight.retain(|host, flight| {
            is_wanted(host, flight.digest) && is_target(host, flight.digest)
        });
        let failed = self.failed.len();
        self.failed
            .retain(|host, failure| is_wanted(host, failure.digest));
        if self.failed.len() < failed {
            self.stage = Stage::First;
        }
    }

    /// Records the outcome of a host's run towards a target. Returns true if the rollout may have changed.
    pub fn host_ended(
        &mut self,
        host: &HostName,
        digest: Digest,
        outcome: HostOutcome,
        now: Timestamp,
    ) -> bool {
        if outcome == HostOutcome::Reached {
            return self.reached(host, digest);
        }
        let Some(flight) = self.in_flight.get_mut(host).filter(|f| f.digest == digest) else {
            return false;
        };
        let (reason, tries) = match outcome {
            HostOutcome::Reached => return false,
            HostOutcome::UnderWay => {
                flight.contact = FirstContact::Made;
                flight.wait = RolloutWait::Awaited;
                return true;
            }
            HostOutcome::Waits => {
                flight.contact = FirstContact::Made;
                flight.wait = RolloutWait::LeftBehind;
                return true;
            }
            HostOutcome::Busy | HostOutcome::Unreachable(_)
                if flight.contact == FirstContact::NotYet =>
            {
                flight.wait = RolloutWait::Away;
                return true;
            }
            HostOutcome::Busy | HostOutcome::Refused => {
                flight.wait = RolloutWait::LeftBehind;
                return true;
            }
            HostOutcome::Unreachable(reason) => (reason, TRIES),
            HostOutcome::Failed { reason, retry } => match retry {
                Retry::Stalled => (reason, 1),
                Retry::Transient | Retry::Waiting => (reason, TRIES),
            },
        };
        flight.contact = FirstContact::Made;
        flight.wait = RolloutWait::Awaited;
        flight.failures = flight.failures.saturating_add(1);
        if flight.failures >= tries {
            self.in_flight.remove(host);
            let since = now;
            let failure = Failure {
                digest,
                reason,
                since,
            };
            self.failed.insert(host.clone(), failure);
        }
        true
    }

    /// Ends a halt: the failures so far no longer count, and the rollout continues with one host at a time.
    pub fn resume(&mut self) {
        self.failed.clear();
        self.stage = Stage::First;
    }

    fn reached(&mut self, host: &HostName, digest: Digest) -> bool {
        let flew = self.in_flight.get(host).is_some_and(|f| f.digest == digest);
        // The host reached the target that it had failed to reach, so the failure no longer counts.
        let failed = self.failed.get(host).is_some_and(|f| f.digest == digest);
        if flew {
            self.in_flight.remove(host);
        }
        if failed {
            self.failed.remove(host);
        }
        if flew || failed {
            self.stage = Stage::Rest;
        }
        flew || failed
    }

    /// Returns the number of hosts that may get a new target now.
    pub fn openings(&self, limits: Limits) -> usize {
        let flights = self.in_flight.values();
        let awaited = flights.filter(|f| f.wait == RolloutWait::Awaited).count();
        let most = match self.stage {
            _ if self.is_halted(limits) => 0,
            Stage::First => 1,
            Stage::Rest => limits.at_once.max(1),
        };
        most.saturating_sub(awaited)
    }

    /// Records that a host is now on its way to this target.
    pub fn assign(&mut self, host: HostName, digest: Digest) {
        let flight = Flight {
            digest,
            contact: FirstContact::NotYet,
            wait: RolloutWait::Awaited,
            failures: 0,
        };
        self.in_flight.insert(host, flight);
    }

    /// Returns the hosts whose target must be withdrawn: no change was made on them yet, and they are
    /// unreachable or busy, or the rollout is halted.
    pub fn withdrawable(&self, limits: Limits) -> impl Iterator<Item = &HostName> {
        let halted = self.is_halted(limits);
        let flights = self.in_flight.iter();
        flights
            .filter(move |(_, flight)| {
                flight.contact == FirstContact::NotYet
                    && (halted || flight.wait == RolloutWait::Away)
            })
            .map(|(host, _)| host)
    }

    /// Removes a host from the hosts on their way to a target. Returns true if it was one of them.
    pub fn withdraw(&mut self, host: &HostName) -> bool {
        self.in_flight.remove(host).is_some()
    }

    /// Removes a host from the rollout, so that no other host waits for it. Called when the host is no longer
    /// driven (suspended, released, superseded). If the host had failed, the rollout continues with one host
    /// at a time. Returns true if the rollout changed.
    pub fn leave_out(&mut self, host: &HostName) -> bool {
        let flew = self.in_flight.remove(host).is_some();
        let failed = self.failed.remove(host).is_some();
        if failed {
            self.stage = Stage::First;
        }
        flew || failed
    }

    /// True if the host is on its way to its target and no change was made on it yet.
    pub fn is_untouched(&self, host: &HostName) -> bool {
        let flight = self.in_flight.get(host);
        flight.is_some_and(|flight| flight.contact == FirstContact::NotYet)
    }

    /// Renames a host. Returns true if the rollout changed.
    pub fn rename(&mut self, old: &HostName, new: &HostName) -> bool {
        let flight = self.in_flight.remove(old);
        let failure = self.failed.remove(old);
        let known = flight.is_some() || failure.is_some();
        let new_flight = flight.map(|flight| (new.clone(), flight));
        self.in_flight.extend(new_flight);
        self.failed
            .extend(failure.map(|failure| (new.clone(), failure)));
        known
    }

    /// True if so many hosts have failed that the rollout assigns no new targets.
    pub fn is_halted(&self, limits: Limits) -> bool {
        let failed = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
        failed >= limits.failures.max(1)
    }

    /// True if no host is on its way to a target, and no host has failed.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.failed.is_empty()
    }

    /// Returns the failed hosts with their failures.
    pub fn failed(&self) -> &BTreeMap<HostName, Failure> {
        &self.failed
    }

    /// Returns the hosts that haven't reached their new target yet.
    pub fn on_their_way(&self) -> impl Iterator<Item = &HostName> {
        self.in_flight.keys()
    }

    /// Returns the revision whose change is rolled out.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }
}
