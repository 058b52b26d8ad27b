//! The second phase of a run: changes that could cut the controller off. They are made last, under an armed
//! dead-man timer, and only together with dependents that the host can put back. Other dependents wait for the
//! next run.

use std::collections::BTreeSet;

use plumb_api::frame::DeadMan;
use plumb_api::plan::{ChangeId, Consequence};
use plumb_api::report::Outcome;
use plumb_api::resource::{Content, FileType, Logins};
use plumb_api::{Address, Kind, Observed, Spec};

use super::capture::{keep_content, original};
use super::{Phase, Run};
use crate::book::Originals;
use crate::dead_man::{self, Armed, PreImage, PreState};
use crate::error::{Result, fail};
use crate::provider::{self, Item, Reaction};
use crate::sys::{Accounts, Sys, boot_id, boottime_micros};

impl Run<'_> {
    /// Returns the steps that may only be made under the dead-man timer: those that could cut the controller
    /// off.
    pub(super) fn guarded(&self) -> BTreeSet<usize> {
        let Some(dead_man) = &self.request.dead_man else {
            return BTreeSet::new();
        };
        let logins = logins(self.sys, dead_man);
        let cuts_off = |address: &Address| address.kind().cuts_off(address.name(), &logins);
        let steps = self.steps.iter().enumerate();
        steps
            .filter(|(_, step)| cuts_off(&step.change.address))
            .map(|(place, _)| place)
            .collect()
    }

    /// Makes the guarded changes and their dependents. Returns the timer if something changed, so that the
    /// changes wait for a confirmation.
    pub(super) fn cut_off(&mut self) -> Result<Option<Armed>> {
        let places = self.reversible();
        let Some(dead_man) = self.request.dead_man.clone().filter(|_| !places.is_empty()) else {
            return Ok(None);
        };
        self.gate()?;
        let mut armed = Armed {
            nonce: dead_man.nonce,
            confirm: dead_man.confirm,
            boot: boot_id(),
            phase: dead_man::Phase::Changing,
            confirmed: self.ledger.confirmed,
            pre_images: self.pre_images(&places)?,
        };
        dead_man::arm(self.sys, self.home, &armed)?;
        self.phase = Phase::CutOff(places);
        self.drive_phase()?;
        armed
            .pre_images
            .retain(|pre_image| self.is_touched(pre_image));
        if armed.pre_images.is_empty() {
            dead_man::disarm(self.sys, self.home)?;
            return Ok(None);
        }
        let patience = u64::from(armed.confirm) * 1_000_000;
        armed.phase = dead_man::Phase::Waiting(boottime_micros() + patience);
        armed.save(self.home)?;
        Ok(Some(armed))
    }

    /// Returns the open steps that are guarded or depend on guarded ones, and that the host can put back.
    fn reversible(&self) -> BTreeSet<usize> {
        let guarded = self.guarded();
        let mut ids: BTreeSet<ChangeId> = BTreeSet::new();
        let mut places = BTreeSet::new();
        let done: BTreeSet<ChangeId> = self
            .steps
            .iter()
            .filter(|step| step.outcome.is_some())
            .map(|step| step.change.id)
            .collect();
        for (place, step) in self.steps.iter().enumerate() {
            let kind = step.change.address.kind();
            let can = provider::of(kind).give_back().is_some() && kind != Kind::Package
                || kind == Kind::Check;
            let mut after = step.change.after.iter();
            let ready = after.all(|id| done.contains(id) || ids.contains(id));
            let belongs =
                guarded.contains(&place) || step.change.after.iter().any(|id| ids.contains(id));
            if step.outcome.is_none() && can && ready && belongs {
                ids.insert(step.change.id);
                places.insert(place);
            }
        }
        places
    }

    /// Observes the resources of these steps completely, and stores the contents of their files.
    fn pre_images(&self, places: &BTreeSet<usize>) -> Result<Vec<PreImage>> {
        let contents = Originals::open_pre_images(self.home)?;
        let specs: Vec<(&Address, Spec)> = places
            .iter()
            .filter_map(|place| {
                let address = &self.steps[*place].change.address;
                let keeper = provider::of(address.kind()).give_back()?;
                let is_account = keeper.account(address.name()).is_some();
                (!is_account).then(|| (address, keeper.full_spec()))
            })
            .collect();
        let items: Vec<Item<'_>> = specs
            .iter()
            .map(|(address, spec)| Item { address, spec })
            .collect();
        let mut observed = self.look_at(&items).into_iter();
        let mut all = Vec::new();
        for place in places {
            let step = &self.steps[*place];
            let address = &step.change.address;
            let keeper = provider::of(address.kind()).give_back();
            let state = match keeper.map(|keeper| keeper.account(address.name())) {
                None => PreState::Nothing,
                Some(Some(account)) => PreState::Account(account.lines(self.sys)),
                Some(None) => {
                    let Some(found) = observed.next().transpose()? else {
                        return fail(
                            plumb_api::report::ErrorCode::Internal,
                            format!("{address} wasn't observed"),
                        );
                    };
                    let mut original = original(self.sys, address, found)?;
                    show_content(&mut original.observed);
                    keep_content(self.sys, &contents, address, &mut original)?;
                    let original = Box::new(original);
                    if address.kind() == Kind::Service {
                        PreState::Service(original, reaction(&step.change.consequences))
                    } else {
                        PreState::Observed(original)
                    }
                }
            };
            all.push(PreImage {
                address: address.clone(),
                digest: step.digest,
                state,
                entry: self.ledger.entry(address).cloned().map(Box::new),
            });
        }
        Ok(all)
    }

    /// True if the run changed the resource, or tried to.
    fn is_touched(&self, pre_image: &PreImage) -> bool {
        let address = &pre_image.address;
        let step = self
            .steps
            .iter()
            .find(|step| step.change.address == *address);
        let before = pre_image.entry.as_ref().map_or(0, |entry| entry.generation);
        let now = self
            .ledger
            .entry(address)
            .map_or(0, |entry| entry.generation);
        match step.and_then(|step| step.outcome.as_ref()) {
            Some(Outcome::Applied) => true,
            Some(Outcome::Failed(_)) | None => now != before,
            Some(Outcome::Unchanged | Outcome::Skipped(_) | Outcome::Stopped) => false,
        }
    }
}

/// Returns the accounts that the controller logs in with, as the host knows them.
fn logins(sys: &Sys, dead_man: &DeadMan) -> Logins {
    let accounts = Accounts::load(sys);
    let mut logins = Logins::default();
    for user in &dead_man.users {
        logins.groups.extend(accounts.memberships(user));
        if let Some(found) = accounts.user(user) {
            logins.homes.insert(found.home.clone());
            let own = accounts.groups.iter().find(|group| group.gid == found.gid);
            logins.groups.extend(own.map(|group| group.name.clone()));
        }
        logins.users.insert(user.clone());
    }
    logins
}

fn reaction(consequences: &[Consequence]) -> Reaction {
    let reloads = |one: &Consequence| matches!(one, Consequence::Reloads(_));
    if consequences.iter().any(reloads) {
        Reaction::Reload
    } else {
        Reaction::Restart
    }
}

/// Lets the content of a file be kept that an observation hides because it has secrets. The pre-images stay on
/// the host, and go once the changes are confirmed.
fn show_content(observed: &mut Observed) {
    match observed {
        Observed::File(found) if found.file_type == FileType::File => {
            found.content.get_or_insert_with(|| Content::of(b""));
        }
        _ => {}
    }
}
