//! What holds after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::HostName;
use plumb_core::alerting::{HostSnapshot, Rules, Settings};
use plumb_core::fleet::{Effect, Event, FleetState, conditions};
use plumb_core::ports::{Table, Write};
use plumb_core::status::ConditionType::{
    Reachable, Ready, Reconciling, Stalled, Suspended, Synced,
};
use plumb_core::status::{Condition, ConditionStatus, ConditionType, Target};
use plumb_core::view::{FleetView, HostObject};

use crate::machine::Fault;
use crate::repository::{Mode, desired};
use crate::world::{Alarms, Checked, World, written_target};

/// What is remembered from step to step.
#[derive(Debug, Default)]
pub struct Watch {
    /// The revisions of the halted rollouts.
    halted: Vec<String>,
    /// The targets of the hosts, while a rollout is halted.
    targets: BTreeMap<HostName, Target>,
    /// When something other than time last happened.
    last_change: Option<jiff::Timestamp>,
}

/// An event in one word, for traces.
pub fn name(event: &Event) -> &'static str {
    match event {
        Event::Started => "started",
        Event::Woke => "woke",
        Event::SourcePolled(_) => "source polled",
        Event::RevisionLoaded { .. } => "revision loaded",
        Event::RunEnded(_) => "run ended",
        Event::Persisted { result: Ok(()), .. } => "persisted",
        Event::Persisted { .. } => "persist failed",
        Event::AlertsPosted { .. } => "alerts posted",
        Event::AlertmanagerInvalid(_) => "alertmanager invalid",
        Event::Notified => "notified",
        Event::ReconcileAsked { .. } => "reconcile asked",
        Event::ForgetAsked { .. } => "forget asked",
        Event::LetGoAsked { .. } => "let go asked",
        Event::DrainAsked => "drain asked",
    }
}

/// Checks a controller's state and what it asks for.
pub fn after_step(world: &mut World, which: usize, effects: &[Effect]) -> Checked {
    let now = world.now;
    let controller = &world.controllers[which];
    let Some(state) = &controller.state else {
        return Ok(());
    };
    let view = state.view(now);
    for host in state.hosts() {
        let object = host.object();
        sane(object)?;
        let derived = conditions(host, now);
        if view.loaded.is_some() && derived != object.status.conditions {
            let (name, stored) = (&object.metadata.name, &object.status.conditions);
            return Err(format!(
                "{name}'s status isn't the one derived from its state: {stored:?} != {derived:?}"
            ));
        }
    }
    shown(&view, state)?;
    rollout_kept(&view, effects)?;
    counted(&view)?;
    spared(world, which, &view, effects)?;
    if world.alarms == Alarms::Forbidden && (view.rollout.halted || !view.alerts.is_empty()) {
        return Err(format!("nothing lasted, and yet: {:?}", view.alerts));
    }
    let quiet = effects
        .iter()
        .all(|effect| matches!(effect, Effect::WakeAt(_) | Effect::PostAlerts { .. }));
    let last_change = world.controllers[which].watch.last_change;
    let rested = last_change.is_some_and(|at| now.duration_since(at).as_secs() >= 1);
    if quiet && rested {
        alerts_match(&view)?;
    }
    let controller = &mut world.controllers[which];
    if let Some(newest) = &view.rollout.revision
        && controller.newest.as_ref() != Some(newest)
        && let Some(before) = controller.newest.replace(newest.clone())
    {
        controller.before.insert(newest.clone(), before);
    }
    let watch = &mut controller.watch;
    watch.halted = halted(&view);
    watch.targets.clear();
    if !watch.halted.is_empty() {
        let targets = view.hosts.iter().filter_map(|host| {
            let target = host.status.target.clone()?;
            Some((host.metadata.name.clone(), target))
        });
        watch.targets.extend(targets);
    }
    if !quiet || watch.last_change.is_none() {
        watch.last_change = Some(now);
    }
    Ok(())
}

