//! One provider per primitive type: observes, changes and gives back its resources on a real machine.
//!
//! The parts of a type that need no machine (path, unit, order, couplings) are in its `Resource` in
//! `plumb-api`. The match in [`of`] is exhaustive: a new type doesn't compile without a provider.

mod aliases;
mod apt;
mod apt_cache;
mod apt_install;
mod apt_update;
mod at_path;
mod bus;
mod check;
mod command;
mod context;
mod directory;
mod dpkg;
mod faults;
mod file;
mod group;
mod home_directory;
mod identity;
mod inputs;
mod link;
mod members;
mod package;
mod passwd;
mod policy_rc;
mod rivalry;
mod room;
mod service;
mod service_links;
mod service_settle;
mod settling;
mod start;
mod sysctl;
mod sysctl_files;
mod systemd;
mod unit;
mod unit_state;
mod user;

use std::collections::BTreeSet;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::Content;
use plumb_api::{Address, Kind, Observed, Spec};

pub(crate) use apt::transactions;
pub(crate) use at_path::missing_parents;
pub(crate) use context::{ApplyContext, Item, ItemChange, ObserveContext};
pub(crate) use faults::{RefusedField, is_refused, of_refused};
pub(crate) use identity::{Identities, Identity};
pub(crate) use inputs::{Inputs, has_inputs, inputs_after};
pub(crate) use settling::{Poll, Settling, SettlingItem};

use crate::book::{CreationStep, Ledger, Original};
use crate::error::{Result, fail};

/// The effect of a change, beyond what a new observation shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The change was made.
    Done,
    /// A unit was started or a command ran: it has read all its inputs.
    Started,
    /// A unit was reloaded.
    Reloaded,
    /// The resource stays, because others need it or have put entries into it.
    Left,
}

/// The way in which changes are handed to a type's provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// One by one, except those that [join](Provider::joins).
    Each,
    /// All that are ready, in one step.
    Whole,
}

/// The support of a type in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// Supported by files alone: the provider runs no program in a sandbox.
    Supported,
    /// Not supported.
    Unsupported,
}

/// The source from which a type is observed. Each source is queried on a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Inquiry {
    /// Files and the kernel.
    Files,
    /// Other programs, which take their time: `systemd`, `dpkg`. Types with the same one are observed one
    /// after the other.
    Programs(&'static str),
}

/// The lane of a change: changes of one lane are done in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Together with all types that have no lane of their own.
    Shared,
    /// Only with changes of the same type.
    Own(Kind),
    /// Only when no other lane is ready, so that all that these changes read is in place; the lower number
    /// first.
    Last(u8),
}

/// The code for one primitive type on a machine.
pub(crate) trait Provider: Sync {
    // Support, and grouping of changes.

    fn sandbox(&self) -> Sandbox {
        Sandbox::Unsupported
    }

    fn inquiry(&self) -> Inquiry {
        Inquiry::Files
    }

    fn lane(&self) -> Lane {
        Lane::Shared
    }

    fn batch(&self) -> Batch {
        Batch::Each
    }

    /// True if this change may be made in one step with neighbours of its type that may be too: their order
    /// doesn't matter.
    fn joins(&self, _spec: &Spec, _fields: &[FieldChange]) -> bool {
        false
    }

    /// Returns the path that a change writes to, if it writes to one: its file system must be writable and have
    /// room.
    fn written(&self, change: &ItemChange<'_>) -> Option<String> {
        change.address.kind().path(change.address.name())
    }

    // Identity.

    /// Resolves names to the things on this host that they mean. Returns one identity per item, in their
    /// order. A type whose things have several names (an alias, an architecture) returns the thing's own name
    /// for all of them; a name that can't be resolved is its own identity.
    fn identities(&self, _cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let own = |item: &Item<'_>| Identity::of_name(item.address);
        items.iter().map(own).collect()
    }

    // Observing.

    /// Observes all items. Returns one outcome per item, in their order.
    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>>;

    /// Returns the fields in which the host differs from the spec.
    fn compare(&self, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
        spec.compare(observed)
    }

