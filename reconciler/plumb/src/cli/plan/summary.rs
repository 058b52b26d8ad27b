//! Summarises the plans of a fleet for one screen.

use std::collections::BTreeMap;

use plumb_api::HostName;
use plumb_api::plan::{Cause, Consequence, Op};
use plumb_core::plan::Planned;

use super::rows::{Block, blocks};

/// The plans of a fleet.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    /// The lines of all plans, grouped by hosts; the group with the most hosts comes first.
    pub(super) blocks: Vec<Block<'a>>,
    /// Hosts with nothing to show: no changes, problems or drift.
    pub(super) settled: Vec<&'a HostName>,
    /// The totals of all hosts.
    pub(super) totals: Totals,
}

/// Counts of changes, by kind and by danger.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    /// Hosts that change.
    pub(super) hosts: u32,
    pub(super) create: u32,
    pub(super) update: u32,
    pub(super) replace: u32,
    pub(super) delete: u32,
    /// Restarts and reloads that no other change includes.
    pub(super) run: u32,
    /// Changes that correct drift.
    pub(super) drift: u32,
    /// Changes of fields that both git and the host changed.
    pub(super) conflict: u32,
    /// Changes that interrupt something that is running.
    pub(super) disrupted: u32,
    /// Changes that reboot a host.
    pub(super) reboots: u32,
    /// Hosts on which a change could cut off a login session.
    pub(super) sessions_at_risk: u32,
    /// Hosts on which Plumb may not change anything.
    pub(super) refused: u32,
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

/// Summarises the plans of a fleet.
pub(super) fn summarise(plans: &BTreeMap<HostName, Planned>) -> Summary<'_> {
    let mut settled = Vec::new();
    let mut totals = Totals::default();
    for (host, planned) in plans {
        totals.add(planned);
        let nothing = planned.plan.is_empty()
            && planned.refusal.is_none()
            && planned.problems.is_empty()
            && planned.reportable_drift().next().is_none();
        if nothing {
            settled.push(host);
        }
    }
    Summary {
        blocks: blocks(plans.iter().filter(|(host, _)| !settled.contains(host))),
        settled,
        totals,
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::Digest;
    use plumb_api::plan::{Certainty, Change, ChangeId, Plan};

    use super::*;

    fn planned(op: Option<Op>) -> Planned {
        let change = |op| Change {
            id: ChangeId(0),
            address: "file:/etc/a".parse().unwrap(),
            op,
            cause: Cause::Intent,
            certainty: Certainty::Exact,
            fields: Vec::new(),
            consequences: Vec::new(),
            precondition: None,
            after: Vec::new(),
        };
        Planned {
            plan: Plan {
                target: Digest::of_bytes(b""),
                changes: op.map(change).into_iter().collect(),
                confirm: Vec::new(),
                forget: Vec::new(),
            },
            refusal: None,
            held_drift: Vec::new(),
            problems: Vec::new(),
            blocked: Vec::new(),
            leaving: std::collections::BTreeSet::new(),
            origins: BTreeMap::new(),
            diffs: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn what_hosts_have_in_common_is_shown_once() {
        let plans = [
            ("a", Some(Op::Create)),
            ("b", None),
            ("c", Some(Op::Update)),
            ("d", Some(Op::Create)),
        ];
        let plans = plans.map(|(name, op)| (name.parse().unwrap(), planned(op)));
        let plans = BTreeMap::from(plans);
        let summary = summarise(&plans);
        let names = |hosts: &[&HostName]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&summary.blocks[0].hosts), ["a", "d"]);
        assert_eq!(names(&summary.blocks[1].hosts), ["c"]);
        assert_eq!(names(&summary.settled), ["b"]);
        let totals = summary.totals;
        assert_eq!((totals.hosts, totals.create, totals.update), (3, 2, 1));
    }
}