/// The rules that every status keeps to.
fn sane(object: &HostObject) -> Checked {
    let conditions = &object.status.conditions;
    let is = |kind| conditions.is_true(kind);
    let ready = conditions.get(Ready);
    let broken = [
        (is(Ready) && is(Stalled), "ready and stalled"),
        (is(Ready) && is(Reconciling), "ready and reconciling"),
        (is(Stalled) && is(Reconciling), "stalled and reconciling"),
        (is(Ready) && !is(Reachable), "ready and not reachable"),
        (
            is(Synced) && object.status.target.is_none(),
            "synced without a target",
        ),
        (
            ready.is_none() && conditions.iter().next().is_some(),
            "nothing is said of readiness",
        ),
        (
            object.status.differing.len() > 20,
            "too many addresses are named",
        ),
    ];
    for (broken, what) in broken {
        if broken {
            return Err(format!("{}: {what}: {conditions:?}", object.metadata.name));
        }
    }
    let there = |kind| conditions.get(kind);
    for condition in [Reconciling, Stalled, Suspended]
        .into_iter()
        .filter_map(there)
    {
        let differs = |ready: &Condition| ready.reason != condition.reason;
        let disagrees = condition.kind == Stalled && ready.is_some_and(differs);
        if condition.status != ConditionStatus::True || disagrees {
            return Err(format!("{}: {conditions:?}", object.metadata.name));
        }
    }
    for condition in conditions.iter() {
        if condition.message.headline().is_empty() && condition.kind != ConditionType::Suspended {
            return Err(format!("{}: an empty message", object.metadata.name));
        }
    }
    Ok(())
}

/// The view shares the objects of all hosts, in their order.
fn shown(view: &FleetView, state: &FleetState) -> Checked {
    let mut pairs = view.hosts.iter().zip(state.hosts());
    if view.hosts.len() != state.hosts().count()
        || !pairs.all(|(shown, host)| Arc::ptr_eq(shown, host.object()))
    {
        return Err("the view's hosts aren't those of the state".to_owned());
    }
    Ok(())
}

/// The last record of the rollout that a step writes is the rollout after that step.
fn rollout_kept(view: &FleetView, effects: &[Effect]) -> Checked {
    let writes = effects.iter().filter_map(|effect| match effect {
        Effect::Persist { writes, .. } => Some(writes),
        _ => None,
    });
    let mut last: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for write in writes.flatten() {
        match write {
            Write::Put(Table::Rollouts, key, bytes) => last.insert(key, bytes),
            Write::Delete(Table::Rollouts, key) => last.remove(key.as_str()),
            _ => None,
        };
    }
    if last.is_empty() {
        return Ok(());
    }
    let mut kept: Vec<String> = Vec::new();
    for bytes in last.into_values() {
        let record: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let flying = record["flying"].as_object().into_iter().flatten();
        kept.extend(flying.map(|(name, _)| name.clone()));
    }
    kept.sort();
    let there: Vec<_> = view
        .rollout
        .on_their_way
        .iter()
        .map(HostName::as_str)
        .collect();
    if kept != there {
        return Err(format!(
            "the rollout is stored with {kept:?} on their way, and has {there:?}"
        ));
    }
    Ok(())
}

/// Counters that are kept are those that are counted.
fn counted(view: &FleetView) -> Checked {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for host in view.hosts.iter() {
        if let Some(revision) = &host.status.revision {
            *counts.entry(revision).or_default() += 1;
        }
    }
    for revision in &view.revisions {
        let counted = counts.get(revision.commit.as_str()).copied().unwrap_or(0);
        if revision.hosts != counted {
            let (commit, kept) = (&revision.commit, revision.hosts);
            return Err(format!(
                "{commit}: {kept} hosts are kept, {counted} counted"
            ));
        }
    }
    Ok(())
}

