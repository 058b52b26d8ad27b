//! What a fleet's plans come to, for one screen: hosts that do the same are one group.

use std::collections::BTreeMap;

use plumb_api::plan::{Cause, Change, Consequence, Op};
use plumb_api::{Digest, HostName};
use serde::Serialize;

use super::{Blocked, HeldDrift, Planned, Refusal, Troubled};

/// The plans of a fleet in groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary<'a> {
    /// Hosts that aren't as desired, alike ones together; the largest group first.
    pub groups: Vec<Group<'a>>,
    /// Hosts for which nothing is to be done.
    pub settled: Vec<&'a HostName>,
    /// Of all hosts together.
    pub totals: Totals,
}

/// Hosts of which the same is to be said.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// The hosts, by name.
    pub hosts: Vec<&'a HostName>,
    /// The plan of one of them, which names their resources.
    pub planned: &'a Planned,
    /// What is done on each.
    pub changes: &'a [Change],
    /// Drift that is left on each.
    pub held_drift: &'a [HeldDrift],
    /// What couldn't be looked at.
    pub problems: &'a [Troubled],
    /// What waits for that.
    pub blocked: &'a [Blocked],
    /// Why nothing may be done.
    pub refusal: Option<&'a Refusal>,
}

/// How much is done, and how dangerous it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Hosts that change.
    pub hosts: u32,
    /// Resources that are made.
    pub create: u32,
    /// Resources that change in place.
    pub update: u32,
    /// Resources that are made anew.
    pub replace: u32,
    /// Resources that go.
    pub delete: u32,
    /// Restarts and reloads on their own.
    pub run: u32,
    /// Changes that put back what moved on a host.
    pub drift: u32,
    /// Changes that override what moved on a host and in git.
    pub conflict: u32,
    /// Running things that are interrupted.
    pub disrupted: u32,
    /// Machines that restart.
    pub reboots: u32,
    /// Hosts on which a login may be cut.
    pub sessions_at_risk: u32,
    /// Hosts on which nothing may be done.
    pub refused: u32,
}

impl Totals {
    fn add(&mut self, planned: &Planned) {
        self.hosts += u32::from(!planned.plan.is_empty());
        self.refused += u32::from(planned.refusal.is_some());
        let mut at_risk = false;
        for change in &planned.plan.changes {
            *match change.op {
                Op::Create => &mut self.create,
                Op::Update => &mut self.update,
                Op::Replace => &mut self.replace,
                Op::Delete => &mut self.delete,
                Op::Run => &mut self.run,
            } += 1;
            self.drift += u32::from(change.cause == Cause::Drift);
            self.conflict += u32::from(change.cause == Cause::Conflict);
            for consequence in &change.consequences {
                self.disrupted += u32::from(consequence.disrupts());
                self.reboots += u32::from(*consequence == Consequence::Reboots);
                at_risk |= matches!(consequence, Consequence::SessionsAtRisk(_));
            }
        }
        self.sessions_at_risk += u32::from(at_risk);
    }
}

/// Puts the plans of a fleet into groups of hosts alike.
pub fn summarise(plans: &BTreeMap<HostName, Planned>) -> Summary<'_> {
    let mut groups: BTreeMap<Digest, Group<'_>> = BTreeMap::new();
    let mut settled = Vec::new();
    let mut totals = Totals::default();
    for (host, planned) in plans {
        totals.add(planned);
        let nothing = planned.plan.is_empty()
            && planned.refusal.is_none()
            && planned.problems.is_empty()
            && planned.drift_to_tell().next().is_none();
        if nothing {
            settled.push(host);
            continue;
        }
        groups
            .entry(likeness(planned))
            .or_insert_with(|| Group {
                hosts: Vec::new(),
                planned,
                changes: &planned.plan.changes,
                held_drift: &planned.held_drift,
                problems: &planned.problems,
                blocked: &planned.blocked,
                refusal: planned.refusal.as_ref(),
            })
            .hosts
            .push(host);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        b.hosts
            .len()
            .cmp(&a.hosts.len())
            .then_with(|| a.hosts.cmp(&b.hosts))
    });
    Summary {
        groups,
        settled,
        totals,
    }
}

/// Hosts with equal ones are told of together. Everything that a reader sees goes into it;
/// preconditions don't.
fn likeness(planned: &Planned) -> Digest {
    let mut text = String::new();
    let mut line = |part: String| {
        text.push_str(&part);
        text.push('\n');
    };
    for change in &planned.plan.changes {
        line(format!(
            "{:?} {} {:?} {:?} {:?} {:?}",
            change.op,
            change.address,
            change.cause,
            change.certainty,
            change.fields,
            change.consequences
        ));
    }
    for held in &planned.held_drift {
        line(format!("{held:?}"));
    }
    for troubled in &planned.problems {
        line(format!("{troubled:?}"));
    }
    for blocked in &planned.blocked {
        line(format!("{blocked:?}"));
    }
    line(format!("{:?}", planned.refusal));
    Digest::of_bytes(text.as_bytes())
}
