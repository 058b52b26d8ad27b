//! What a policy's freezes and its emergency mean for a commit that isn't accepted.

use jiff::Timestamp;
use plumb_trust::policy::{Bypass, Policy};
use plumb_trust::{ReasonCode, Step};

/// Whether a freeze of the policy is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freeze {
    /// None is, or it isn't known.
    Over,
    /// One is.
    InForce,
}

impl Freeze {
    /// Of a policy, at a time.
    pub(super) fn of(policy: &Policy, now: Timestamp) -> Self {
        let lasts = |from: Timestamp, to: Timestamp| from <= now && now < to;
        let any = policy.freeze.iter().any(|one| lasts(one.from, one.to));
        if any { Self::InForce } else { Self::Over }
    }
}

/// Whether the policy lets an emergency get around what holds a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Emergency {
    /// The policy isn't known here.
    Unknown,
    /// It doesn't: there is none, it doesn't get around that, or it may not touch what is changed.
    No,
    /// It does.
    Can {
        /// Who declares one, in words.
        who: String,
        /// For how long after the commit was made, in words.
        ttl: String,
    },
}

impl Emergency {
    /// Of a commit that says nothing of an emergency yet.
    pub(super) fn of(policy: &Policy, step: &Step) -> Self {
        let Some(emergency) = &policy.emergency else {
            return Self::No;
        };
        let bypasses = |what| emergency.bypasses.contains(&what);
        let helps = step.reasons.iter().all(|reason| match reason.code {
            ReasonCode::Frozen => bypasses(Bypass::Freeze),
            ReasonCode::ApprovalsMissing => bypasses(Bypass::Counts),
            ReasonCode::ApprovalIgnored => true,
            _ => false,
        });
        let kept = |path: &String| {
            path.starts_with("trust/") || emergency.never.iter().any(|never| never.owns(path))
        };
        let forbidden = step
            .reasons
            .iter()
            .flat_map(|reason| &reason.paths)
            .any(kept);
        if !helps || forbidden {
            return Self::No;
        }
        let needs: Vec<String> = emergency
            .need
            .iter()
            .map(|need| format!("{} of {}", need.count, need.from))
            .collect();
        Self::Can {
            who: needs.join(" and "),
            ttl: emergency.ttl.to_string(),
        }
    }
}
