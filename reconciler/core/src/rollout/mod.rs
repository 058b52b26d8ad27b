//! How a change spreads: one host first, then the rest, halted by a failure.
//!
//! Every change of what is desired of a host is part of a rollout, whatever it came from: a commit,
//! a Plumb that renders otherwise. A host that isn't in one is driven to the target that it had.
//! *Lost means failed*: a host that was touched and can't be reached any more halts the rollout; one
//! that couldn't be reached from the start is left out and catches up later.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_api::{Digest, HostName};
use serde::{Deserialize, Serialize};

/// How far a change has spread. Persisted: neither a restart nor a newer revision forgets a halt.
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

/// Who may be given a new target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// One host, alone.
    #[default]
    First,
    /// The rest, some at a time.
    Rest,
}

/// A host on its way to a new target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    digest: Digest,
    contact: Contact,
}

/// Whether a host was talked to since it got its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Contact {
    NotYet,
    Made,
}

/// A host that failed to reach its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The target that it failed to reach.
    pub digest: Digest,
    /// Why, in a sentence.
    pub reason: String,
    /// When it failed.
    pub since: Timestamp,
    /// Whether it was the one that goes first.
    pub stage: Stage,
}

/// A host that may be given a new target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The host.
    pub host: HostName,
    /// What the newest accepted revision wants of it.
    pub wants: Digest,
    /// What it is driven to now.
    pub target: Option<Digest>,
}

/// The outcome of a host's run towards its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOutcome {
    /// It is as its target says.
    Reached,
    /// It isn't yet, and nothing is wrong.
    UnderWay,
    /// It couldn't be reached.
    Unreachable(String),
    /// It failed.
    Failed(String),
}

/// How much may happen at the same time, and how much may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Hosts on their way at the same time.
    pub at_once: usize,
    /// As many failed hosts halt it.
    pub failures: u32,
}

impl Rollout {
    /// What is to be spread now. A halt ends only if what is wanted of the failed hosts moved.
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

    /// Takes in the outcome of a host's run towards a target. Returns true if the rollout changed.
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
                // A host that comes through after all has shown what the halt was waiting for.
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
                            contact: Contact::Made,
                        },
                    );
                } else if let Some(flight) = self.in_flight.get_mut(host) {
                    flight.contact = Contact::Made;
                }
            }
            HostOutcome::Unreachable(reason) => {
                let Some(flight) = self.in_flight.get(host).filter(|f| f.digest == digest) else {
                    return false;
                };
                if flight.contact == Contact::Made {
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

    /// True if the rollout remembers anything of a host.
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

    /// Gives out new targets: the hosts that get what is wanted of them now. `candidates` are those
    /// that can be reached and may change, by name.
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
                    contact: Contact::NotYet,
                },
            );
        }
        if assigned.is_empty() && self.in_flight.is_empty() {
            // All that could be reached is reached: what comes back later goes carefully again.
            self.stage = Stage::First;
        }
        assigned
            .into_iter()
            .map(|candidate| candidate.host.clone())
            .collect()
    }

    /// Forgets a host that isn't driven any more (suspended, released, superseded): nothing waits for it.
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

    /// Gives a host its new name.
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

    /// Whether no new targets are given out.
    pub fn is_halted(&self, limits: Limits) -> bool {
        let failed = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
        failed >= limits.failures.max(1) || self.failed.values().any(|f| f.stage == Stage::First)
    }

    /// The hosts that failed, and why.
    pub fn failed(&self) -> &BTreeMap<HostName, Failure> {
        &self.failed
    }

    /// The hosts on their way.
    pub fn on_their_way(&self) -> impl Iterator<Item = &HostName> {
        self.in_flight.keys()
    }

    /// The revision that is spread.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Who may be given a new target.
    pub fn stage(&self) -> Stage {
        self.stage
    }
}
