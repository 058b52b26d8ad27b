//! What happens to the world: a list of actions from a seed, and how each is carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use plumb_api::frame::TakeOver;
use plumb_api::{Epoch, HostName};
use plumb_core::fleet::Event;
use plumb_core::status::ConditionType;
use plumb_core::view::CommitVerdict;

use crate::chance::Chance;
use crate::machine::{FAULTS, Fault};
use crate::repository::{Manifest, Mode, Repository, desired};
use crate::world::{Checked, World};

/// One thing that happens. Hosts and commits are numbers, so that any action can be left out.
#[derive(Debug, Clone)]
pub enum Action {
    Advance(i64),
    Push(Vec<usize>, usize),
    PushUnaccepted(usize),
    SetBranchBack(usize),
    SetMode(usize, Mode),
    Remove(usize),
    Add(usize),
    Rename(usize),
    SourceDown(bool),
    Break(usize, Fault),
    Heal(usize),
    Slow(usize, u64),
    Drift(usize),
    Rewind(usize),
    Steal(usize),
    StoreFails(bool),
    LoseStore,
    AlertmanagerDown(bool),
    Reconcile,
    Forget(usize),
    Notify,
    CrashAfter(usize),
    Restart,
    SecondController,
    EndSecondController,
}

/// A seed's fleet and actions.
pub struct Plan {
    pub seed: u64,
    pub hosts: usize,
    pub actions: Vec<Action>,
}

const ACTIONS: usize = 200;

impl Plan {
    pub fn new(seed: u64, most: usize) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let hosts = 1 + chance.below(most);
        let actions = (0..ACTIONS).map(|_| action(&mut chance, hosts)).collect();
        Self {
            seed,
            hosts,
            actions,
        }
    }
}

fn action(chance: &mut Chance, hosts: usize) -> Action {
    let host = chance.below(hosts);
    match chance.below(60) {
        0..=17 => Action::Advance(1 + i64::try_from(chance.below(90)).unwrap()),
        18..=20 => Action::Advance(i64::try_from(chance.below(1_500)).unwrap()),
        21..=25 => {
            let some = (0..hosts).filter(|_| chance.once_in(2)).collect();
            Action::Push(some, chance.below(1_000))
        }
        26 => Action::PushUnaccepted(chance.below(1_000)),
        27 => Action::SetBranchBack(1 + chance.below(3)),
        28 => {
            let until = 1_760_000_000 + i64::try_from(chance.below(40_000)).unwrap();
            let modes = [
                Mode::Suspended(until),
                Mode::Dormant,
                Mode::Invalid,
                Mode::Driven,
            ];
            Action::SetMode(host, modes[chance.below(modes.len())])
        }
        29 => Action::Remove(host),
        30 => Action::Add(host),
        31 => Action::Rename(host),
        32 | 33 => Action::SourceDown(chance.once_in(2)),
        34..=37 => Action::Break(host, FAULTS[chance.below(FAULTS.len())]),
        38..=41 => Action::Heal(host),
        42 => Action::Slow(host, chance.below(400) as u64),
        43 | 44 => Action::Drift(host),
        45 => Action::Rewind(host),
        46 => Action::Steal(host),
        47 | 48 => Action::StoreFails(chance.once_in(2)),
        49 if chance.once_in(4) => Action::LoseStore,
        50 => Action::AlertmanagerDown(chance.once_in(2)),
        51 => Action::Reconcile,
        52 => Action::Forget(host),
        53 => Action::Notify,
        54..=56 => Action::CrashAfter(chance.below(12)),
        57 => Action::Restart,
        58 if chance.once_in(3) => Action::SecondController,
        58 | 59 => Action::EndSecondController,
        _ => Action::Advance(5),
    }
}

/// Whether a run leaves a trace.
pub enum Trace<'a> {
    Off,
    To(&'a mut Vec<String>),
}

pub fn first_name(number: usize) -> HostName {
    format!("host-{number:05}").parse().unwrap()
}

/// A repository whose first commit wants one state of every host.
pub fn repository(hosts: usize) -> Repository {
    let manifest = || Manifest {
        state: 0,
        mode: Mode::Driven,
        formerly: Vec::new(),
    };
    let hosts = (0..hosts).map(|number| (first_name(number), manifest()));
    Repository::new(hosts.collect())
}

