//! The backlog of a host: changes of its desired state that it hasn't received yet, and the rollouts to which
//! these changes belong.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumb_api::{Digest, HostName};
use serde::{Deserialize, Serialize};

use super::host::{HostState, WaitReason, WantedState};
use super::persist::put_source;
use super::{FleetState, Joins, RolloutRecords, Step, short_commit};
use crate::message::Message;
use crate::ports::{Table, Write};
use crate::reason::ConditionReason;
use crate::rollout::{Rollout, RolloutId};
use crate::view::EventKind;

/// Changes of a host's desired state that the host hasn't received yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backlog {
    /// The digest of the desired state with all these changes.
    digest: Digest,
    /// The rollouts to which these changes belong. The last one assigns a target that contains all these
    /// changes. While any of them is halted, the host gets no new target.
    rollouts: BTreeSet<RolloutId>,
}

impl Backlog {
    /// Returns the rollout that assigns a target with these changes.
    pub(super) fn rollout(&self) -> Option<RolloutId> {
        self.rollouts.last().copied()
    }
}

impl FleetState {
    /// Returns the reason why a pending host waits; `None` if the host isn't pending.
    fn wait_reason(&self, host: &HostState) -> Option<WaitReason> {
        if !host.is_pending() {
            return None;
        }
        let rollouts = host.backlog.iter().flat_map(|backlog| &backlog.rollouts);
        let mut halts = rollouts.filter_map(|id| self.halts.get(id));
        Some(match halts.next() {
            Some(why) => WaitReason::Halted(why.clone()),
            None => WaitReason::Turn,
        })
    }

    /// Returns the halted rollouts that block at least one host. After a start, nobody knows yet which hosts
    /// wait, and every halted rollout counts.
    pub(super) fn blocking_rollouts(&self) -> BTreeSet<RolloutId> {
        let rollouts = self.rollouts.iter();
        let halted = rollouts.filter(|rollout| rollout.is_halted(self.limits));
        let mut halted: BTreeSet<_> = halted.map(Rollout::id).collect();
        if self.head.is_some() && !halted.is_empty() {
            let pending = self.hosts.values().filter(|host| host.is_pending());
            let backlogs = pending.filter_map(|host| host.backlog.as_ref());
            let waited: BTreeSet<_> = backlogs.flat_map(|backlog| &backlog.rollouts).collect();
            halted.retain(|id| waited.contains(id));
        }
        halted
    }

    /// Updates the set of hosts that may get a new target, after a host changed. Returns true if the host
    /// begins or ceases to wait for a halted rollout.
    pub(super) fn update_candidate(&mut self, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else {
            return false;
        };
        let wait = self.wait_reason(host);
        let rollout = match wait {
            Some(WaitReason::Turn) if host.is_candidate() => {
                host.backlog.as_ref().and_then(Backlog::rollout)
            }
            _ => None,
        };
        if host.candidate_in != rollout {
            self.drop_candidate(name);
            if let Some(rollout) = rollout {
                let hosts = self.candidates.entry(rollout).or_default();
                hosts.insert(name.clone());
            }
        }
        let is_blocked = |wait: &Option<WaitReason>| matches!(wait, Some(WaitReason::Halted(_)));
        let Some(host) = self.hosts.get_mut(name) else {
            return false;
        };
        host.candidate_in = rollout;
        let before = std::mem::replace(&mut host.wait, wait);
        is_blocked(&before) != is_blocked(&host.wait)
    }

    /// Removes a host from the hosts that may get a new target.
    pub(super) fn drop_candidate(&mut self, name: &HostName) {
        let host = self.hosts.get_mut(name);
        let Some(rollout) = host.and_then(|host| host.candidate_in.take()) else {
            return;
        };
        if let Some(hosts) = self.candidates.get_mut(&rollout) {
            hosts.remove(name);
            if hosts.is_empty() {
                self.candidates.remove(&rollout);
            }
        }
    }
}

