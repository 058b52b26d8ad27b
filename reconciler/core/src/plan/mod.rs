//! Planning: computes the changes that a host needs, with their causes, from its differences.
//!
//! Planning is pure and never fails: every report of a host leads to a plan, or to a [`Refusal`] with a
//! reason. The resource types themselves, in `plumb-api`, define how they differ from each other; this module
//! names none of them.

mod cause;
mod change;
mod graph;
mod lines;
mod refusal;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::frame::{Difference, DifferenceState, ObserveReport};
use plumb_api::plan::{Cause, Change, FieldChange, Plan};
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Couplings, reads};
use plumb_api::{Address, CompositeAddress, Spec};
use serde::Serialize;

use crate::desired::{DesiredState, DriftMode, HostIntent, Lifecycle};

pub use lines::{ContentDiff, NotShown, content_diffs, unified};
pub use refusal::Refusal;

use self::change::Draft;

/// The options of one plan, which override the host's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// The drift mode to use instead of the one in the host's manifest.
    pub drift: Option<DriftMode>,
}

/// The plan for a host, and everything that the plan leaves unchanged, with reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The changes. Empty if the plan is refused.
    pub plan: Plan,
    /// The reason why nothing may be changed; `None` if the plan isn't refused.
    pub refusal: Option<Refusal>,
    /// Drift that the plan doesn't correct.
    pub held_drift: Vec<HeldDrift>,
    /// Resources that can't be observed or aren't supported on this host, or whose change the host refuses.
    pub problems: Vec<FailedResource>,
    /// Resources that differ and whose change depends on one of [`problems`](Self::problems).
    pub blocked: Vec<Blocked>,
    /// Resources in the ledger that are no longer desired and that haven't been removed or restored yet.
    pub leaving: BTreeSet<Address>,
    /// The composite from which each resource of this plan was expanded, if there is one.
    pub origins: BTreeMap<Address, CompositeAddress>,
    /// The lines in which contents differ, for people; see [`content_diffs`].
    pub diffs: BTreeMap<Address, ContentDiff>,
}

/// Drifted fields of a resource that the plan doesn't correct.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldDrift {
    /// The resource.
    pub address: Address,
    /// The fields.
    pub fields: Vec<FieldChange>,
    /// [`DriftMode::Alert`] or [`DriftMode::Ignore`].
    pub mode: DriftMode,
}

/// A resource that can't be observed or isn't supported on this host, or whose change the host refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedResource {
    /// The resource.
    pub address: Address,
    /// The kind of problem.
    pub trouble: Trouble,
    /// The agent's error.
    pub error: AgentError,
}

/// A kind of problem with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The host couldn't observe the resource, or doesn't support it.
    Unobserved,
    /// The host observed the resource, but refuses the change.
    Refused,
}

/// A resource whose change waits for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The resource.
    pub address: Address,
    /// The resource that it waits for.
    pub on: Address,
}

impl Planned {
    /// True if the host is as desired and its ledger is up to date: there is nothing to change or report.
    pub fn is_settled(&self) -> bool {
        self.refusal.is_none()
            && self.plan.is_settled()
            && self.problems.is_empty()
            && self.reportable_drift().next().is_none()
    }

    /// Returns an address, followed by the composite from which it was expanded, for people.
    pub fn name(&self, address: &Address) -> String {
        match self.origins.get(address) {
            Some(origin) => format!("{address} (from {origin})"),
            None => address.to_string(),
        }
    }

    /// Returns the drift that the plan doesn't correct and that must be reported.
    pub fn reportable_drift(&self) -> impl Iterator<Item = &HeldDrift> {
        self.held_drift
            .iter()
            .filter(|held| held.mode == DriftMode::Alert)
    }

    /// Returns the changes that correct drift.
    pub fn corrections(&self) -> impl Iterator<Item = &Change> {
        self.plan
            .changes
            .iter()
            .filter(|change| matches!(change.cause, Cause::Drift | Cause::Conflict))
    }

