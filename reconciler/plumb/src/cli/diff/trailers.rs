//! The trailers that a commit with a change needs, as far as they follow from the change and the policy.

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_core::effects::Affected;
use plumb_trust::policy::{BindRef, Bypass, Freeze};
use plumb_trust::{Oid, Policy};
use serde::Serialize;

use crate::verdict::authority;
use crate::verdict::history::first_parents;

/// A trailer that a commit needs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Trailer {
    name: &'static str,
    value: String,
    /// The reason why it is needed.
    pub(super) because: String,
}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

/// A change of a fleet.
pub(super) struct FleetChange<'a> {
    pub(super) from: Oid,
    /// The commit that the change leads to; `None` for the folder, whose commit doesn't exist yet.
    pub(super) to: Option<Oid>,
    /// The paths that differ.
    pub(super) paths: &'a [String],
    /// The hosts that differ.
    pub(super) affected: Affected<'a>,
}

impl FleetChange<'_> {
    /// Returns the trailers that the policy of `from` requires now. Without a policy, none is needed.
    pub(super) fn trailers(&self, repository: &Repository, now: Timestamp) -> Vec<Trailer> {
        let Ok(authority) = authority(repository, &self.from) else {
            return Vec::new();
        };
        let policy = &authority.policy;
        let all = [
            deploy_ref(policy),
            self.rollback(repository),
            self.emergency(policy, now),
        ];
        all.into_iter().flatten().collect()
    }

    fn rollback(&self, repository: &Repository) -> Option<Trailer> {
        let to = self.to?;
        let ahead: Vec<Oid> = first_parents(repository.objects(), to).collect();
        if ahead.contains(&self.from) {
            return None;
        }
        let behind: HashSet<Oid> = first_parents(repository.objects(), self.from).collect();
        let base = ahead.into_iter().find(|commit| behind.contains(commit))?;
        Some(Trailer {
            name: "Rollback-To",
            value: format!("{} {base}", self.from),
            because: format!(
                "the first commit on top of {} goes back; a new commit that reverts needs no such line",
                base.short()
            ),
        })
    }

    fn emergency(&self, policy: &Policy, now: Timestamp) -> Option<Trailer> {
        let frozen = |freeze: &&Freeze| {
            let lasts = (freeze.from..freeze.to).contains(&now);
            let selects = |hosts| self.affected.has_any(hosts);
            let hosts = freeze.hosts.as_ref().is_some_and(selects);
            lasts && (hosts || self.paths.iter().any(|path| freeze.owns(path)))
        };
        let freeze = policy.freeze.iter().find(frozen)?;
        let emergency = policy.emergency.as_ref()?;
        emergency
            .bypasses
            .contains(&Bypass::Freeze)
            .then(|| Trailer {
                name: "Emergency",
                value: "WHY".to_owned(),
                because: format!("the policy freezes what changes until {}", freeze.to),
            })
    }
}

fn deploy_ref(policy: &Policy) -> Option<Trailer> {
    let because = match policy.bind_ref {
        BindRef::None => return None,
        BindRef::Trailer => "the policy binds each commit to its branch",
        BindRef::Approval => "the policy binds each commit to its branch; an approval does too",
    };
    Some(Trailer {
        name: "Deploy-Ref",
        value: format!("{} {}", policy.repository, policy.reference),
        because: because.to_owned(),
    })
}