/// Carries actions out, ends every fault, and checks that the fleet converges.
pub fn carry_out(plan: &Plan, actions: &[Action], trace: Trace<'_>) -> Checked {
    let mut world = World::new(plan.seed, plan.hosts, repository(plan.hosts), true);
    world.logging = matches!(trace, Trace::To(_));
    let mut result = world.start(0).and_then(|()| world.advance(30));
    for action in actions {
        if result.is_err() {
            break;
        }
        world.note(|| format!("== {action:?}"));
        result = perform(&mut world, action);
    }
    let result = result.and_then(|()| converge(&mut world));
    if let Trace::To(log) = trace {
        *log = world.log;
    }
    result
}

/// The name that a machine has now, if it is in git.
fn name_of(world: &World, machine: usize) -> Option<HostName> {
    let manifests = world.repository.manifests();
    let known = |(name, at): (&HostName, &usize)| {
        (*at == machine && manifests.contains_key(name)).then(|| name.clone())
    };
    world.names.iter().find_map(known)
}

fn push(world: &mut World, change: impl FnOnce(&mut BTreeMap<HostName, Manifest>)) -> Checked {
    let mut hosts = world.repository.manifests().clone();
    change(&mut hosts);
    if hosts.is_empty() {
        return Ok(());
    }
    world.repository.push(hosts, CommitVerdict::Accept);
    world.event(0, Event::Notified)
}

fn perform(world: &mut World, action: &Action) -> Checked {
    match action {
        Action::Advance(seconds) => return world.advance(*seconds),
        Action::Push(machines, state) => {
            let names: Vec<_> = machines
                .iter()
                .filter_map(|at| name_of(world, *at))
                .collect();
            return push(world, |hosts| {
                for name in &names {
                    if let Some(manifest) = hosts.get_mut(name) {
                        manifest.state = *state;
                    }
                }
            });
        }
        Action::PushUnaccepted(state) => {
            let mut hosts = world.repository.manifests().clone();
            for manifest in hosts.values_mut() {
                manifest.state = *state;
            }
            world.repository.push(hosts, CommitVerdict::Reject);
            return world.event(0, Event::Notified);
        }
        Action::SetBranchBack(by) => {
            let chain = world.repository.chain(world.repository.head);
            let at = chain.len().saturating_sub(1 + by);
            world.repository.head = chain[at];
        }
        Action::SetMode(machine, mode) => {
            let Some(name) = name_of(world, *machine) else {
                return Ok(());
            };
            return push(world, |hosts| {
                if let Some(manifest) = hosts.get_mut(&name) {
                    manifest.mode = *mode;
                }
            });
        }
        Action::Remove(machine) => {
            let Some(name) = name_of(world, *machine) else {
                return Ok(());
            };
            return push(world, |hosts| {
                hosts.remove(&name);
            });
        }
        Action::Add(machine) => {
            if name_of(world, *machine).is_some() {
                return Ok(());
            }
            let name = first_name(*machine);
            return push(world, |hosts| {
                let manifest = Manifest {
                    state: *machine,
                    mode: Mode::Driven,
                    formerly: Vec::new(),
                };
                hosts.insert(name, manifest);
            });
        }
        Action::Rename(machine) => {
            let Some(old) = name_of(world, *machine) else {
                return Ok(());
            };
            let new: HostName = format!("renamed-{}", world.names.len()).parse().unwrap();
            world.names.insert(new.clone(), *machine);
            return push(world, |hosts| {
                if let Some(mut manifest) = hosts.remove(&old) {
                    manifest.formerly = vec![old];
                    hosts.insert(new, manifest);
                }
            });
        }
        Action::SourceDown(down) => world.repository.down = *down,
        Action::Break(machine, fault) => world.machines[*machine].fault = Some(*fault),
        Action::Heal(machine) => world.machines[*machine].fault = None,
        Action::Slow(machine, seconds) => {
            world.machines[*machine].slow = Duration::from_secs(*seconds);
        }
        Action::Drift(machine) => world.machines[*machine].drifted = true,
        Action::Rewind(machine) => {
            let machine = &mut world.machines[*machine];
            machine.sequence = machine.sequence.min(1);
        }
        Action::Steal(machine) => {
            let thief = "somebody".parse().unwrap();
            world.machines[*machine].holder = Some((thief, Epoch(9)));
        }
        Action::StoreFails(fails) => world.controllers[0].store_fails = *fails,
        Action::LoseStore => {
            world.crash(0);
            world.controllers[0].store.clear();
            world.controllers[0].store_fails = false;
            return world.start(0);
        }
        Action::AlertmanagerDown(down) => world.alertmanager_down = *down,
        Action::Reconcile => {
            let hosts = Vec::new();
            return world.ask(0, |request| Event::ReconcileAsked { hosts, request });
        }
        Action::Forget(machine) => {
            let host = name_of(world, *machine).unwrap_or_else(|| first_name(*machine));
            return world.ask(0, |request| Event::ForgetAsked { host, request });
        }
        Action::Notify => return world.event(0, Event::Notified),
        Action::CrashAfter(effects) => {
            if world.controllers[0].state.is_none() {
                return world.start(0);
            }
            world.crash_after = Some((0, *effects));
        }
        Action::Restart => {
            world.crash(0);
            return world.start(0);
        }
        Action::SecondController => {
            world.controllers[1].take_over = TakeOver::Yes;
            return world.start(1);
        }
        Action::EndSecondController => world.crash(1),
    }
    Ok(())
}

