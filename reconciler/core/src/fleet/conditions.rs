//! A host's conditions. They are derived from its state each time, so a wrong one doesn't last.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::host::{HostMode, HostState, Progress, Reach, WaitReason, Wanted};
use super::run_result::first_of;
use super::short_commit;
use crate::reason::ConditionReason;
use crate::status::{Condition, ConditionStatus, ConditionType, Conditions};

use ConditionStatus::{False, True, Unknown};
use ConditionType::{Drifted, Reachable, Ready, Reconciling, Stalled, Suspended, Synced};

/// A condition without its transition time.
struct Derived {
    kind: ConditionType,
    status: ConditionStatus,
    reason: ConditionReason,
    message: String,
}

/// Derives the conditions of a host. A condition whose status didn't change keeps its transition time; others
/// begin `now`.
pub fn conditions(host: &HostState, now: Timestamp) -> Conditions {
    let generation = host.target.as_ref().map(|target| &target.revision);
    let before = &host.object.status.conditions;
    let mut all = Conditions::default();
    let derived = [
        readiness(host),
        reachable(host),
        synced(host),
        drifted(host),
        suspended(host),
    ];
    if host.wanted == Wanted::Unknown
        && let Some(synced) = before.get(Synced)
    {
        // The condition from before a restart holds until a revision is loaded.
        all.set(synced.clone());
    }
    for new in derived.into_iter().flatten() {
        let since = before
            .get(new.kind)
            .filter(|old| old.status == new.status)
            .map_or(now, |old| old.last_transition_time);
        all.set(Condition {
            kind: new.kind,
            status: new.status,
            reason: new.reason,
            message: new.message,
            observed_generation: generation.cloned(),
            last_transition_time: since,
        });
    }
    all
}

fn one(
    kind: ConditionType,
    status: ConditionStatus,
    reason: ConditionReason,
    message: impl Into<String>,
) -> Vec<Derived> {
    vec![Derived {
        kind,
        status,
        reason,
        message: message.into(),
    }]
}

/// Returns `Ready` False and `Reconciling` True: Plumb works on the host.
fn working(reason: ConditionReason, message: &str) -> Vec<Derived> {
    let mut all = one(Ready, False, reason, message);
    all.extend(one(Reconciling, True, reason, message));
    all
}

/// Returns `Ready` False and `Stalled` True: a retry won't help until somebody changes something.
fn stalled(reason: ConditionReason, message: &str) -> Vec<Derived> {
    let mut all = one(Ready, False, reason, message);
    all.extend(one(Stalled, True, reason, message));
    all
}

/// Returns the message of a released host.
fn released(host: &HostState) -> String {
    format!(
        "removed from git; run `plumb forget {}` to drop it",
        host.name
    )
}

