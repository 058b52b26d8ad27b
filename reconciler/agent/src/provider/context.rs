//! The contexts in which providers observe and change the machine.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::OnceLock;
use std::thread;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, Principal};
use plumb_api::{Address, Kind, Observed, Spec};

use super::{Identities, Inputs, Inquiry, Provider, Sandbox, not_in_a_sandbox, of, systemd};
use crate::blobs::Blobs;
use crate::book::{CreationStep, Desired, Home, Original, Originals, Owners, Record};
use crate::error::{Result, fail};
use crate::sys::{Accounts, Dir, Sys};

/// A resource to observe, and a spec whose fields determine what is observed.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    pub address: &'a Address,
    pub spec: &'a Spec,
}

/// Everything that providers need to observe resources.
pub(crate) struct ObserveContext<'a> {
    pub sys: &'a Sys,
    pub accounts: Accounts,
    pub owners: &'a Owners,
    pub inputs: Inputs<'a>,
    units: Vec<String>,
    systemd: OnceLock<Result<systemd::Snapshot>>,
}

/// Everything that providers need to change resources.
pub(crate) struct ApplyContext<'a> {
    pub sys: &'a Sys,
    pub home: &'a Home,
    pub accounts: Accounts,
    pub owners: Owners,
    pub desired: &'a Desired,
    pub blobs: &'a Blobs,
    pub originals: &'a Originals,
    /// Name that this run gives to its temporary files.
    pub temporary: &'a str,
    /// Journal records of the owners that changed in a sandbox. The batch appends them to the journal.
    pub records: Vec<Record>,
    /// Problems of the host that didn't fail a change.
    pub warnings: Vec<String>,
    /// Directories with changed entries that haven't been synced yet.
    pub unsynced: Vec<Dir>,
}

/// A resource to change, with its latest observation and the fields to change.
pub(crate) struct ItemChange<'a> {
    pub address: &'a Address,
    pub spec: &'a Spec,
    pub observed: &'a Observed,
    pub fields: &'a [FieldChange],
    /// The resource's original, if this change restores it.
    pub original: Option<&'a Original>,
}

impl ItemChange<'_> {
    /// True if the change includes this field.
    pub(crate) fn changes(&self, field: &str) -> bool {
        self.fields.iter().any(|change| change.field == field)
    }
}

impl<'a> ObserveContext<'a> {
    /// Loads the local accounts, and resolves the names of all other owners with one query per database to
    /// the name service.
    pub(crate) fn new(
        sys: &'a Sys,
        owners: &'a Owners,
        inputs: Inputs<'a>,
        items: &[Item<'_>],
    ) -> Self {
        let mut accounts = Accounts::load(sys);
        let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for item in items {
            let owners = item.spec.owners();
            users.extend(owners.user.and_then(Principal::name));
            groups.extend(owners.group.and_then(Principal::name));
        }
        accounts.ask(sys, users, groups);
        let units: BTreeSet<String> = items
            .iter()
            .filter_map(|item| item.spec.unit(item.address.name()))
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

    /// True if this step of the resource's creation hasn't succeeded yet.
    pub(super) fn is_pending(&self, address: &Address, step: CreationStep) -> bool {
        let entry = self.inputs.ledger.entry(address);
        entry.is_some_and(|entry| entry.pending.contains(&step))
    }

    /// Returns the state of the items' units. The first call queries systemd once for all of them.
    pub(super) fn systemd(&self) -> Result<&systemd::Snapshot> {
        self.systemd
            .get_or_init(|| systemd::resolve(self.sys, &self.units))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Observes items of all types. Types that need other programs are observed in parallel with the others.
    pub(crate) fn observe(&self, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let mut outcomes: Vec<Option<Result<Observed>>> = items.iter().map(|_| None).collect();
        let asked = |inquiry: Inquiry| self.of_inquiry(inquiry, items);
        let asked = &asked;
        let observed: Vec<(usize, Result<Observed>)> = thread::scope(|scope| {
            let inquiries: BTreeSet<Inquiry> = items
                .iter()
                .map(|item| of(item.address.kind()).inquiry())
                .filter(|inquiry| *inquiry != Inquiry::Files)
                .collect();
            let slow: Vec<_> = inquiries
                .into_iter()
                .map(|inquiry| scope.spawn(move || asked(inquiry)))
                .collect();
            let mut all = asked(Inquiry::Files);
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

    /// Observes the items whose types use this source. Returns each observation with the item's index.
    fn of_inquiry(&self, inquiry: Inquiry, items: &[Item<'_>]) -> Vec<(usize, Result<Observed>)> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            let provider = of(*kind);
            if provider.inquiry() != inquiry {
                continue;
            }
            let (places, mine): (Vec<usize>, Vec<Item<'_>>) = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.address.kind() == *kind)
                .map(|(place, item)| (place, *item))
                .unzip();
            if mine.is_empty() {
                continue;
            }
            let outcomes = if self.sys.is_sandbox() && provider.sandbox() == Sandbox::Unsupported {
                let error = not_in_a_sandbox(&format!("`{kind}` resources"));
                mine.iter().map(|_| Err(error.clone())).collect()
            } else {
                self.observe_things(provider, &mine)
            };
            all.extend(places.into_iter().zip(outcomes));
        }
        all
    }

    /// Observes items of one type. If several addresses name the same thing on the host, each of them gets an
    /// error, so that they don't undo each other's changes.
    fn observe_things(&self, provider: &dyn Provider, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        // Only desired specs count for identities: items that capture originals have specs that just name all
        // fields.
        let leaf = |address: &Address| self.inputs.desired.get(address);
        let named: Vec<Item<'_>> = items
            .iter()
            .filter_map(|item| {
                let spec = &leaf(item.address)?.spec;
                Some(Item { spec, ..*item })
            })
            .collect();
        let identities = Identities::resolve(self, &named);
        let conflicts: Vec<Option<AgentError>> = items
            .iter()
            .map(|item| {
                let other = identities.others(item.address).next()?;
                Some(identities.conflict(item.address, other))
            })
            .collect();
        let single: Vec<Item<'_>> = items
            .iter()
            .zip(&conflicts)
            .filter(|(_, conflict)| conflict.is_none())
            .map(|(item, _)| *item)
            .collect();
        let mut observed = if single.is_empty() {
            Vec::new().into_iter()
        } else {
            provider.observe(self, &single).into_iter()
        };
        conflicts
            .into_iter()
            .map(|conflict| match conflict {
                Some(error) => Err(error),
                None => observed.next().unwrap_or_else(|| {
                    fail(ErrorCode::Internal, "a provider left out an observation")
                }),
            })
            .collect()
    }
}

impl ApplyContext<'_> {
    /// Opens a content that was received for this plan or is stored as part of an original.
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

    /// Syncs the directories that have changed entries.
    pub(crate) fn sync_directories(&mut self) -> Result<()> {
        self.unsynced.drain(..).try_for_each(|dir| dir.sync())
    }
}
