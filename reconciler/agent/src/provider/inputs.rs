//! Models restarts and reruns as state: a resource is stale if an input has changed since its last start.
//!
//! For each resource with inputs, the ledger stores a mark of each input at the last start. The mark is a
//! digest of the input's spec (without fields such as `after` and `validate`) and the generation of Plumb's last
//! change of the input. The journal has the new generation before Plumb makes the change. So, even if a run
//! is interrupted, an input that may have changed has another mark than the stored one, and the resource is
//! stale.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::plan::Consequence;
use plumb_api::resource::{Stale, reads};
use plumb_api::{Address, Digest, Spec};

use super::Effect;
use crate::book::{Desired, Ledger, Moment};
use crate::sys::boot_id;

/// The time of a resource's last start by Plumb, according to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastStart {
    /// During the current boot.
    ThisBoot,
    /// The ledger has no start during the current boot.
    Unknown,
}

/// The desired specs and the ledger, from which the marks of inputs are computed.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub desired: &'a Desired,
    pub ledger: &'a Ledger,
}

/// True if changes of other resources can make this resource stale.
pub(crate) fn has_inputs(address: &Address, spec: &Spec) -> bool {
    let name = address.name();
    let mut unnamed = address.kind().input_keys(name).into_iter();
    unnamed.any(|key| spec.on_input(name, &key).is_some()) || !spec.triggers(name).is_empty()
}

/// The inputs of a resource, sorted by the effect of their changes.
struct Sorted {
    restarting: BTreeSet<Address>,
    reloading: BTreeSet<Address>,
}

impl Inputs<'_> {
    /// Returns the inputs that the spec names and the implicit inputs. For a service, the implicit inputs are
    /// the unit file and drop-ins of its unit, including those that will be removed. `own` is the address of
    /// the unit's real name if the resource uses an alias.
    fn sorted(&self, address: &Address, own: Option<&Address>, spec: &Spec) -> Sorted {
        let mut sorted = Sorted {
            restarting: BTreeSet::new(),
            reloading: BTreeSet::new(),
        };
        for trigger in spec.triggers(address.name()) {
            if reloads(&trigger.effect) {
                sorted.reloading.insert(trigger.on);
            } else {
                sorted.restarting.insert(trigger.on);
            }
        }
        let desired = self.desired.iter().map(|(address, _)| address);
        let unnamed = desired
            .chain(self.ledger.resources.keys())
            .filter(|input| is_unnamed_input(input, address, own, spec));
        sorted.restarting.extend(unnamed.cloned());
        sorted
    }

    fn mark(&self, input: &Address) -> Option<Digest> {
        let entry = self.ledger.entry(input);
        let spec = match self.desired.get(input) {
            Some(leaf) => Some(&leaf.spec),
            None => entry?.spec.as_ref(),
        };
        let mut json = match spec {
            Some(spec) => spec.to_json().ok()?,
            None => serde_json::Value::Null,
        };
        if let Some(fields) = json.as_object_mut() {
            // These fields say when and how Plumb writes the input. They don't change what a service reads. A
            // secret that is encrypted again has another ciphertext, and the same value.
            for field in ["after", "manage", "validate", "ciphertext"] {
                fields.remove(field);
            }
        }
        let generation = entry.map_or(0, |entry| entry.generation);
        Digest::of("input", &(json, generation)).ok()
    }

    /// Returns whether the ledger shows a start during the current boot. This is needed because systemd may
    /// forget a oneshot unit that has ended.
    pub(super) fn last_start(&self, address: &Address) -> LastStart {
        let started = self.ledger.entry(address).is_some_and(|entry| {
            let changed = entry.changed.as_ref();
            entry.inputs.is_some() && changed.is_some_and(|changed| changed.boot == boot_id())
        });
        if started {
            LastStart::ThisBoot
        } else {
            LastStart::Unknown
        }
    }

    /// Returns the current marks of all inputs of a resource, or `None` if the resource can't have inputs.
    pub(crate) fn marks(
        &self,
        address: &Address,
        own: Option<&Address>,
        spec: &Spec,
    ) -> Option<BTreeMap<Address, Digest>> {
        if !has_inputs(address, spec) {
            return None;
        }
        let sorted = self.sorted(address, own, spec);
        let marks = sorted
            .restarting
            .into_iter()
            .chain(sorted.reloading)
            .filter_map(|input| self.mark(&input).map(|mark| (input, mark)))
            .collect();
        Some(marks)
    }

    /// Returns the action that makes a resource read its inputs again. An input without a stored mark counts
    /// as changed if Plumb changed it at or after `since`, in microseconds of this boot's monotonic clock.
    pub(super) fn stale(
        &self,
        address: &Address,
        own: Option<&Address>,
        spec: &Spec,
        since: u64,
    ) -> Stale {
        let recorded = self
            .ledger
            .entry(address)
            .and_then(|entry| entry.inputs.as_ref());
        let moved = |input: &Address| match recorded.and_then(|marks| marks.get(input)) {
            Some(mark) => self.mark(input).as_ref() != Some(mark),
            None => self
                .ledger
                .entry(input)
                .and_then(|entry| entry.changed.as_ref())
                .is_some_and(|changed| after_start(changed, since)),
        };
        let sorted = self.sorted(address, own, spec);
        let taken_away = recorded.into_iter().flatten().any(|(input, _)| {
            is_unnamed_input(input, address, own, spec) && !sorted.restarting.contains(input)
        });
        if taken_away || sorted.restarting.iter().any(moved) {
            Stale::Restart
        } else if sorted.reloading.iter().any(moved) {
            Stale::Reload
        } else {
            Stale::No
        }
    }
}