/// Returns `Ready`, `Reconciling` and `Stalled`.
fn readiness(host: &HostState) -> Vec<Derived> {
    let left = |reason, message: &str| one(Ready, Unknown, reason, message);
    match &host.mode {
        HostMode::Released => return left(ConditionReason::Released, &released(host)),
        HostMode::Suspended(_) => {
            return left(ConditionReason::Suspended, "its manifest suspends it");
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
    if let (Wanted::Held(message), None) = (&host.wanted, &host.target) {
        return stalled(ConditionReason::ManifestInvalid, message);
    }
    match &host.progress {
        Progress::Begun => working(ConditionReason::Begun, "it hasn't been observed yet"),
        Progress::Resumed => working(ConditionReason::Resumed, "its pause is over"),
        Progress::NewTarget => working(
            ConditionReason::NewTarget,
            "it is on its way to a new target",
        ),
        Progress::Observed => {
            let message = match &host.wait {
                Some(WaitReason::Halted(why)) => format!("it was observed and waits: {why}"),
                Some(WaitReason::Turn) | None => {
                    "it was observed and waits for its turn".to_owned()
                }
            };
            working(ConditionReason::AwaitingTurn, &message)
        }
        Progress::Settled(revision) => match &host.drift {
            Some(drift) if drift.reason == ConditionReason::DriftHeld => one(
                Ready,
                False,
                ConditionReason::Drifted,
                drift.message.clone(),
            ),
            _ => {
                let mut message = format!("as {} says", short_commit(revision));
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
                working(*reason, message)
            }
        }
    }
}

fn reachable(host: &HostState) -> Vec<Derived> {
    match (&host.reach, &host.mode) {
        (Reach::Unknown, _) => Vec::new(),
        (Reach::Connected, _) => one(
            Reachable,
            True,
            ConditionReason::Connected,
            "it answered at the last attempt",
        ),
        // Plumb doesn't contact a released host, so the last error says nothing about its present state.
        (Reach::Lost { .. }, HostMode::Released) => one(
            Reachable,
            Unknown,
            ConditionReason::Released,
            released(host),
        ),
        (Reach::Lost { reason, message }, _) => one(Reachable, False, *reason, message.clone()),
    }
}

/// Returns `Synced`: true if the host runs the newest accepted revision.
fn synced(host: &HostState) -> Vec<Derived> {
    let wanted = match (&host.mode, &host.wanted) {
        (HostMode::Released, _) => {
            return one(Synced, False, ConditionReason::Released, released(host));
        }
        (HostMode::Dormant | HostMode::Unmanaged, _) | (_, Wanted::Unknown | Wanted::Nothing) => {
            return Vec::new();
        }
        (_, Wanted::Held(message)) => {
            let reason = ConditionReason::ManifestInvalid;
            return one(Synced, False, reason, message.clone());
        }
        (_, Wanted::State(wanted)) => wanted,
    };
    let head = short_commit(host.head.as_deref().unwrap_or_default());
    match &host.target {
        Some(target) if target.digest == *wanted => {
            if host.revision.as_ref() == Some(&target.revision) {
                let message = format!("it runs {head}");
                one(Synced, True, ConditionReason::Newest, message)
            } else {
                let message = format!("it is on its way to {head}");
                one(Synced, False, ConditionReason::UnderWay, message)
            }
        }
        _ => {
            // A blocked host can't get a target even when its turn comes.
            if let Some((reason, why)) = obstacle(host) {
                let message = format!("it doesn't get {head}: {why}");
                return one(Synced, False, reason, message);
            }
            let message = match &host.wait {
                Some(WaitReason::Halted(why)) => format!("it waits to get {head}: {why}"),
                Some(WaitReason::Turn) | None => format!("it waits for its turn to get {head}"),
            };
            one(Synced, False, ConditionReason::AwaitingTurn, message)
        }
    }
}

/// Returns the reason why no run can work on the host, if there is one.
fn obstacle(host: &HostState) -> Option<(ConditionReason, &str)> {
    match (&host.progress, &host.reach) {
        // Other failures may come from the old target, and the new target may fix them.
        (
            Progress::Failed {
                reason, message, ..
            },
            _,
        ) if reason.blocks_login() => Some((*reason, message)),
        (_, Reach::Lost { reason, message }) => Some((*reason, message)),
        _ => None,
    }
}

fn drifted(host: &HostState) -> Vec<Derived> {
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
    match (holds, &host.mode) {
        (true, HostMode::Released) => Vec::new(),
        (true, _) => one(Drifted, True, drift.reason, drift.message.clone()),
        (false, _) => one(Drifted, False, drift.reason, drift.message.clone()),
    }
}

fn suspended(host: &HostState) -> Vec<Derived> {
    let HostMode::Suspended(pause) = &host.mode else {
        return Vec::new();
    };
    let message = match pause.until {
        Some(until) => format!("{} (until {until})", pause.reason),
        None => pause.reason.clone(),
    };
    one(Suspended, True, ConditionReason::Suspended, message)
}
