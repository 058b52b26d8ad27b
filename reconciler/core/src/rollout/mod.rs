//! The rollout of a change: one host first, then the rest, halted by a failure.
//!
//! Every change of a host's desired state is part of a rollout, whether it comes from a commit or from a
//! version of Plumb that renders differently. A host without a part in it keeps its target.
//! *Lost means failed*: a host that was contacted and then can't be reached halts the rollout. A host that
//! couldn't be reached from the start is left out and catches up later.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_api::{Digest, HostName};
use serde::{Deserialize, Serialize};

/// The progress of a change through the fleet. It is persisted: neither a restart nor a newer revision by
/// itself ends a halt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    revision: Option<String>,
    goal: Option<Digest>,
    first: Option<HostName>,
    stage: Stage,
    #[serde(rename = "flying")]
    in_flight: BTreeMap<HostName, Flight>,
    #[serde(rename = "away")]
    unreachable: BTreeMap<HostName, Digest>,
    failed: BTreeMap<HostName, Failure>,
}

/// The hosts that may get a new target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// One host alone.
    #[default]
    First,
    /// The rest, a limited number at a time.
    Rest,
}

/// A host that hasn't reached its new target yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    digest: Digest,
    contact: FirstContact,
}

/// The contact with a host since it got its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum FirstContact {
    NotYet,
    Made,
}

/// A host that failed to reach its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The target that it failed to reach.
    pub digest: Digest,
    /// The reason, in a sentence.
    pub reason: String,
    /// The time of the failure.
    pub since: Timestamp,
    /// The stage; `Stage::First` if it was the first host.
    pub stage: Stage,
}

/// A host that may get a new target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The host.
    pub host: HostName,
    /// The digest of its desired state in the newest accepted revision.
    pub wants: Digest,
    /// The digest of its present target.
    pub target: Option<Digest>,
}

/// The outcome of a run that should bring a host to its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOutcome {
    /// It is as its target says.
    Reached,
    /// It hasn't reached its target yet, and nothing has failed.
    UnderWay,
    /// It couldn't be contacted.
    Unreachable(String),
    /// The run failed.
    Failed(String),
}

/// The limits of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The number of hosts that may have an unreached target at the same time.
    pub at_once: usize,
    /// The number of failed hosts that halts the rollout.
    pub failures: u32,
}

impl Rollout {
    /// Points the rollout at a revision. A host's failure is dropped only if its desired state changed.
    pub fn lead_to(&mut self, revision: &str, wants: &BTreeMap<HostName, Digest>) {
        let goal = Digest::merkle(
            "rollout",
            wants.iter().map(|(host, digest)| (host.as_str(), *digest)),
        );
        if self.goal == Some(goal) {
            self.revision = Some(revision.to_owned());
            return;
        }
        let still = |host: &HostName, digest: &Digest| wants.get(host) == Some(digest);
        self.failed
            .retain(|host, failure| still(host, &failure.digest));
        self.in_flight
            .retain(|host, flight| still(host, &flight.digest));
        self.unreachable.retain(|host, digest| still(host, digest));
        self.revision = Some(revision.to_owned());
        self.goal = Some(goal);
        self.first = None;
        self.stage = Stage::First;
    }

    /// Records the outcome of a host's run towards a target. Returns true if the rollout may have changed.
    pub fn host_ended(
        &mut self,
        host: &HostName,
        digest: Digest,
        outcome: HostOutcome,
        now: Timestamp,
    ) -> bool {
        if !self.names(host) {
            return false;
        }
        match outcome {
            HostOutcome::Reached => {
                self.in_flight
                    .retain(|h, flight| h != host || flight.digest != digest);
                self.unreachable.retain(|h, d| h != host || *d != digest);
                // The host reached the target that it had failed to reach, so the failure no longer counts.
                self.failed
                    .retain(|h, failure| h != host || failure.digest != digest);
                if self.first.as_ref() == Some(host) {
                    self.stage = Stage::Rest;
                }
            }
            HostOutcome::UnderWay => {
                if self.unreachable.get(host) == Some(&digest) {
                    self.unreachable.remove(host);
                    self.in_flight.insert(
                        host.clone(),
                        Flight {
                            digest,
                            contact: FirstContact::Made,
                        },
                    );
                } else if let Some(flight) = self.in_flight.get_mut(host) {
                    flight.contact = FirstContact::Made;
                }
            }
            HostOutcome::Unreachable(reason) => {
                let Some(flight) = self.in_flight.get(host).filter(|f| f.digest == digest) else {
                    return false;
                };
                if flight.contact == FirstContact::Made {
                    self.fail(host, digest, reason, now);
                } else {
                    self.in_flight.remove(host);
                    self.unreachable.insert(host.clone(), digest);
                    if self.first.as_ref() == Some(host) {
                        self.first = None;
                    }
                }
            }
            HostOutcome::Failed(reason) => {
                let here = self.in_flight.get(host).is_some_and(|f| f.digest == digest);
                if here || self.unreachable.get(host) == Some(&digest) {
                    self.fail(host, digest, reason, now);
                }
            }
        }
        true
    }

