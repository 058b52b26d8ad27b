//! Rollouts from a seed: a change that fails on one host for good, and failures that the first retry heals.

use plumb_api::HostName;
use plumb_core::fleet::Event;
use plumb_core::status::ConditionType;
use plumb_core::view::CommitVerdict;

use crate::actions::{first_name, repository};
use crate::chance::Chance;
use crate::machine::Fault;
use crate::repository::desired;
use crate::world::{Alarms, Checked, World};

fn push(world: &mut World, hosts: &[usize], state: usize) -> Checked {
    let mut manifests = world.repository.manifests().clone();
    for host in hosts {
        if let Some(manifest) = manifests.get_mut(&first_name(*host)) {
            manifest.state = state;
        }
    }
    world.repository.push(manifests, CommitVerdict::Accept);
    world.event(0, Event::Notified)
}

/// A fleet whose hosts have the first commit.
fn settled(seed: u64, chance: &mut Chance, hosts: usize) -> Result<(World, usize), String> {
    let hosts = 3 + chance.below(hosts);
    let mut world = World::new(seed, hosts, repository(hosts), true);
    world.start(0)?;
    world.advance(120)?;
    Ok((world, hosts))
}

fn some(chance: &mut Chance, hosts: usize) -> Vec<usize> {
    (0..hosts).filter(|_| chance.once_in(2)).collect()
}

fn has(world: &World, host: usize, state: usize) -> bool {
    world.machines[host].has == Some(desired(state).digest())
}

fn restart_at_times(world: &mut World, chance: &mut Chance) -> Checked {
    if chance.once_in(2) {
        world.crash(0);
        world.start(0)?;
    }
    world.advance(1 + i64::try_from(chance.below(30)).unwrap())
}

/// A halted change holds back the hosts that it touches and that don't have it, and nobody else.
pub fn halted_change(seed: u64, hosts: usize) -> Checked {
    let mut chance = Chance::new(seed ^ 0x0a17);
    let (mut world, hosts) = settled(seed, &mut chance, hosts)?;
    let failing = chance.below(hosts);
    let faults = [Fault::Stalls, Fault::Fails];
    world.machines[failing].fault = Some(faults[chance.below(2)]);
    let away = chance.below(hosts);
    if away != failing {
        let faults = [Fault::Off, Fault::Waits, Fault::Denies];
        world.machines[away].fault = Some(faults[chance.below(3)]);
    }
    let mut touched = some(&mut chance, hosts);
    touched.retain(|host| *host != failing);
    touched.push(failing);
    push(&mut world, &touched, 1)?;
    world.advance(300)?;
    restart_at_times(&mut world, &mut chance)?;
    if away != failing {
        world.machines[away].fault = None;
    }
    let spared: Vec<_> = touched
        .iter()
        .copied()
        .filter(|host| !has(&world, *host, 1))
        .collect();
    // Later commits change others, in one step or in several.
    let mut state = 2;
    let mut wanted = vec![0; hosts];
    for host in &touched {
        wanted[*host] = 1;
    }
    for _ in 0..=chance.below(3) {
        let mut changed = some(&mut chance, hosts);
        changed.retain(|host| *host != failing);
        push(&mut world, &changed, state)?;
        for host in changed {
            wanted[host] = state;
        }
        state += 1;
        restart_at_times(&mut world, &mut chance)?;
    }
    world.advance(1_300)?;
    for (host, state) in wanted.iter().enumerate() {
        let held = spared.contains(&host);
        if held && host != failing && !has(&world, host, 0) {
            return Err(format!("{} got the halted change", first_name(host)));
        }
        if !held && host != failing && !has(&world, host, *state) {
            let why = told(&world, &first_name(host));
            return Err(format!("{} is held back: {why}", first_name(host)));
        }
    }
    world.machines[failing].fault = None;
    world.advance(3_600)?;
    for (host, state) in wanted.iter().enumerate() {
        if !has(&world, host, *state) {
            let why = told(&world, &first_name(host));
            return Err(format!("{} is behind for ever: {why}", first_name(host)));
        }
    }
    Ok(())
}

fn told(world: &World, host: &HostName) -> String {
    let state = world.controllers[0].state.as_ref();
    let view = state.map(|state| state.view(world.now));
    let host = view.as_ref().and_then(|view| view.host(host));
    let conditions = host.map(|host| &host.status.conditions);
    let synced = conditions.and_then(|all| all.get(ConditionType::Synced));
    format!("{synced:?}")
}

/// Failures that the first retry heals, of changes and of corrections, halt nothing and alarm nobody.
pub fn healed_failures(seed: u64, hosts: usize) -> Checked {
    let mut chance = Chance::new(seed ^ 0x4ea1);
    let (mut world, hosts) = settled(seed, &mut chance, hosts)?;
    world.alarms = Alarms::Forbidden;
    for state in 1..12 {
        for host in some(&mut chance, hosts) {
            let faults = [Fault::FailsOnce, Fault::BreaksOnce];
            world.machines[host].fault = Some(faults[chance.below(2)]);
        }
        if chance.once_in(3) {
            let host = chance.below(hosts);
            world.machines[host].drifted = true;
            // A run that finds no drift ends the count of drift.
            for _ in 0..2 {
                let hosts = vec![first_name(host)];
                world.ask(0, |request| Event::ReconcileAsked { hosts, request })?;
                world.advance(10)?;
            }
        }
        let changed = some(&mut chance, hosts);
        push(&mut world, &changed, state)?;
        world.advance(60)?;
        for host in changed {
            if !has(&world, host, state) {
                let why = told(&world, &first_name(host));
                return Err(format!("{} isn't at {state}: {why}", first_name(host)));
            }
        }
    }
    Ok(())
}
