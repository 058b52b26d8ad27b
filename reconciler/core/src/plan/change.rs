//! Drafts: planned changes whose position in the plan isn't known yet.

use std::collections::BTreeSet;

use plumb_api::frame::Difference;
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Consequence, FieldChange, Op};
use plumb_api::{Address, Digest, Observed, Spec};

use super::cause::{self, CausedField};

/// A planned change with its action and cause, before it gets its position in the plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    address: Address,
    op: Op,
    cause: Cause,
    certainty: Certainty,
    fields: Vec<FieldChange>,
    consequences: BTreeSet<Consequence>,
    precondition: Option<Digest>,
    foreign: bool,
    invalidates: bool,
}

impl Draft {
    /// Creates the change that brings a resource to its spec; `None` if no field may change.
    pub(super) fn towards(
        spec: &Spec,
        difference: &Difference,
        moved: Vec<CausedField>,
    ) -> Option<Self> {
        if moved.is_empty() {
            return None;
        }
        let address = difference.address.clone();
        let found = difference.observed.as_ref();
        let cause = cause::united(moved.iter().map(|moved| moved.cause));
        let fields: Vec<_> = moved.into_iter().map(|moved| moved.change).collect();
        let exists = found.is_none_or(Observed::exists);
        // A field that changes by itself, such as the state of a starting unit, may be different by the time
        // of the change. So the observed state can't be a precondition.
        let own = |field: &FieldChange| found.is_some_and(|f| spec.by_itself(f, &field.field));
        let steady = !fields.iter().any(own);
        let runs = spec.kind().run_fields();
        let op = if spec.wants_absent() {
            Op::Delete
        } else if fields.iter().all(|f| runs.contains(&f.field.as_str())) {
            Op::Run
        } else if !exists {
            Op::Create
        } else if found.is_some_and(|found| spec.replaces(found)) {
            Op::Replace
        } else {
            Op::Update
        };
        let mut consequences: BTreeSet<_> = spec
            .consequences(address.name(), &fields)
            .into_iter()
            .collect();
        let removed = consequences
            .iter()
            .any(|c| matches!(c, Consequence::Removes(_)));
        if exists && matches!(op, Op::Delete | Op::Replace) && !removed {
            consequences.insert(Consequence::Removes(address.to_string()));
        }
        consequences.extend(difference.losses.iter().cloned().map(Consequence::Loses));
        Some(Self {
            op,
            cause,
            certainty: spec.certainty(found),
            fields,
            consequences,
            precondition: found
                .filter(|_| steady)
                .and_then(|found| found.digest().ok()),
            foreign: difference.confirmed.is_none() && exists && op != Op::Run,
            invalidates: spec.invalidates(),
            address,
        })
    }

    /// Creates the change that removes a resource that is no longer desired, or restores its original.
    pub(super) fn removal(difference: &Difference) -> Self {
        let confirmed = difference.confirmed.as_ref();
        let found = difference.observed.as_ref();
        let what = difference.address.to_string();
        let consequence = match &difference.original {
            Some(original) => Consequence::GivesBack(format!("{what} ({original})")),
            None => Consequence::Removes(what),
        };
        Self {
            address: difference.address.clone(),
            op: Op::Delete,
            // Git decides about the removal, whatever the host's state is by now.
            cause: Cause::Intent,
            certainty: Certainty::Exact,
            fields: difference.fields.clone(),
            consequences: [consequence].into(),
            precondition: found.and_then(|found| found.digest().ok()),
            foreign: false,
            invalidates: confirmed.is_some_and(Spec::invalidates),
        }
    }

    /// Creates the change that runs a resource (a restart or a command, for example) in reaction to another
    /// change of the plan.
    pub(super) fn run(address: &Address, spec: &Spec, cause: Cause) -> Self {
        Self {
            address: address.clone(),
            op: Op::Run,
            cause,
            certainty: match spec.certainty(None) {
                Certainty::Opaque => Certainty::Opaque,
                Certainty::Exact | Certainty::Predicted => Certainty::Predicted,
            },
            fields: Vec::new(),
            consequences: BTreeSet::new(),
            precondition: None,
            foreign: false,
            invalidates: spec.invalidates(),
        }
    }

    /// Adds a reaction of the resource to another change of the plan.
    pub(super) fn react(&mut self, effect: Consequence) {
        let (rank, word) = match effect {
            Consequence::Reloads(_) => (1, "reloaded"),
            Consequence::Runs(_) => (2, "done"),
            _ => (2, "restarted"),
        };
        // A restart includes a reload, so a reload is dropped next to a restart.
        let weaker = |c: &Consequence| matches!(c, Consequence::Reloads(_));
        let stronger = self
            .consequences
            .iter()
            .any(|c| matches!(c, Consequence::Restarts(_)));
        if rank == 1 && stronger {
            return;
        }
        self.consequences.retain(|c| !weaker(c));
        self.consequences.insert(effect);
        for field in self.address.kind().reaction_fields() {
            self.fields.retain(|change| change.field != *field);
            self.fields.push(FieldChange::new(field, "stale", word));
        }
        self.unforeseen();
    }

    /// Drops the precondition, because an earlier change of the plan may alter the state that this change
    /// finds.
    pub(super) fn unforeseen(&mut self) {
        self.precondition = None;
    }

    /// Marks the change as predicted, because its action depends on an earlier change.
    pub(super) fn predicted(&mut self) {
        self.unforeseen();
        if self.certainty == Certainty::Exact {
            self.certainty = Certainty::Predicted;
        }
    }

    /// Adapts the draft to an earlier change of the plan, which removes what is at the draft's path now.
    pub(super) fn vacated(&mut self) {
        self.predicted();
        self.foreign = false;
        if self.op == Op::Replace {
            self.op = Op::Create;
            let own = Consequence::Removes(self.address.to_string());
            self.consequences.remove(&own);
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn op(&self) -> Op {
        self.op
    }

    pub(super) fn cause(&self) -> Cause {
        self.cause
    }

    /// True if the change would affect something that Plumb didn't create.
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// True if the change may alter the observed state of other resources.
    pub(super) fn invalidates(&self) -> bool {
        self.invalidates || self.op == Op::Replace
    }

    /// Returns the change with this id and these predecessors.
    pub(super) fn place(self, id: ChangeId, after: Vec<ChangeId>) -> Change {
        Change {
            id,
            address: self.address,
            op: self.op,
            cause: self.cause,
            certainty: self.certainty,
            fields: self.fields,
            consequences: self.consequences.into_iter().collect(),
            precondition: self.precondition,
            after,
        }
    }
}