    /// True if the rollout knows the host.
    fn names(&self, host: &HostName) -> bool {
        self.in_flight.contains_key(host)
            || self.unreachable.contains_key(host)
            || self.failed.contains_key(host)
            || self.first.as_ref() == Some(host)
    }

    fn fail(&mut self, host: &HostName, digest: Digest, reason: String, now: Timestamp) {
        self.in_flight.remove(host);
        self.unreachable.remove(host);
        let stage = if self.first.as_ref() == Some(host) && self.stage == Stage::First {
            Stage::First
        } else {
            Stage::Rest
        };
        self.failed.insert(
            host.clone(),
            Failure {
                digest,
                reason,
                since: now,
                stage,
            },
        );
    }

    /// Chooses the hosts that get their new target now. `candidates` are the hosts that can be reached and
    /// may change, by name.
    pub fn assign(&mut self, candidates: &[Candidate], limits: Limits) -> Vec<HostName> {
        if self.is_halted(limits) {
            return Vec::new();
        }
        let mut affected = candidates
            .iter()
            .filter(|candidate| candidate.target != Some(candidate.wants));
        let assigned: Vec<&Candidate> = match self.stage {
            Stage::First => {
                let waiting = self
                    .first
                    .as_ref()
                    .is_some_and(|first| self.in_flight.contains_key(first));
                if waiting {
                    return Vec::new();
                }
                affected.next().into_iter().collect()
            }
            Stage::Rest => {
                let free = limits.at_once.max(1).saturating_sub(self.in_flight.len());
                affected.take(free).collect()
            }
        };
        if self.stage == Stage::First {
            self.first = assigned.first().map(|candidate| candidate.host.clone());
        }
        for candidate in &assigned {
            self.in_flight.insert(
                candidate.host.clone(),
                Flight {
                    digest: candidate.wants,
                    contact: FirstContact::NotYet,
                },
            );
        }
        if assigned.is_empty() && self.in_flight.is_empty() {
            // All reachable hosts have their target. A host that comes back later starts with one host first
            // again.
            self.stage = Stage::First;
        }
        assigned
            .into_iter()
            .map(|candidate| candidate.host.clone())
            .collect()
    }

    /// Removes a host that is no longer driven (suspended, released, superseded), so that none waits for it.
    /// Returns true if the rollout changed.
    pub fn leave_out(&mut self, host: &HostName) -> bool {
        if !self.names(host) {
            return false;
        }
        self.in_flight.remove(host);
        self.unreachable.remove(host);
        self.failed.remove(host);
        if self.first.as_ref() == Some(host) {
            self.first = None;
        }
        true
    }

    /// Renames a host. Returns true if the rollout changed.
    pub fn rename(&mut self, old: &HostName, new: &HostName) -> bool {
        if !self.names(old) {
            return false;
        }
        if let Some(flight) = self.in_flight.remove(old) {
            self.in_flight.insert(new.clone(), flight);
        }
        if let Some(digest) = self.unreachable.remove(old) {
            self.unreachable.insert(new.clone(), digest);
        }
        if let Some(failure) = self.failed.remove(old) {
            self.failed.insert(new.clone(), failure);
        }
        if self.first.as_ref() == Some(old) {
            self.first = Some(new.clone());
        }
        true
    }

    /// True if no new targets are given out.
    pub fn is_halted(&self, limits: Limits) -> bool {
        let failed = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
        failed >= limits.failures.max(1) || self.failed.values().any(|f| f.stage == Stage::First)
    }

    /// Returns the failed hosts with their failures.
    pub fn failed(&self) -> &BTreeMap<HostName, Failure> {
        &self.failed
    }

    /// Returns the hosts that haven't reached their new target yet.
    pub fn on_their_way(&self) -> impl Iterator<Item = &HostName> {
        self.in_flight.keys()
    }

    /// Returns the revision that is rolled out.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Returns the present stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }
}
