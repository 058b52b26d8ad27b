//! One provider per primitive type: how it is observed, changed and given back on a real machine.
//!
//! The match in [`of`] is exhaustive: a new type doesn't compile until it has a provider.

mod apt;
mod at_path;
mod bus;
mod directory;
mod file;
mod group;
mod inputs;
mod link;
mod package;
mod passwd;
mod policy_rc;
mod service;
mod start;
mod sysctl;
mod systemd;
mod unit;
mod user;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::OnceLock;
use std::thread;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, Principal};
use plumb_api::{Address, Kind, Observed, Spec};

pub(crate) use apt::transactions;
pub(crate) use at_path::missing_parents;
pub(crate) use inputs::{Inputs, inputs_after};

use crate::blobs::Blobs;
use crate::book::{Home, Ledger, Original, Originals, Owners, Record};
use crate::error::{Result, fail};
use crate::sys::{Accounts, Dir, Sys};

/// A resource to observe, and the spec that says which of its fields are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    pub address: &'a Address,
    pub spec: &'a Spec,
}

/// What providers see of the machine when they observe.
pub(crate) struct View<'a> {
    pub sys: &'a Sys,
    pub accounts: Accounts,
    pub owners: &'a Owners,
    pub inputs: Inputs<'a>,
    units: Vec<String>,
    systemd: OnceLock<Result<systemd::Snapshot>>,
}

/// What providers change the machine with.
pub(crate) struct Hands<'a> {
    pub sys: &'a Sys,
    pub home: &'a Home,
    pub accounts: Accounts,
    pub owners: Owners,
    pub blobs: &'a Blobs,
    pub originals: &'a Originals,
    /// The name that this run's temporary files have.
    pub temporary: &'a str,
    /// What the ledger has to know of what was done.
    pub records: Vec<Record>,
    /// Directories whose entries changed and aren't durable yet.
    pub unsynced: Vec<Dir>,
}

/// A resource to change, as it was found a moment ago.
pub(crate) struct Work<'a> {
    pub address: &'a Address,
    pub spec: &'a Spec,
    pub observed: &'a Observed,
    pub fields: &'a [FieldChange],
    /// Set when what was there before is given back.
    pub original: Option<&'a Original>,
}

impl Work<'_> {
    /// Whether this field is to change.
    pub(crate) fn changes(&self, field: &str) -> bool {
        self.fields.iter().any(|change| change.field == field)
    }
}

/// What a change came to, beyond what observing again shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It was done.
    Done,
    /// A unit was started or restarted: it has read all of its inputs.
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

/// A primitive type on a machine.
pub(crate) trait Provider: Sync {
    /// Observes all items, each with its own outcome, in their order.
    fn observe(&self, view: &View<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>>;

    /// A spec that names every field: what is observed for it is a whole original.
    fn everything(&self) -> Spec;

    /// The spec that gives the original back, in the fields that `managed` has.
    fn back(&self, original: &Observed, managed: Option<&Spec>) -> Spec;

    /// The fields in which the host differs.
    fn compare(&self, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
        spec.compare(observed)
    }

    fn batch(&self) -> Batch {
        Batch::Each
    }

    /// Whether this change may be made in one step with others of its type that come next to it and
    /// may too: nothing depends on which of them is first.
    fn joins(&self, _spec: &Spec, _fields: &[FieldChange]) -> bool {
        false
    }

    /// Changes the host, each item with its own outcome, in their order.
    fn apply(&self, hands: &mut Hands<'_>, work: &[Work<'_>]) -> Vec<Result<Effect>>;

    /// What a batch needs once at its end.
    fn settle(&self, _hands: &mut Hands<'_>) -> Result<()> {
        Ok(())
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
    }
}

/// The spec of another type than the address says: the controller's mistake.
fn wrong_type<T>(address: &Address) -> Result<T> {
    fail(
        ErrorCode::Protocol,
        format!("{address} came with the spec of another type"),
    )
}

