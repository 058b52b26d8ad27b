//! Deterministic simulation of the loop: a seed makes a fleet and a list of actions, virtual time carries
//! them out, and the invariants are checked after each step.
//!
//! `cargo test -p plumb-core --test simulation` runs 1,000 seeds. `PLUMB_SEEDS` sets how
//! many, `PLUMB_SEED` runs one alone, and `PLUMB_HOSTS` allows larger fleets. A failing seed prints its
//! shortest trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs
)]

mod actions;
mod chance;
mod invariants;
mod machine;
mod repository;
mod rollouts;
mod world;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use actions::{Action, Plan, carry_out};

fn number(variable: &str, usual: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(usual, |text| text.parse().expect("a number"))
}

/// Runs a plan; a panic in the loop is a violation too.
fn violation(plan: &Plan, actions: &[Action]) -> Option<String> {
    let run = || carry_out(plan, actions, actions::Trace::Off);
    match std::panic::catch_unwind(run) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some(format!("panicked: {}", text.unwrap_or_default()))
        }
    }
}

/// The shortest list of actions that still fails: parts are left out as long as that is so.
fn shortest(plan: &Plan) -> Vec<Action> {
    let mut actions = plan.actions.clone();
    let mut size = actions.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < actions.len() {
            let mut fewer = actions.clone();
            fewer.drain(at..(at + size).min(actions.len()));
            if violation(plan, &fewer).is_some() {
                actions = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    actions
}

fn report(plan: &Plan) -> String {
    let actions = shortest(plan);
    let mut log = Vec::new();
    let result = carry_out(plan, &actions, actions::Trace::To(&mut log));
    let mut text = format!("seed {}: {result:?}\n", plan.seed);
    let _ = writeln!(text, "{} actions: {actions:#?}", actions.len());
    let skipped = log.len().saturating_sub(80);
    for line in &log[skipped..] {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Runs the seeds on all processors; returns some of those that fail.
fn failing_seeds(fails: impl Fn(u64) -> bool + Sync) -> Vec<u64> {
    let seeds: Vec<u64> = match std::env::var("PLUMB_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..number("PLUMB_SEEDS", 1_000)).collect(),
    };
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                let Some(seed) = seeds.get(at) else {
                    return failed;
                };
                if fails(*seed) {
                    failed.push(*seed);
                    if failed.len() >= 3 {
                        return failed;
                    }
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failed = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        failed.collect()
    })
}

fn most_hosts() -> usize {
    usize::try_from(number("PLUMB_HOSTS", 8)).unwrap()
}

#[test]
fn invariants_hold_for_every_seed() {
    let hosts = most_hosts();
    let failed = failing_seeds(|seed| {
        let plan = Plan::new(seed, hosts);
        violation(&plan, &plan.actions).is_some()
    });
    if let Some(first) = failed.iter().min() {
        let text = report(&Plan::new(*first, hosts));
        panic!("{} seeds fail: {failed:?}\n{text}", failed.len());
    }
}

fn every_seed(run: impl Fn(u64, usize) -> world::Checked + Sync) {
    let hosts = most_hosts();
    let failed = failing_seeds(|seed| run(seed, hosts).is_err());
    if let Some(first) = failed.iter().min() {
        panic!("seeds {failed:?} fail: {:?}", run(*first, hosts));
    }
}

#[test]
fn halted_change_holds_back_only_hosts_that_it_touches() {
    every_seed(rollouts::halted_change);
}

#[test]
fn failure_that_the_first_retry_heals_halts_and_alarms_nobody() {
    every_seed(rollouts::healed_failures);
}