    /// Adds to the differing fields what Plumb added to sets and the spec doesn't have any more. `managed` has
    /// all that Plumb may have added.
    fn withdraw(
        &self,
        _spec: &Spec,
        _managed: &Spec,
        _original: &Observed,
        _observed: &Observed,
        _fields: &mut Vec<FieldChange>,
    ) {
    }

    /// Returns the fields whose values the host writes in its own form: the form that it shows right after a
    /// change counts as the desired value.
    fn read_back_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// True if the observed resource has read its inputs as they are now.
    fn has_read_inputs(&self, _observed: &Observed) -> bool {
        false
    }

    /// Returns the path of a text that may be shown in a diff.
    fn text_path(&self, _address: &Address, _observed: &Observed) -> Option<String> {
        None
    }

    // Changing.

    /// Fails if the host would refuse this change. The frame calls it for the plan, and again before the
    /// change, so that a plan promises nothing that is then refused.
    fn check_change(&self, _cx: &ObserveContext<'_>, _change: &ItemChange<'_>) -> Result<()> {
        Ok(())
    }

    /// Returns the fields of a change that the host would refuse by themselves: the others are changed all the
    /// same. The frame calls it where it calls [`check_change`](Self::check_change).
    fn refused_fields(
        &self,
        _cx: &ObserveContext<'_>,
        _change: &ItemChange<'_>,
    ) -> Vec<RefusedField> {
        Vec::new()
    }

    /// Returns what a change loses although the spec doesn't name it, in phrases for people.
    fn losses(&self, _cx: &ObserveContext<'_>, _change: &ItemChange<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Returns the steps that are done only when a resource of this spec is made. They stay pending in the
    /// ledger until an observation shows that they succeeded.
    fn creation_steps(&self, _spec: &Spec) -> BTreeSet<CreationStep> {
        BTreeSet::new()
    }

    /// Applies all changes. Returns one outcome per item, in their order.
    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>>;

    /// Does the closing step that a batch needs once.
    fn settle(&self, _context: &mut ApplyContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Returns the code that waits until changes of the type have settled, or `None` if a change is over when
    /// it returns.
    fn settling(&self) -> Option<&dyn Settling> {
        None
    }

    /// Returns the code that handles the type's originals, or `None` if there is nothing to give back: such a
    /// resource only leaves the ledger when nothing desires it any more.
    fn give_back(&self) -> Option<&dyn GiveBack>;
}

/// Handles originals: their capture before Plumb's first change, and their return.
pub(crate) trait GiveBack {
    /// Returns a spec that names every field, so that the agent observes a complete original.
    fn full_spec(&self) -> Spec;

    /// Returns the spec that restores the original, in the fields that `managed` has.
    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec;

    /// Returns the spec that takes back what belongs to this name alone, when another desired resource names
    /// the same thing and so keeps it. Returns `None` if there is nothing of that kind.
    fn surrender_spec(&self) -> Option<Spec> {
        None
    }

    /// Describes the original for people. Returns `None` if nothing was there.
    fn describe(&self, original: &Observed) -> Option<String>;

    /// Returns the content that restoring the original needs.
    fn content(&self, _original: &Observed) -> Option<Content> {
        None
    }

    /// Sets the stored content in an original.
    fn set_content(&self, _original: &mut Observed, _kept: Content) {}

    /// Removes passing state from an observation, such as a pending reload.
    fn lasting(&self, observed: Observed) -> Observed {
        observed
    }
}

/// Returns the provider of a type.
pub(crate) fn of(kind: Kind) -> &'static dyn Provider {
    match kind {
        Kind::File => &file::Files,
        Kind::Directory => &directory::Directories,
        Kind::Link => &link::Links,
        Kind::Package => &package::Packages,
        Kind::Unit => &unit::Units,
        Kind::Service => &service::Services,
        Kind::User => &user::Users,
        Kind::Group => &group::Groups,
        Kind::Sysctl => &sysctl::Sysctls,
        Kind::Command => &command::Commands,
        Kind::Check => &check::Checks,
    }
}

/// Fails if the host would refuse this change, as it is now. Returns the fields that it refuses if there are
/// others that it takes.
pub(crate) fn check_change(
    cx: &ObserveContext<'_>,
    change: &ItemChange<'_>,
) -> Result<Vec<RefusedField>> {
    let provider = of(change.address.kind());
    provider.check_change(cx, change)?;
    room::check(provider, cx, change)?;
    let refused = provider.refused_fields(cx, change);
    let is_taken = |field: &FieldChange| !faults::is_refused(&refused, &field.field);
    if change.fields.iter().any(is_taken) {
        return Ok(refused);
    }
    faults::of_refused(&refused, None).map(|()| refused)
}

/// The reason for which a resource has a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The spec is desired.
    Desired,
    /// Nothing desires the resource any more; the spec restores its original.
    Restored,
}

