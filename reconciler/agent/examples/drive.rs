//! Drives an agent by hand: `drive STATE.json [--look|--drop] -- COMMAND…` starts the command (an
//! agent, or `ssh HOST plumb-agent`) and makes the host as the file says: a map of addresses to
//! specs, `content` as text. `--drop` ends the connection right after the plan was sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::zombie_processes,
    missing_docs
)]

#[path = "../tests/driver/mod.rs"]
mod driver;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use driver::{Driver, State, failures, plan};
use plumb_api::frame::{Lineage, Purpose};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let split = args.iter().position(|arg| arg == "--").unwrap();
    let (ours, command) = (&args[..split], &args[split + 1..]);
    let text = std::fs::read_to_string(&ours[0]).unwrap();
    let specs: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let state = specs
        .into_iter()
        .fold(State::new(), |state, (address, spec)| {
            state.with(&address, spec)
        });
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut driver = Driver::over(child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let look = ours.iter().any(|arg| arg == "--look");
    for purpose in [Purpose::Look, Purpose::Drive] {
        let from = Instant::now();
        let report = driver.try_observe(&state, purpose).unwrap();
        println!(
            "{purpose:?} in {:?}: {} in sync, {} differ, {} unconfirmed, {} gone, ledger {:?} {}, waiting {:?}",
            from.elapsed(),
            report.in_sync,
            report.differences.len(),
            report.unconfirmed.len(),
            report.gone.len(),
            report.ledger.state,
            report.ledger.sequence,
            report.waiting,
        );
        if purpose == Purpose::Look {
            for difference in &report.differences {
                let fields: Vec<String> = difference
                    .fields
                    .iter()
                    .map(|f| format!("{} {:?}→{:?}", f.field, f.from, f.to))
                    .collect();
                println!(
                    "  {} {:?} {}",
                    difference.address,
                    difference.state,
                    fields.join(" ")
                );
            }
            if look {
                return;
            }
            continue;
        }
        let plan = plan(&state, &report);
        if plan.is_settled() {
            println!("nothing to do");
            if ours.iter().any(|arg| arg == "--bench") {
                let mut times: Vec<_> = (0..50)
                    .map(|_| {
                        let from = Instant::now();
                        driver.observe(&state);
                        from.elapsed()
                    })
                    .collect();
                times.sort();
                println!("50 observations: p50 {:?}, p95 {:?}", times[25], times[47]);
            }
            return;
        }
        let lineage = report
            .ledger
            .revision
            .clone()
            .map_or(Lineage::First, Lineage::DescendsFrom);
        let from = Instant::now();
        if ours.iter().any(|arg| arg == "--drop") {
            driver.send_plan(&state, plan, lineage);
            std::thread::sleep(std::time::Duration::from_millis(1500));
            println!("dropping the connection");
            return;
        }
        match driver.try_apply_with(&state, plan, lineage) {
            Ok(report) => {
                println!(
                    "applied {} in {:?}, stopped {:?}",
                    report.results.len(),
                    from.elapsed(),
                    report.stopped
                );
                for failure in failures(&report) {
                    println!("  {failure}");
                }
            }
            Err(error) => println!("refused: {error:?}"),
        }
        let from = Instant::now();
        let rest = driver.observe(&state);
        println!(
            "again in {:?}: {} in sync, {} differ",
            from.elapsed(),
            rest.in_sync,
            rest.differences.len()
        );
        for difference in &rest.differences {
            println!(
                "  {} {:?} {:?}",
                difference.address, difference.state, difference.fields
            );
        }
    }
}