fn halted(view: &FleetView) -> Vec<String> {
    let halted = view.rollouts.iter().filter(|rollout| rollout.halted);
    halted
        .filter_map(|rollout| rollout.revision.clone())
        .collect()
}

/// A halted change starts on no new host: a host that it touches and that doesn't have it gets no new target.
/// A target may be rebuilt from what the host's ledger says.
fn spared(world: &World, which: usize, view: &FleetView, effects: &[Effect]) -> Checked {
    let controller = &world.controllers[which];
    let still = halted(view);
    let halted = controller
        .watch
        .halted
        .iter()
        .filter(|one| still.contains(one));
    let halted: Vec<_> = halted.collect();
    if halted.is_empty() {
        return Ok(());
    }
    for effect in effects {
        let Effect::Persist { writes, .. } = effect else {
            continue;
        };
        for (host, digest) in writes.iter().filter_map(written_target) {
            let Some(before) = controller.watch.targets.get(&host) else {
                continue;
            };
            let machine = world.names.get(&host).map(|at| &world.machines[*at]);
            let lies = machine.is_some_and(|machine| machine.fault == Some(Fault::Lies));
            let confirmed = machine.and_then(|machine| machine.confirmed);
            if before.digest == digest || confirmed == Some(digest) || lies {
                continue;
            }
            for change in &halted {
                if is_touched(world, which, change, &host) == Some(true)
                    && has(world, before, change) == Some(false)
                {
                    return Err(format!(
                        "{host} gets a new target while the change {change} is halted, which it doesn't have"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// True if a change touches a host; `None` if one of its sides says nothing of the host.
pub fn is_touched(world: &World, which: usize, change: &str, host: &HostName) -> Option<bool> {
    let before = world.controllers[which].before.get(change)?;
    let state = |commit: &str| {
        let commit = &world.repository.commits[world.repository.find(commit)?];
        let manifest = commit.hosts.get(host)?;
        (manifest.mode != Mode::Invalid).then(|| desired(manifest.state).digest())
    };
    Some(state(before)? != state(change)?)
}

/// True if a target has a change: its revision is the change's or a later one.
fn has(world: &World, target: &Target, change: &str) -> Option<bool> {
    let repository = &world.repository;
    let (change, target) = (repository.find(change)?, repository.find(&target.revision)?);
    Some(repository.descends(change, target))
}

/// Alerts fire exactly with their conditions.
fn alerts_match(view: &FleetView) -> Checked {
    let settings = Settings::default();
    let rules = Rules {
        fleet: view.name.as_deref(),
        settings: &settings,
        now: view.now,
    };
    let mut expected = BTreeSet::new();
    for host in view.hosts.iter() {
        let outlook = rules.of_host(HostSnapshot {
            status: &host.status,
            labels: &host.metadata.labels,
        });
        expected.extend(outlook.firing.into_iter().map(|firing| firing.labels));
    }
    let fires = view.alerts.iter().map(|alert| alert.labels.clone());
    let of_hosts: BTreeSet<_> = fires.filter(|labels| labels.contains_key("host")).collect();
    if of_hosts != expected {
        return Err(format!("alerts fire: {of_hosts:?}, expected: {expected:?}"));
    }
    let halted = view
        .alerts
        .iter()
        .any(|alert| alert.labels["alertname"] == "PlumbRolloutHalted");
    if halted && !view.rollout.halted {
        return Err("the alert of a halt fires without one".to_owned());
    }
    let waits = view.hosts.iter().any(|host| {
        let synced = host.status.conditions.get(ConditionType::Synced);
        synced.is_some_and(|synced| synced.message.headline().contains("the rollout is halted"))
    });
    // Until a revision is loaded, conditions are those of the store, which may be older than the rollouts.
    if waits && !halted && view.loaded.is_some() && view.rollout.halted {
        return Err("a host waits for a halted rollout, and its alert doesn't fire".to_owned());
    }
    Ok(())
}