impl Step<'_> {
    /// Updates a host's backlog, which is the desired state that the host waits for and the rollouts that may
    /// assign it. Clears the backlog if the host's target has the newest desired state already. Otherwise the
    /// host joins the rollout of that state. Earlier rollouts whose changes the host lacks stay in the backlog,
    /// so that they block the host while they are halted. Returns true if the backlog changed.
    pub(super) fn update_backlog(&mut self, name: &HostName) -> bool {
        let Some(host) = self.state.hosts.get_mut(name) else {
            return false;
        };
        let WantedState::State(wanted) = host.wanted else {
            return false;
        };
        if host.target.as_ref().map(|target| target.digest) == Some(wanted) {
            return host.backlog.take().is_some();
        }
        let own = host.backlog.as_ref().filter(|one| one.digest == wanted);
        let own = own.and_then(Backlog::rollout);
        if own.is_some_and(|own| self.state.rollouts.iter().any(|r| r.id() == own)) {
            return false;
        }
        let Some(joined) = self.joined_rollout() else {
            return false;
        };
        let state = &mut *self.state;
        let Some(host) = state.hosts.get_mut(name) else {
            return false;
        };
        let before = host.backlog.take();
        let is_new = before.is_none();
        let mut rollouts = before.map(|backlog| backlog.rollouts).unwrap_or_default();
        rollouts.retain(|id| state.rollouts.iter().any(|r| r.id() == *id));
        // A new host may lack the changes of any halted rollout.
        let is_met = is_new && self.joins == Joins::ByItself;
        let others = state.rollouts.iter().filter(|r| {
            (is_new && r.takes_every_pending_host()) || (is_met && r.is_halted(state.limits))
        });
        rollouts.extend(others.map(Rollout::id));
        rollouts.insert(joined);
        host.backlog = Some(Backlog {
            digest: wanted,
            rollouts,
        });
        true
    }

    /// Returns the rollout that pending hosts join: a rollout of the newest revision that isn't halted, or
    /// else a new rollout.
    fn joined_rollout(&mut self) -> Option<RolloutId> {
        let state = &mut *self.state;
        let commit = state.head_commit.as_deref()?;
        let mut open = state.rollouts.iter();
        let open = open.find(|r| r.revision() == Some(commit) && !r.is_halted(state.limits));
        if let Some(rollout) = open {
            return Some(rollout.id());
        }
        let id = state.next_rollout;
        state.next_rollout = id.next();
        state.rollouts.push(Rollout::new(id, commit.to_owned()));
        self.rollouts = RolloutRecords::Changed;
        Some(id)
    }

    /// Adapts the rollouts to the newest revision: removes the hosts and failures that the revision
    /// supersedes, deletes rollouts that nothing needs any more, and starts a rollout for the hosts that the
    /// revision changes. A failure is removed only if the desired state of its host changed.
    pub(super) fn lead_rollouts(&mut self) {
        let state = &mut *self.state;
        for rollout in &mut state.rollouts {
            let hosts = &state.hosts;
            rollout.supersede(
                |name, digest| hosts.get(name).is_some_and(|host| wants(host, digest)),
                |name, digest| hosts.get(name).is_some_and(|host| is_led_to(host, digest)),
            );
        }
        self.resume_rollouts();
        let state = &mut *self.state;
        let owners = state
            .hosts
            .values()
            .filter_map(|host| host.backlog.as_ref());
        let needed: BTreeSet<_> = owners.filter_map(Backlog::rollout).collect();
        let (kept, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut state.rollouts)
            .into_iter()
            .partition(|r| !r.is_idle() || needed.contains(&r.id()));
        state.rollouts = kept;
        let deletes = ended.iter().map(|rollout| {
            let key = super::persist::rollout_key(rollout.id());
            Write::Delete(Table::Rollouts, key)
        });
        self.writes.extend(deletes);
        self.joins = Joins::ByRevision;
        self.settle();
        self.joins = Joins::ByItself;
        for rollout in &mut self.state.rollouts {
            rollout.name_members();
        }
        self.rollouts_changed();
    }

    /// Resumes the halted rollouts that accepted `Rollout-Resume:` trailers name. The trailers are stored
    /// together with the floor, and removed together with the writes of this step, so a crash in between
    /// loses none of them.
    fn resume_rollouts(&mut self) {
        let resumes = std::mem::take(&mut self.state.source.record.resumes);
        if resumes.is_empty() {
            return;
        }
        for resume in &resumes {
            let state = &mut *self.state;
            let limits = state.limits;
            let mut count = 0;
            for rollout in &mut state.rollouts {
                if rollout.is_halted(limits) && resume.names(rollout) {
                    rollout.resume();
                    count += 1;
                }
            }
            let revision = Some(resume.commit.clone());
            if count == 0 {
                let message = Message::new(format!(
                    "`Rollout-Resume: {}` names no halted rollout",
                    resume.rollout
                ))
                .with_hint(Some(
                    "write the commit that the alert PlumbRolloutHalted names".to_owned(),
                ));
                self.warn(None, ConditionReason::NothingResumed, message, revision);
            } else {
                let message = format!(
                    "the rollout of {} resumes, as {} says",
                    short_commit(&resume.rollout),
                    short_commit(&resume.commit)
                );
                let reason = ConditionReason::RolloutResumed;
                self.record(None, EventKind::Normal, reason, message, revision);
            }
        }
        self.writes.extend(put_source(&self.state.source.record));
    }

    /// Withdraws targets from hosts on which nothing was changed yet, if they are unreachable or busy, or if
    /// their rollout is halted. Unreachable hosts get a new target when they answer again. The next run of
    /// each host reads from the host's ledger which state it has.
    pub(super) fn withdraw_targets(&mut self) {
        let state = &*self.state;
        let is_idle = |name: &&HostName| {
            let host = state.hosts.get(*name);
            host.is_some_and(|host| {
                host.in_flight.is_none()
                    && host.assigning.is_none()
                    && !host.renaming
                    && !host.forgetting
            })
        };
        let rollouts = state.rollouts.iter();
        let names = rollouts.flat_map(|rollout| rollout.withdrawable(state.limits));
        let names: Vec<_> = names.filter(is_idle).cloned().collect();
        for name in &names {
            self.lose_target(name);
        }
        if !names.is_empty() {
            self.settle();
        }
    }

    /// Withdraws a host that loses its target from its rollouts, and adds these rollouts to the host's
    /// backlog.
    pub(super) fn return_to_backlog(&mut self, name: &HostName) {
        let state = &mut *self.state;
        let mut rollouts = BTreeSet::new();
        for rollout in &mut state.rollouts {
            if rollout.withdraw(name) {
                rollouts.insert(rollout.id());
            }
        }
        if rollouts.is_empty() {
            return;
        }
        if let Some(host) = state.hosts.get_mut(name)
            && let WantedState::State(digest) = host.wanted
            && host.backlog.is_none()
        {
            host.backlog = Some(Backlog { digest, rollouts });
            self.writes.extend(super::persist::put_host(&host.record()));
        }
        self.rollouts_changed();
    }
}

/// True if this is the host's desired state in the newest revision. Also true for a held host, because its
/// newest desired state is unknown.
fn wants(host: &HostState, digest: Digest) -> bool {
    match host.wanted {
        WantedState::State(wanted) => wanted == digest,
        WantedState::Held(_) => true,
        WantedState::Unknown | WantedState::Nothing => false,
    }
}

/// True if a host's target, or the target that is being written to the store, has this digest.
fn is_led_to(host: &HostState, digest: Digest) -> bool {
    let target = host.assigning.as_ref().or(host.target.as_ref());
    target.is_some_and(|target| target.digest == digest)
}

/// Returns the message for hosts that wait because this rollout is halted; `None` if no host has failed.
pub(super) fn halt_reason(rollout: &Rollout) -> Option<Arc<str>> {
    let mut failed = rollout.failed().iter();
    let (host, failure) = failed.next()?;
    let others = match failed.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    // The failed host's own message shows the hint, so the other hosts needn't repeat it.
    let why = failure.reason.split("; ").next().unwrap_or_default();
    Some(Arc::from(format!(
        "the rollout is halted: {host}{others} failed ({why}); it resumes when that host succeeds or its manifest changes; run `plumb describe host {host}` for details"
    )))
}