/// Returns the fields in which the host differs from the spec. On the way out only the original counts: what
/// would run to bring a managed resource up to date doesn't run any more.
pub(crate) fn compare(direction: Direction, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
    let mut fields = of(spec.kind()).compare(spec, observed);
    if direction == Direction::Restored {
        let runs = spec.kind().run_fields();
        fields.retain(|change| !runs.contains(&change.field.as_str()));
    }
    fields
}

/// Returns the code that handles originals of this observation's type.
fn keeper(observed: &Observed) -> Option<&'static dyn GiveBack> {
    of(observed.kind()).give_back()
}

/// Returns the content that restoring an original needs.
pub(crate) fn kept_content(original: &Original) -> Option<Content> {
    keeper(&original.observed)?.content(&original.observed)
}

/// Describes an original for people. Returns `None` if nothing was there.
pub(crate) fn describe(original: &Original) -> Option<String> {
    keeper(&original.observed)?.describe(&original.observed)
}

/// Returns the digests of the contents that the ledger's originals need.
pub(crate) fn contents_of_originals(ledger: &Ledger) -> BTreeSet<String> {
    ledger
        .resources
        .values()
        .filter_map(|entry| kept_content(entry.original.as_ref()?))
        .map(|content| content.sha256.to_string())
        .collect()
}

/// Returns the error for a spec whose type isn't the address's, which is the controller's mistake.
fn wrong_type<T>(address: &Address) -> Result<T> {
    fail(
        ErrorCode::Protocol,
        format!("{address} came with the spec of another type"),
    )
}

/// Applies the changes one after the other.
fn each(
    cx: &mut ApplyContext<'_>,
    work: &[ItemChange<'_>],
    one: impl Fn(&mut ApplyContext<'_>, &ItemChange<'_>) -> Result<Effect>,
) -> Vec<Result<Effect>> {
    work.iter().map(|work| one(cx, work)).collect()
}

/// Returns the error for something that a sandbox doesn't have.
fn not_in_a_sandbox(what: &str) -> AgentError {
    AgentError::new(ErrorCode::Unsupported, format!("a sandbox has no {what}")).hint(
        "a sandbox has files, directories, links, units, sysctl files, users and groups; leave the rest out for this host, or drive a real one",
    )
}

#[cfg(test)]
mod tests {
    use plumb_api::resource::{
        FileType, RunState, ServiceObserved, ServiceSpec, Stale, UnitObserved, UnitSpec,
    };

    use super::*;

    fn fields(direction: Direction, spec: &Spec, observed: &Observed) -> Vec<String> {
        let all = compare(direction, spec, observed);
        all.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn on_the_way_out_a_pending_restart_does_not_count() {
        let service = Spec::Service(ServiceSpec::default());
        let stale = Observed::Service(ServiceObserved {
            known: true,
            state: Some(RunState::Started),
            stale: Stale::Restart,
            ..ServiceObserved::default()
        });
        assert_eq!(fields(Direction::Desired, &service, &stale), ["inputs"]);
        assert!(fields(Direction::Restored, &service, &stale).is_empty());
        let unit = Spec::Unit(UnitSpec {
            state: plumb_api::resource::Presence::Absent,
            ..UnitSpec::default()
        });
        let outdated = Observed::Unit(UnitObserved {
            file_type: FileType::Absent,
            needs_reload: true,
            ..UnitObserved::default()
        });
        assert_eq!(fields(Direction::Desired, &unit, &outdated), ["loaded"]);
        assert!(fields(Direction::Restored, &unit, &outdated).is_empty());
    }
}