impl<'a> View<'a> {
    /// A look at the machine for these items: the accounts as they are now, names that aren't local
    /// asked of the name service at once.
    pub(crate) fn new(
        sys: &'a Sys,
        owners: &'a Owners,
        inputs: Inputs<'a>,
        items: &[Item<'_>],
    ) -> Self {
        let mut accounts = Accounts::load(sys);
        let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for item in items {
            let (owner, group) = owners_of(item.spec);
            users.extend(owner.and_then(Principal::name));
            groups.extend(group.and_then(Principal::name));
        }
        accounts.ask(sys, users, groups);
        let units: BTreeSet<String> = items
            .iter()
            .filter_map(|item| systemd::unit_of(item.address))
            .collect();
        Self {
            sys,
            accounts,
            owners,
            inputs,
            units: units.into_iter().collect(),
            systemd: OnceLock::new(),
        }
    }

    /// What systemd says of the units among the items: asked once.
    fn systemd(&self) -> Result<&systemd::Snapshot> {
        self.systemd
            .get_or_init(|| systemd::show(self.sys, &self.units))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Observes items of all types, those that ask other programs side by side with the rest.
    pub(crate) fn observe(&self, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let lane = |kind: Kind| match kind {
            Kind::Package => 0,
            Kind::Unit | Kind::Service => 1,
            _ => 2,
        };
        let mut outcomes: Vec<Option<Result<Observed>>> = items.iter().map(|_| None).collect();
        let work = |wanted: usize| {
            let mut all = Vec::new();
            for kind in Kind::ALL.iter().filter(|kind| lane(**kind) == wanted) {
                let (places, mine): (Vec<usize>, Vec<Item<'_>>) = items
                    .iter()
                    .enumerate()
                    .filter(|(_, item)| item.address.kind() == *kind)
                    .map(|(place, item)| (place, *item))
                    .unzip();
                if !mine.is_empty() {
                    all.extend(places.into_iter().zip(of(*kind).observe(self, &mine)));
                }
            }
            all
        };
        let work = &work;
        let observed: Vec<(usize, Result<Observed>)> = thread::scope(|scope| {
            let slow: Vec<_> = (0..2)
                .filter(|wanted| {
                    items
                        .iter()
                        .any(|item| lane(item.address.kind()) == *wanted)
                })
                .map(|wanted| scope.spawn(move || work(wanted)))
                .collect();
            let mut all = work(2);
            for thread in slow {
                all.extend(thread.join().unwrap_or_default());
            }
            all
        });
        for (place, outcome) in observed {
            outcomes[place] = Some(outcome);
        }
        outcomes
            .into_iter()
            .zip(items)
            .map(|(outcome, item)| {
                outcome.unwrap_or_else(|| {
                    fail(
                        ErrorCode::Internal,
                        format!("{} wasn't observed", item.address),
                    )
                })
            })
            .collect()
    }
}

/// The owner and the group that a spec names.
fn owners_of(spec: &Spec) -> (Option<&Principal>, Option<&Principal>) {
    match spec {
        Spec::File(spec) => (spec.owner.as_ref(), spec.group.as_ref()),
        Spec::Directory(spec) => (spec.owner.as_ref(), spec.group.as_ref()),
        _ => (None, None),
    }
}

impl Hands<'_> {
    /// A content's bytes: sent with this plan, or kept as an original.
    pub(crate) fn content(&self, content: &Content, path: &str) -> Result<Box<dyn Read>> {
        if content.size == 0 {
            return Ok(Box::new(std::io::empty()));
        }
        if let Some(blob) = self.blobs.open(&content.sha256)? {
            return Ok(blob);
        }
        if self.originals.has(content)? {
            return Ok(Box::new(self.originals.must(content, path)?));
        }
        fail(
            ErrorCode::MissingContent,
            format!(
                "the content for {path} ({} bytes) didn't come with the plan",
                content.size
            ),
        )
    }

    /// Makes changed directories durable.
    pub(crate) fn sync_directories(&mut self) -> Result<()> {
        self.unsynced.drain(..).try_for_each(|dir| dir.sync())
    }
}

/// What each item's work comes to, one by one.
fn each(
    hands: &mut Hands<'_>,
    work: &[Work<'_>],
    one: impl Fn(&mut Hands<'_>, &Work<'_>) -> Result<Effect>,
) -> Vec<Result<Effect>> {
    work.iter().map(|work| one(hands, work)).collect()
}

/// What can't be had in a sandbox.
fn not_in_a_sandbox(what: &str) -> AgentError {
    AgentError::new(ErrorCode::Unsupported, format!("a sandbox has no {what}")).hint(
        "a sandbox has files, directories, links, units, sysctl files, users and groups; leave the rest out for this host, or drive a real one",
    )
}

/// Asks for nothing that the ledger hasn't: a ledger and a desired state for `Inputs` in tests and originals.
pub(crate) fn originals_named(ledger: &Ledger) -> BTreeSet<String> {
    ledger
        .resources
        .values()
        .filter_map(|entry| entry.original.as_ref()?.content())
        .map(|content| content.sha256.to_string())
        .collect()
}