fn reloads(effect: &Consequence) -> bool {
    matches!(effect, Consequence::Reloads(_))
}

/// True if `input` is an implicit input of `of`: the spec doesn't name it, but the resource reads it and
/// reacts to its changes.
fn is_unnamed_input(input: &Address, of: &Address, own: Option<&Address>, spec: &Spec) -> bool {
    let Some(key) = input.kind().input_key(input.name()) else {
        return false;
    };
    [Some(of), own]
        .into_iter()
        .flatten()
        .any(|name| reads(name, input) && spec.on_input(name.name(), &key).is_some())
}

/// True if a change happened at or after the start of a unit. A change before the current boot never did.
fn after_start(changed: &Moment, active_since: u64) -> bool {
    changed.boot == boot_id() && changed.micros >= active_since
}

/// Returns the marks to store after a change:
/// - after a start, the current marks of all inputs;
/// - after a reload, the current marks of the inputs that cause reloads, and the stored marks of the others;
/// - otherwise, the stored marks.
///
/// In each case, inputs without a stored mark get their current mark.
pub(crate) fn inputs_after(
    address: &Address,
    spec: &Spec,
    before: Option<&BTreeMap<Address, Digest>>,
    now: BTreeMap<Address, Digest>,
    effect: Effect,
) -> BTreeMap<Address, Digest> {
    if effect == Effect::Started {
        return now;
    }
    let triggers = spec.triggers(address.name());
    let mut kept = before.cloned().unwrap_or_default();
    for (input, mark) in now {
        let reloaded = effect == Effect::Reloaded
            && triggers
                .iter()
                .any(|trigger| trigger.on == input && reloads(&trigger.effect));
        if reloaded || !kept.contains_key(&input) {
            kept.insert(input, mark);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::book::Entry;
    use plumb_api::frame::Delta;
    use plumb_api::resource::ServiceSpec;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn desired(resources: &[(&str, serde_json::Value)]) -> Desired {
        let mut delta = Delta::default();
        for (name, spec) in resources {
            let address = address(name);
            let spec = address.kind().decode(spec.clone()).unwrap();
            delta.set.insert(address, spec);
        }
        Desired::default().with(delta).unwrap()
    }

    fn changed(ledger: &mut Ledger, name: &str, generation: u64, at: u64) {
        let entry = ledger.resources.entry(address(name)).or_default();
        entry.generation = generation;
        entry.changed = Some(Moment {
            boot: boot_id(),
            micros: at,
        });
    }

    const APP: &str = "service:app";

    /// A service that was started with all of its inputs as the ledger has them.
    fn started(desired: &Desired, ledger: &mut Ledger) {
        let service = address(APP);
        let spec = &desired.get(&service).unwrap().spec;
        let marks = Inputs { desired, ledger }.marks(&service, None, spec);
        ledger.resources.insert(
            service,
            Entry {
                inputs: marks,
                ..Entry::default()
            },
        );
    }

    fn stale(desired: &Desired, ledger: &Ledger, since: u64) -> Stale {
        let service = address(APP);
        let spec = &desired.get(&service).unwrap().spec;
        Inputs { desired, ledger }.stale(&service, None, spec, since)
    }

    fn app() -> Vec<(&'static str, serde_json::Value)> {
        vec![
            ("file:/etc/app", json!({"mode": "0644"})),
            ("file:/etc/app.d", json!({"mode": "0644"})),
            (
                "unit:app.service.d/x.conf",
                json!({"content": {"sha256": "00".repeat(32), "size": 1}}),
            ),
            (
                APP,
                json!({"restartOn": ["file:/etc/app"], "reloadOn": ["file:/etc/app.d"]}),
            ),
        ]
    }

    #[test]
    fn a_change_by_us_makes_it_stale_until_it_was_started_again() {
        let desired = desired(&app());
        let mut ledger = Ledger::default();
        started(&desired, &mut ledger);
        assert_eq!(stale(&desired, &ledger, 0), Stale::No);
        changed(&mut ledger, "file:/etc/app.d", 1, 10);
        assert_eq!(stale(&desired, &ledger, 0), Stale::Reload);
        changed(&mut ledger, "file:/etc/app", 2, 20);
        assert_eq!(
            stale(&desired, &ledger, 999),
            Stale::Restart,
            "a known mark needs no clock"
        );
        started(&desired, &mut ledger);
        assert_eq!(stale(&desired, &ledger, 0), Stale::No);
        changed(&mut ledger, "unit:app.service.d/x.conf", 3, 30);
        assert_eq!(
            stale(&desired, &ledger, 0),
            Stale::Restart,
            "a drop-in is an input without being named"
        );
    }

    #[test]
    fn an_input_that_goes_and_comes_back_is_another_one() {
        let desired = desired(&app());
        let mut ledger = Ledger::default();
        changed(&mut ledger, "file:/etc/app", 1, 10);
        started(&desired, &mut ledger);
        ledger.resources.remove(&address("file:/etc/app"));
        changed(&mut ledger, "file:/etc/app", 2, 20);
        assert_eq!(stale(&desired, &ledger, 0), Stale::Restart);
    }

    #[test]
    fn a_drop_in_that_was_taken_away_restarts() {
        let all = app();
        let mut ledger = Ledger::default();
        started(&desired(&all), &mut ledger);
        let less: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| !name.starts_with("unit:"))
            .collect();
        let less = desired(&less);
        changed(&mut ledger, "unit:app.service.d/x.conf", 1, 10);
        let spec = Spec::Unit(plumb_api::resource::UnitSpec::default());
        ledger
            .resources
            .get_mut(&address("unit:app.service.d/x.conf"))
            .unwrap()
            .spec = Some(spec);
        assert_eq!(stale(&less, &ledger, 0), Stale::Restart);
        ledger
            .resources
            .remove(&address("unit:app.service.d/x.conf"));
        assert_eq!(
            stale(&less, &ledger, 0),
            Stale::Restart,
            "gone, and the unit still runs with it"
        );
        started(&less, &mut ledger);
        assert_eq!(stale(&less, &ledger, 0), Stale::No);
    }

    #[test]
    fn a_service_found_running_is_stale_only_if_we_changed_an_input_after_its_start() {
        let desired = desired(&app());
        let mut ledger = Ledger::default();
        assert_eq!(
            stale(&desired, &ledger, 50),
            Stale::No,
            "nothing of it is by us"
        );
        changed(&mut ledger, "file:/etc/app", 1, 40);
        assert_eq!(
            stale(&desired, &ledger, 50),
            Stale::No,
            "it was started with that"
        );
        assert_eq!(stale(&desired, &ledger, 30), Stale::Restart);
        let entry = ledger.resources.get_mut(&address("file:/etc/app")).unwrap();
        entry.changed.as_mut().unwrap().boot = "another".to_owned();
        assert_eq!(
            stale(&desired, &ledger, 30),
            Stale::No,
            "the machine was booted since"
        );
    }

    #[test]
    fn what_only_orders_an_input_doesnt_restart() {
        let mut all = app();
        let mut ledger = Ledger::default();
        started(&desired(&all), &mut ledger);
        all[0].1 = json!({"mode": "0644", "after": ["file:/etc/app.d"], "manage": "once"});
        assert_eq!(stale(&desired(&all), &ledger, 0), Stale::No);
        all[0].1 = json!({"mode": "0600"});
        assert_eq!(stale(&desired(&all), &ledger, 0), Stale::Restart);
    }

    #[test]
    fn a_reload_renews_only_what_it_reads() {
        let (restart, reload) = (address("file:/etc/app"), address("file:/etc/app.d"));
        let service = address(APP);
        let spec = Spec::Service(ServiceSpec {
            restart_on: vec![restart.clone()],
            reload_on: vec![reload.clone()],
            ..ServiceSpec::default()
        });
        let mark = |text: &str| Digest::of_bytes(text.as_bytes());
        let before = BTreeMap::from([
            (restart.clone(), mark("old")),
            (reload.clone(), mark("old")),
        ]);
        let now = BTreeMap::from([
            (restart.clone(), mark("new")),
            (reload.clone(), mark("new")),
        ]);
        let after = inputs_after(
            &service,
            &spec,
            Some(&before),
            now.clone(),
            Effect::Reloaded,
        );
        assert_eq!(
            (after[&restart], after[&reload]),
            (mark("old"), mark("new"))
        );
        assert_eq!(
            inputs_after(&service, &spec, Some(&before), now.clone(), Effect::Done),
            before
        );
        assert_eq!(
            inputs_after(&service, &spec, Some(&before), now.clone(), Effect::Started),
            now
        );
    }
}
