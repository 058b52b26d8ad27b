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
    flying: BTreeMap<HostName, Flight>,
    away: BTreeMap<HostName, Digest>,
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

/// What a run of a host came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
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
        self.flying
            .retain(|host, flight| still(host, &flight.digest));
        self.away.retain(|host, digest| still(host, digest));
        self.revision = Some(revision.to_owned());
        self.goal = Some(goal);
        self.first = None;
        self.stage = Stage::First;
    }

    /// A host's run towards a target is over.
    pub fn ended(&mut self, host: &HostName, digest: Digest, ended: Ended, now: Timestamp) {
        match ended {
            Ended::Reached => {
                self.flying
                    .retain(|h, flight| h != host || flight.digest != digest);
                self.away.retain(|h, d| h != host || *d != digest);
                // A host that comes through after all has shown what the halt was waiting for.
                self.failed
                    .retain(|h, failure| h != host || failure.digest != digest);
                if self.first.as_ref() == Some(host) {
                    self.stage = Stage::Rest;
                }
            }
            Ended::UnderWay => {
                if self.away.get(host) == Some(&digest) {
                    self.away.remove(host);
                    self.flying.insert(
                        host.clone(),
                        Flight {
                            digest,
                            contact: Contact::Made,
                        },
                    );
                } else if let Some(flight) = self.flying.get_mut(host) {
                    flight.contact = Contact::Made;
                }
            }
            Ended::Unreachable(reason) => {
                let Some(flight) = self.flying.get(host).filter(|f| f.digest == digest) else {
                    return;
                };
                if flight.contact == Contact::Made {
                    self.fail(host, digest, reason, now);
                } else {
                    self.flying.remove(host);
                    self.away.insert(host.clone(), digest);
                    if self.first.as_ref() == Some(host) {
                        self.first = None;
                    }
                }
            }
            Ended::Failed(reason) => {
                let here = self.flying.get(host).is_some_and(|f| f.digest == digest);
                if here || self.away.get(host) == Some(&digest) {
                    self.fail(host, digest, reason, now);
                }
            }
        }
    }

    fn fail(&mut self, host: &HostName, digest: Digest, reason: String, now: Timestamp) {
        self.flying.remove(host);
        self.away.remove(host);
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
                    .is_some_and(|first| self.flying.contains_key(first));
                if waiting {
                    return Vec::new();
                }
                affected.next().into_iter().collect()
            }
            Stage::Rest => {
                let free = limits.at_once.max(1).saturating_sub(self.flying.len());
                affected.take(free).collect()
            }
        };
        if self.stage == Stage::First {
            self.first = assigned.first().map(|candidate| candidate.host.clone());
        }
        for candidate in &assigned {
            self.flying.insert(
                candidate.host.clone(),
                Flight {
                    digest: candidate.wants,
                    contact: Contact::NotYet,
                },
            );
        }
        if assigned.is_empty() && self.flying.is_empty() {
            // All that could be reached is reached: what comes back later goes carefully again.
            self.stage = Stage::First;
        }
        assigned
            .into_iter()
            .map(|candidate| candidate.host.clone())
            .collect()
    }

    /// A host isn't driven any more (suspended, released, someone else's): nothing waits for it.
    pub fn leave_out(&mut self, host: &HostName) {
        self.flying.remove(host);
        self.away.remove(host);
        self.failed.remove(host);
        if self.first.as_ref() == Some(host) {
            self.first = None;
        }
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
        self.flying.keys()
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