    /// Returns the addresses of all desired resources that differ, sorted.
    pub fn differing(&self) -> BTreeSet<&Address> {
        let changes = self.plan.changes.iter().map(|change| &change.address);
        let held = self.reportable_drift().map(|held| &held.address);
        let problems = self.problems.iter().map(|troubled| &troubled.address);
        let blocked = self.blocked.iter().map(|blocked| &blocked.address);
        let all = changes.chain(held).chain(problems).chain(blocked);
        all.filter(|address| !self.leaving.contains(*address))
            .collect()
    }
}

/// Returns the state that the plan leads to; empty if the host is retired.
pub fn goal(intent: &HostIntent) -> DesiredState {
    if intent.lifecycle == Lifecycle::Retired {
        DesiredState::new(BTreeMap::new())
    } else {
        intent.desired.clone()
    }
}

/// Plans the changes that bring a host from the observed to the desired state.
pub fn plan(intent: &HostIntent, observed: &ObserveReport, options: PlanOptions) -> Planned {
    let goal = goal(intent);
    let mut planned = Planned {
        plan: Plan {
            target: goal.digest(),
            changes: Vec::new(),
            confirm: Vec::new(),
            forget: Vec::new(),
        },
        refusal: refusal::before(intent, &goal, observed),
        held_drift: Vec::new(),
        problems: Vec::new(),
        blocked: Vec::new(),
        leaving: observed
            .differences
            .iter()
            .map(|difference| &difference.address)
            .filter(|address| goal.get(address).is_none())
            .cloned()
            .collect(),
        origins: observed
            .differences
            .iter()
            .filter_map(|difference| {
                let origin = goal.origin(&difference.address)?;
                Some((difference.address.clone(), origin.clone()))
            })
            .collect(),
        diffs: BTreeMap::new(),
    };
    let mode = options.drift.unwrap_or(intent.drift.mode);
    let mut drafts = BTreeMap::new();
    let mut refused = BTreeMap::new();
    let mut found = BTreeMap::new();
    for difference in &observed.differences {
        found.insert(&difference.address, difference);
        let Some(draft) = plan_difference(intent, &goal, mode, difference, &mut planned) else {
            continue;
        };
        match &difference.refusal {
            None => drop(drafts.insert(difference.address.clone(), draft)),
            Some(error) => drop(refused.insert(difference.address.clone(), (draft, error))),
        }
    }
    vacate(&goal, &mut drafts, &mut refused);
    if planned.refusal.is_none() {
        planned.refusal = refusal::existing(intent, drafts.values());
    }
    if planned.refusal.is_some() {
        return planned;
    }
    let all = goal.resources().keys().chain(found.keys().copied());
    let couplings = Couplings::new(all, &observed.aliases);
    let edges = graph::order(&goal, &observed.differences, &couplings);
    refuse(&edges, refused, &mut drafts, &mut planned);
    block(&edges, &mut drafts, &mut planned);
    runs::predict(&goal, &found, &couplings, &mut drafts);
    planned.plan.changes = graph::lay_out(drafts, &edges);
    // A resource that only reacts to other changes has no difference, so its origin isn't known yet.
    for change in &planned.plan.changes {
        if let Some(origin) = goal.origin(&change.address) {
            planned
                .origins
                .insert(change.address.clone(), origin.clone());
        }
    }
    planned.plan.confirm = in_goal(&goal, &observed.unconfirmed);
    planned.plan.forget = observed
        .gone
        .iter()
        .filter(|address| goal.get(address).is_none())
        .cloned()
        .collect();
    planned
}

