//! Observes one host for a plan.

use plumb_api::frame::{
    Apply, Attendance, Departure, Facts, Fence, LedgerState, Lineage, Observe, ObserveReport,
    Purpose, Reveal, RevisionMark, TakeOver,
};
use plumb_api::kind::Os;
use plumb_api::plan::Plan;
use plumb_api::{Digest, Epoch};
use plumb_core::desired::{Contents, HostIntent, Lifecycle, Resolved};
use plumb_core::plan::{PlanOptions, Planned, content_diffs, goal, plan};
use plumb_core::ports::{HostError, Hosts, Observation, Session};

use crate::connect::Routes;

/// A host's plan, and the facts of its machine.
pub(super) struct ObservedPlan {
    pub(super) planned: Planned,
    pub(super) facts: Facts,
}

/// Observes a host and plans for it.
pub(super) async fn observe_host(
    intent: &HostIntent,
    hosts: &dyn Hosts,
    roads: &Routes,
    resolved: &Resolved,
) -> Result<ObservedPlan, HostError> {
    let goal = goal(intent);
    let target = roads.to(intent);
    let fence = Fence {
        protocol: plumb_api::frame::PROTOCOL,
        fleet: resolved.fleet.clone(),
        host: intent.name.clone(),
        formerly: intent.formerly.clone(),
        controller: controller_id(),
        epoch: Epoch(0),
        take_over: TakeOver::No,
    };
    let mut session = hosts.connect(&target).await?;
    let observed = session
        .observe(Observe {
            fence: fence.clone(),
            base: None,
            target: goal.digest(),
            delta: goal.delta_from(None),
            purpose: Purpose::Look,
            reveal: Reveal::WorldReadable,
            attendance: Attendance::Unattended,
        })
        .await?;
    match observed {
        Observation::Report(report) => {
            let mut planned = plan(intent, &report, PlanOptions::default());
            let contents: &Contents = &resolved.contents;
            planned.diffs = content_diffs(&goal, &report, &|digest| contents.get(digest));
            if is_gone(intent, &report) {
                leave(session.as_mut(), fence, goal.digest()).await?;
            }
            Ok(ObservedPlan {
                planned,
                facts: report.facts,
            })
        }
        // The whole state was sent, so an agent that requests it again is broken.
        Observation::NeedState => Err(HostError::Broken {
            host: intent.name.clone(),
            reason: "agent asked again for the desired state that it had just been sent".to_owned(),
        }),
    }
}

/// True if Plumb had already removed its agent from a retired host, and only this observation installed it
/// again.
fn is_gone(intent: &HostIntent, report: &ObserveReport) -> bool {
    intent.lifecycle == Lifecycle::Retired && report.ledger.state == LedgerState::Fresh
}

/// Makes the agent remove itself from a host where it manages nothing.
async fn leave(session: &mut dyn Session, fence: Fence, target: Digest) -> Result<(), HostError> {
    let request = Apply {
        fence,
        plan: Plan {
            target,
            changes: Vec::new(),
            confirm: Vec::new(),
            forget: Vec::new(),
        },
        revision: RevisionMark(String::new()),
        lineage: Lineage::First,
        departure: Departure::Leaves,
        dead_man: None,
    };
    session
        .apply(request, Vec::new(), &mut |_| {})
        .await
        .map(|_| ())
}

/// Compares the operating system that a manifest names with the host's.
pub(super) fn os_warning(named: Option<&Os>, facts: &Facts) -> Option<String> {
    let named = named?;
    let word = |family| {
        let word = serde_json::to_value(family).ok()?;
        word.as_str().map(str::to_owned)
    };
    let family = word(named.family)?;
    if !facts.os.is_empty() && family != facts.os {
        return Some(format!(
            "the manifest says `os.family: {family}`, the host runs {}",
            facts.os
        ));
    }
    let release = named.release.as_ref()?;
    (!facts.release.is_empty() && *release != facts.release).then(|| {
        format!(
            "the manifest says `os.release: \"{release}\"`, the host has {}",
            facts.release
        )
    })
}

/// Returns the controller id of `plumb plan` and `plumb adopt`. No real controller has this id, so a host never takes it for
/// its own controller.
#[allow(clippy::expect_used)] // a literal that is a label
pub(in crate::cli) fn controller_id() -> plumb_api::ControllerId {
    "plumb-plan".parse().expect("a label")
}

#[cfg(test)]
mod tests {
    use plumb_api::kind::OsFamily;

    use super::*;

    #[test]
    fn another_release_than_the_hosts_is_told() {
        let named = |release: &str| Os {
            family: OsFamily::Debian,
            release: Some(release.to_owned()),
        };
        let facts = Facts {
            os: "debian".to_owned(),
            release: "12".to_owned(),
            ..Facts::default()
        };
        assert_eq!(os_warning(Some(&named("12")), &facts), None);
        assert_eq!(
            os_warning(Some(&named("11")), &facts).unwrap(),
            "the manifest says `os.release: \"11\"`, the host has 12"
        );
        let ubuntu = Facts {
            os: "ubuntu".to_owned(),
            ..facts
        };
        assert!(os_warning(Some(&named("12")), &ubuntu).is_some());
        assert_eq!(os_warning(None, &ubuntu), None);
    }
}
