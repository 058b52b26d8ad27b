//! One provider per primitive type: how it is observed, changed and given back on a real machine.
//!
//! What a type is without a machine (path, unit, order, couplings) its `Resource` says in
//! `plumb-api`. The match in [`of`] is exhaustive: a new type doesn't compile without a provider.

mod apt;
mod at_path;
mod bus;
mod check;
mod command;
mod context;
mod directory;
mod file;
mod group;
mod inputs;
mod link;
mod package;
mod passwd;
mod policy_rc;
mod service;
mod service_links;
mod start;
mod sysctl;
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
pub(crate) use inputs::{Inputs, has_inputs, inputs_after};

use crate::book::{Ledger, Original};
use crate::error::{Result, fail};

/// The effect of a change, beyond what observing again shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It was done.
    Done,
    /// A unit was started or a command ran: it has read all of its inputs.
    Started,
    /// A unit was reloaded.
    Reloaded,
    /// It stays, because others have put things into it.
    Left,
}

/// How changes of a type are handed to its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// One by one, but for those that [join](Provider::joins).
    Each,
    /// All that are ready in one step.
    Whole,
}

/// Whether a type can be had in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// By files alone; its provider never runs a program there.
    Supported,
    /// Not at all.
    Unsupported,
}

/// The source that a type is observed from. Each is asked on a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Inquiry {
    /// Files and the kernel.
    Files,
    /// Other programs, which take their time: `systemd`, `dpkg`. Types that name the same one are
    /// observed one after the other.
    Programs(&'static str),
}

/// The changes that are done in one batch with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// With all types that name no lane of their own.
    Shared,
    /// With those of the same type alone.
    Own(Kind),
    /// With those of the same lane, when nothing else is ready, so that what they read is in place;
    /// the lower lane first.
    Last(u8),
}

/// A primitive type on a machine.
pub(crate) trait Provider: Sync {
    // Where it can be had, and with what it is done together.

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

    /// True if this change may be made in one step with others of its type that come next to it and
    /// may too: nothing depends on which of them is first.
    fn joins(&self, _spec: &Spec, _fields: &[FieldChange]) -> bool {
        false
    }

    /// A path on the file system that a change writes to: room is checked there beforehand.
    fn written(&self, address: &Address) -> Option<String> {
        address.kind().path(address.name())
    }

    // What is there.

    /// Observes all items, each with its own outcome, in their order.
    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>>;

    /// Returns the fields in which the host differs.
    fn compare(&self, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
        spec.compare(observed)
    }

    /// True if what was found has read its inputs as they are now.
    fn has_read_inputs(&self, _observed: &Observed) -> bool {
        false
    }

    /// The path of a text that may be shown beside what is desired.
    fn text_path(&self, _address: &Address, _observed: &Observed) -> Option<String> {
        None
    }

    // What is done.

    /// Changes the host, each item with its own outcome, in their order.
    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>>;

    /// Does what a batch needs once at its end.
    fn settle(&self, _context: &mut ApplyContext<'_>) -> Result<()> {
        Ok(())
    }

    /// What is kept from before the first change, and given back. `None` if there is nothing to
    /// give back: the resource is forgotten when nothing desires it any more.
    fn give_back(&self) -> Option<&dyn GiveBack>;
}

/// Keeping what was there before Plumb's first change, and giving it back.
pub(crate) trait GiveBack {
    /// A spec that names every field: what is observed for it is a whole original.
    fn full_spec(&self) -> Spec;

    /// The spec that gives the original back, in the fields that `managed` has.
    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec;

    /// The original in a phrase for people; `None` if nothing was there.
    fn describe(&self, original: &Observed) -> Option<String>;

    /// The content that giving it back needs.
    fn content(&self, _original: &Observed) -> Option<Content> {
        None
    }

    /// Names the kept content in an original.
    fn set_content(&self, _original: &mut Observed, _kept: Content) {}

    /// Takes out of an observation what passes by itself.
    fn lasting(&self, observed: Observed) -> Observed {
        observed
    }
}

/// The provider of a type.
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

/// How the type of an observation keeps and gives back.
fn keeper(observed: &Observed) -> Option<&'static dyn GiveBack> {
    of(observed.kind()).give_back()
}

/// The content that giving an original back needs.
pub(crate) fn kept_content(original: &Original) -> Option<Content> {
    keeper(&original.observed)?.content(&original.observed)
}

/// An original in a phrase for people; `None` if nothing was there.
pub(crate) fn describe(original: &Original) -> Option<String> {
    keeper(&original.observed)?.describe(&original.observed)
}

/// Digests of the contents that the ledger's originals need.
pub(crate) fn contents_of_originals(ledger: &Ledger) -> BTreeSet<String> {
    ledger
        .resources
        .values()
        .filter_map(|entry| kept_content(entry.original.as_ref()?))
        .map(|content| content.sha256.to_string())
        .collect()
}

/// The error about the spec of another type than the address says: the controller's mistake.
fn wrong_type<T>(address: &Address) -> Result<T> {
    fail(
        ErrorCode::Protocol,
        format!("{address} came with the spec of another type"),
    )
}

/// Changes each item by itself, one after the other.
fn each(
    cx: &mut ApplyContext<'_>,
    work: &[ItemChange<'_>],
    one: impl Fn(&mut ApplyContext<'_>, &ItemChange<'_>) -> Result<Effect>,
) -> Vec<Result<Effect>> {
    work.iter().map(|work| one(cx, work)).collect()
}

/// The error about what a sandbox hasn't.
fn not_in_a_sandbox(what: &str) -> AgentError {
    AgentError::new(ErrorCode::Unsupported, format!("a sandbox has no {what}")).hint(
        "a sandbox has files, directories, links, units, sysctl files, users and groups; leave the rest out for this host, or drive a real one",
    )
}