/// Plans one difference: returns its change, if there is one, and adds uncorrected drift or a problem to
/// `planned`.
fn plan_difference(
    intent: &HostIntent,
    goal: &DesiredState,
    mode: DriftMode,
    difference: &Difference,
    planned: &mut Planned,
) -> Option<Draft> {
    let address = &difference.address;
    match (&difference.state, goal.get(address)) {
        (DifferenceState::Unsupported(error) | DifferenceState::Unobservable(error), _) => {
            planned.problems.push(FailedResource {
                address: address.clone(),
                trouble: Trouble::Unobserved,
                error: error.clone(),
            });
            None
        }
        (DifferenceState::Differs, Some(spec)) => {
            let judged = cause::judge(&intent.drift, mode, spec, difference);
            let held = [
                (DriftMode::Alert, judged.told),
                (DriftMode::Ignore, judged.ignored),
            ];
            for (mode, fields) in held {
                if !fields.is_empty() {
                    planned.held_drift.push(HeldDrift {
                        address: address.clone(),
                        fields,
                        mode,
                    });
                }
            }
            Draft::towards(spec, difference, judged.changed)
        }
        // The desired state decides about removal, not the host's report.
        (DifferenceState::Undesired, None) => Some(Draft::removal(difference)),
        (DifferenceState::Undesired, Some(_)) | (DifferenceState::Differs, None) => None,
    }
}

/// A change that the host would refuse in its present state, with the host's error.
type Refused<'a> = (Draft, &'a AgentError);

/// Adapts the changes whose path an earlier change of the plan frees. If the host refuses such a change, that
/// is ignored, because the refusal only concerns what is at the path now.
fn vacate(
    goal: &DesiredState,
    drafts: &mut BTreeMap<Address, Draft>,
    refused: &mut BTreeMap<Address, Refused<'_>>,
) {
    let place = |address: &Address| address.kind().path(address.name());
    let goes = |address: &Address| goal.get(address).is_none_or(Spec::wants_absent);
    let vacated: BTreeSet<_> = drafts
        .keys()
        .filter(|a| goes(a))
        .filter_map(place)
        .collect();
    let freed = |address: &Address| {
        !goes(address) && place(address).is_some_and(|place| vacated.contains(&place))
    };
    let (settled, rest) = std::mem::take(refused)
        .into_iter()
        .partition(|(address, (_, error))| error.code == ErrorCode::Refused && freed(address));
    *refused = rest;
    let settled: BTreeMap<Address, Refused<'_>> = settled;
    drafts.extend(
        settled
            .into_iter()
            .map(|(address, (draft, _))| (address, draft)),
    );
    for (address, draft) in drafts {
        if freed(address) {
            draft.vacated();
        }
    }
}

/// Turns refused changes into problems. A refused change stays in the plan in two cases: an earlier change may
/// create the name that the host misses (a user, for example), or an earlier change affects a file that the
/// resource reads, such as its unit file.
fn refuse(
    edges: &graph::Edges,
    refused: BTreeMap<Address, Refused<'_>>,
    drafts: &mut BTreeMap<Address, Draft>,
    planned: &mut Planned,
) {
    for (address, (mut draft, error)) in refused {
        let earlier = || drafts.keys().any(|other| edges.reaches(&address, other));
        let reads_earlier = || drafts.keys().any(|other| reads(&address, other));
        if error.code == ErrorCode::NotFound && earlier() || reads_earlier() {
            draft.predicted();
            drafts.insert(address, draft);
        } else {
            planned.problems.push(FailedResource {
                address,
                trouble: Trouble::Refused,
                error: error.clone(),
            });
        }
    }
}

/// Removes the changes that depend on a resource with a problem.
fn block(edges: &graph::Edges, drafts: &mut BTreeMap<Address, Draft>, planned: &mut Planned) {
    for troubled in &planned.problems {
        for address in edges.behind(&troubled.address) {
            if drafts.remove(&address).is_some() {
                planned.blocked.push(Blocked {
                    address,
                    on: troubled.address.clone(),
                });
            }
        }
    }
}

/// Returns those of the given addresses that are desired. A host's report can't confirm any other resource.
fn in_goal(goal: &DesiredState, addresses: &[Address]) -> Vec<Address> {
    addresses
        .iter()
        .filter(|address| goal.get(address).is_some())
        .cloned()
        .collect()
}

/// Returns the spec that determines the order of a resource: the desired one, or the last confirmed one if the
/// resource is removed.
fn spec_of<'a>(
    goal: &'a DesiredState,
    differences: &'a BTreeMap<&Address, &'a Difference>,
    address: &Address,
) -> Option<&'a Spec> {
    goal.get(address).or_else(|| {
        differences
            .get(address)
            .and_then(|difference| difference.confirmed.as_ref())
    })
}