/// Ends every fault, does what an operator would do, and checks that no host is behind for ever.
fn converge(world: &mut World) -> Checked {
    world.crash_after = None;
    world.crash(1);
    for controller in &mut world.controllers {
        controller.store_fails = false;
    }
    world.alertmanager_down = false;
    world.repository.down = false;
    for machine in &mut world.machines {
        machine.fault = None;
        machine.slow = Duration::ZERO;
    }
    // The operator takes every host back and pushes a commit above all that was accepted.
    world.crash(0);
    world.controllers[0].take_over = TakeOver::Yes;
    world.start(0)?;
    world.advance(300)?;
    let accepted = accepted(world);
    if let Some(accepted) = accepted.and_then(|accepted| world.repository.find(&accepted)) {
        world.repository.head = accepted;
    }
    push(world, |hosts| {
        for manifest in hosts.values_mut() {
            if manifest.mode != Mode::Dormant {
                manifest.mode = Mode::Driven;
            }
        }
    })?;
    for _ in 0..8 {
        world.advance(1_800)?;
        if converged(world).is_ok() {
            break;
        }
        look_after(world)?;
    }
    converged(world)?;
    if !world.is_answered() {
        return Err("a request has no answer".to_owned());
    }
    Ok(())
}

/// Every driven host is as the newest revision says, and its status says so.
fn converged(world: &World) -> Checked {
    let Some(state) = &world.controllers[0].state else {
        return Err("the controller doesn't run".to_owned());
    };
    let view = state.view(world.now);
    for (name, manifest) in world.repository.manifests() {
        if manifest.mode == Mode::Dormant {
            continue;
        }
        let Some(host) = view.host(name) else {
            return Err(format!("{name} isn't known"));
        };
        let machine = &world.machines[world.names[name]];
        let conditions = &host.status.conditions;
        let there = machine.has == Some(desired(manifest.state).digest()) && !machine.drifted;
        let told =
            conditions.is_true(ConditionType::Ready) && conditions.is_true(ConditionType::Synced);
        if !there || !told {
            return Err(format!("{name} is behind for ever: {conditions:?}"));
        }
    }
    Ok(())
}

fn accepted(world: &World) -> Option<String> {
    let state = world.controllers[0].state.as_ref()?;
    state.view(world.now).source.accepted
}

/// What an operator does about hosts that wait for one: the ledger's memory of another branch is given
/// up, and the host is met anew.
fn look_after(world: &mut World) -> Checked {
    let Some(state) = &world.controllers[0].state else {
        return Ok(());
    };
    let view = state.view(world.now);
    let stalled = |host: &&std::sync::Arc<plumb_core::view::HostObject>| {
        host.status.conditions.is_true(ConditionType::Stalled)
    };
    let stalled: Vec<_> = view.hosts.iter().filter(stalled).cloned().collect();
    for host in stalled {
        let name = host.metadata.name.clone();
        if let Some(at) = world.names.get(&name) {
            world.machines[*at].revision = None;
        }
        world.ask(0, |request| Event::ForgetAsked {
            host: name,
            request,
        })?;
    }
    Ok(())
}
