//! Derives a host's conditions. They are always computed anew from the host's state, so that a wrong one
//! doesn't last.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::host::{HostMode, HostState, Progress, Reachability, WaitReason, WantedState};
use super::run_records::first_of;
use super::{clocks, short_commit};
use crate::message::Message;
use crate::reason::ConditionReason;
use crate::status::{Condition, ConditionStatus, ConditionType, Conditions};

use ConditionStatus::{False, True, Unknown};
use ConditionType::{
    ClockSkewed, Drifted, Reachable, Ready, RebootRequired, Reconciling, Stalled, Suspended, Synced,
};

/// A condition without its transition time.
struct DerivedCondition {
    kind: ConditionType,
    status: ConditionStatus,
    reason: ConditionReason,
    message: Message,
}

/// Derives the conditions of a host. A condition whose status didn't change keeps its transition time; the
/// others get `now` as theirs.
pub fn conditions(host: &HostState, now: Timestamp) -> Conditions {
    let generation = host.target.as_ref().map(|target| &target.revision);
    let before = &host.object.status.conditions;
    let mut all = Vec::new();
    let derived = [
        readiness(host),
        reachable(host),
        synced(host),
        drifted(host),
        suspended(host),
        reboot(host),
        clock(host),
    ];
    if host.wanted == WantedState::Unknown
        && let Some(synced) = before.get(Synced)
    {
        // Until a revision is loaded after a restart, the stored condition stays.
        all.push(synced.clone());
    }
    for new in derived.into_iter().flatten() {
        let since = before
            .get(new.kind)
            .filter(|old| old.status == new.status)
            .map_or(now, |old| old.last_transition_time);
        all.push(Condition {
            kind: new.kind,
            status: new.status,
            reason: new.reason,
            message: new.message,
            observed_generation: generation.cloned(),
            last_transition_time: since,
        });
    }
    all.into()
}

fn one(
    kind: ConditionType,
    status: ConditionStatus,
    reason: ConditionReason,
    message: impl Into<Message>,
) -> Vec<DerivedCondition> {
    vec![DerivedCondition {
        kind,
        status,
        reason,
        message: message.into(),
    }]
}

/// Returns `Ready` False and `Reconciling` True, for a host on which Plumb works.
fn working(reason: ConditionReason, message: impl Into<Message>) -> Vec<DerivedCondition> {
    let message = message.into();
    let mut all = one(Ready, False, reason, message.clone());
    all.extend(one(Reconciling, True, reason, message));
    all
}

/// Returns `Ready` False and `Stalled` True, for a host on which a retry won't help until somebody changes
/// something.
fn stalled(reason: ConditionReason, message: &Message) -> Vec<DerivedCondition> {
    let mut all = one(Ready, False, reason, message.clone());
    all.extend(one(Stalled, True, reason, message.clone()));
    all
}

/// Returns the message of a released host.
fn released(host: &HostState) -> Message {
    let hint = format!("run `plumb forget {}` to drop it", host.name);
    Message::from("removed from git").with_hint(Some(hint))
}

/// Returns `Ready`, `Reconciling` and `Stalled`.
fn readiness(host: &HostState) -> Vec<DerivedCondition> {
    let left = |reason, message: &str| one(Ready, Unknown, reason, message);
    match &host.mode {
        HostMode::Released => {
            return one(Ready, Unknown, ConditionReason::Released, released(host));
        }
        HostMode::Suspended(_) => {
            return left(ConditionReason::Suspended, "suspended by its manifest");
        }
        HostMode::Dormant => {
            return left(
                ConditionReason::Dormant,
                "its manifest says `state: dormant`",
            );
        }
        HostMode::Unmanaged => {
            return left(
                ConditionReason::Unmanaged,
                "its manifest says `state: unmanaged`",
            );
        }
        HostMode::Driven => {}
    }
    if let (WantedState::Held(message), None) = (&host.wanted, &host.target) {
        return stalled(ConditionReason::ManifestInvalid, message);
    }
    match &host.progress {
        Progress::Begun => working(ConditionReason::Begun, "not observed yet"),
        Progress::Resumed => working(
            ConditionReason::Resumed,
            "no longer suspended; observed next",
        ),
        Progress::NewTarget => working(
            ConditionReason::NewTarget,
            "a new target waits to be applied",
        ),
        Progress::Observed => {
            let message = match &host.wait {
                Some(WaitReason::Halted(why)) => format!("observed, waits: {why}"),
                Some(WaitReason::Turn) | None => {
                    "observed, waits for its turn in the rollout".to_owned()
                }
            };
            working(ConditionReason::AwaitingTurn, message)
        }
        Progress::Settled(revision) => match &host.drift {
            Some(drift) if drift.reason == ConditionReason::DriftHeld => one(
                Ready,
                False,
                ConditionReason::Drifted,
                drift.message.clone(),
            ),
            _ => {
                let mut message = format!("matches {}", short_commit(revision));
                if !host.give_backs.is_empty() {
                    let waiting = host.give_backs.iter().map(|one| one.resource.to_string());
                    let waiting: Vec<_> = waiting.collect();
                    let _ = write!(message, "; not given back yet: {}", first_of(&waiting));
                }
                one(Ready, True, ConditionReason::Settled, message)
            }
        },
        Progress::Failed {
            reason, message, ..
        } => {
            if host.progress.is_stalled() {
                stalled(*reason, message)
            } else {
                working(*reason, message.clone())
            }
        }
    }
}

fn reachable(host: &HostState) -> Vec<DerivedCondition> {
    match (&host.reach, &host.mode) {
        (Reachability::Unknown, _) => Vec::new(),
        (Reachability::Connected, _) => one(
            Reachable,
            True,
            ConditionReason::Connected,
            "answered at the last attempt",
        ),
        // Plumb doesn't contact a released host, so the last error says nothing about its present state.
        (Reachability::Lost { .. }, HostMode::Released) => one(
            Reachable,
            Unknown,
            ConditionReason::Released,
            released(host),
        ),
        (Reachability::Lost { reason, message }, _) => {
            one(Reachable, False, *reason, message.clone())
        }
    }
}

/// Returns `Synced`: true if the host runs the newest accepted revision.
fn synced(host: &HostState) -> Vec<DerivedCondition> {
    let wanted = match (&host.mode, &host.wanted) {
        (HostMode::Released, _) => {
            return one(Synced, False, ConditionReason::Released, released(host));
        }
        (HostMode::Dormant | HostMode::Unmanaged, _)
        | (_, WantedState::Unknown | WantedState::Nothing) => {
            return Vec::new();
        }
        (_, WantedState::Held(message)) => {
            let reason = ConditionReason::ManifestInvalid;
            return one(Synced, False, reason, message.clone());
        }
        (_, WantedState::State(wanted)) => wanted,
    };
    if let Some(why) = &host.newer_unloadable {
        let reason = ConditionReason::FilesUnreadable;
        return one(Synced, False, reason, Message::clone(why));
    }
    let head = short_commit(host.head.as_deref().unwrap_or_default());
    match &host.target {
        Some(target) if target.digest == *wanted => {
            if host.revision.as_ref() == Some(&target.revision) {
                let message = format!("runs {head}");
                one(Synced, True, ConditionReason::Newest, message)
            } else {
                let message = format!("{head} is being applied");
                one(Synced, False, ConditionReason::UnderWay, message)
            }
        }
        _ => {
            // If no run can reach the host or log in to it, it gets no target, even when its turn comes.
            if let Some((reason, why)) = obstacle(host) {
                let message = Message::new(format!("can't apply {head}: {why}"));
                return one(Synced, False, reason, message);
            }
            let message = match &host.wait {
                Some(WaitReason::Halted(why)) => format!("waits to apply {head}: {why}"),
                Some(WaitReason::Turn) | None => format!("waits for its turn to apply {head}"),
            };
            one(Synced, False, ConditionReason::AwaitingTurn, message)
        }
    }
}

/// Returns the reason why no run can reach the host or log in to it, if there is one.
fn obstacle(host: &HostState) -> Option<(ConditionReason, &Message)> {
    match (&host.progress, &host.reach) {
        // Other failures may come from the old target, and the new target may fix them.
        (
            Progress::Failed {
                reason, message, ..
            },
            _,
        ) if reason.blocks_login() => Some((*reason, message)),
        (_, Reachability::Lost { reason, message }) => Some((*reason, message)),
        _ => None,
    }
}

fn drifted(host: &HostState) -> Vec<DerivedCondition> {
    let Some(drift) = &host.drift else {
        return Vec::new();
    };
    let holds = matches!(
        drift.reason,
        ConditionReason::DriftHeld
            | ConditionReason::DriftCorrecting
            | ConditionReason::DriftRecurs
            | ConditionReason::DriftRemains
    );
    let status = match (holds, &host.mode) {
        (true, HostMode::Released) => return Vec::new(),
        (true, _) => True,
        (false, _) => False,
    };
    one(Drifted, status, drift.reason, drift.message.clone())
}

fn clock(host: &HostState) -> Vec<DerivedCondition> {
    match host.clock_offset {
        Some(offset) if clocks::is_skewed(offset) && host.mode != HostMode::Released => {
            let message = format!("its clock is {}", clocks::difference(offset));
            one(ClockSkewed, True, ConditionReason::ClockSkewed, message)
        }
        _ => Vec::new(),
    }
}

/// Returns `RebootRequired`, with what only a reboot makes effective.
fn reboot(host: &HostState) -> Vec<DerivedCondition> {
    let message = match host.reboot.as_slice() {
        _ if host.mode == HostMode::Released => return Vec::new(),
        [] => return Vec::new(),
        [one] => Message::from(one.as_str()),
        all => Message::from(format!("{} reasons", all.len())).with_detail(all.join("\n")),
    };
    let reason = ConditionReason::RebootRequired;
    one(RebootRequired, True, reason, message)
}

fn suspended(host: &HostState) -> Vec<DerivedCondition> {
    let HostMode::Suspended(pause) = &host.mode else {
        return Vec::new();
    };
    let message = match pause.until {
        Some(until) => format!("{} (until {until})", pause.reason),
        None => pause.reason.clone(),
    };
    one(Suspended, True, ConditionReason::Suspended, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reboot_is_required_while_a_reason_lasts_and_leaves_ready_alone() {
        let now = Timestamp::from_second(1_760_000_000).unwrap();
        let mut host = HostState::new("ant".parse().unwrap());
        host.progress = Progress::Settled("a".repeat(40));
        assert!(conditions(&host, now).get(RebootRequired).is_none());

        host.reboot = vec!["kernel module nbd is blacklisted and still loaded".to_owned()];
        let all = conditions(&host, now);
        assert!(all.is_true(Ready) && all.is_true(RebootRequired));
        let told = all.get(RebootRequired).unwrap();
        assert_eq!(told.reason, ConditionReason::RebootRequired);
        assert_eq!(told.message.headline(), host.reboot[0]);
        assert!(told.reason.alert().is_none());

        host.reboot.push("updated packages: libc6".to_owned());
        let all = conditions(&host, now);
        let message = &all.get(RebootRequired).unwrap().message;
        assert_eq!(message.headline(), "2 reasons");
        assert_eq!(message.detail(), Some(host.reboot.join("\n").as_str()));

        host.mode = HostMode::Released;
        assert!(conditions(&host, now).get(RebootRequired).is_none());
    }
}
