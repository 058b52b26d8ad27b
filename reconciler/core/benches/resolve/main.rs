//! `cargo bench -p plumb-core --bench resolve -- HOSTS` loads and resolves a fleet of that many hosts in memory, and
//! prints what it took as JSON: processor seconds, seconds by the clock, and memory. `tests/bench resolve` compares
//! fleets of different sizes, and other tools.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod fleet;

use std::fs;
use std::time::Instant;

use plumb_core::desired::HostResult;
use plumb_core::manifest::{Sources, load};
use plumb_core::resolve::resolve;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Processor seconds of all threads, in user and kernel mode.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // The fields 14 and 15, in hundredths of a second; two stand before the parenthesis.
    let ticks: f64 = [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

/// The most memory that the process ever had, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn main() {
    // Cargo adds `--bench` itself.
    let hosts: usize = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .map_or_else(|| panic!("resolve HOSTS"), |word| word.parse().unwrap());
    let files = fleet::files(hosts);
    let before = peak_memory();
    let (clock, spent) = (Instant::now(), processor());
    let loaded = load(Sources {
        revision: (),
        files: files.clone(),
    });
    let loaded_after = (clock.elapsed().as_secs_f64(), processor() - spent);
    let loaded_bytes = peak_memory();
    let resolved = resolve(&loaded.fleet);
    let digests: Vec<_> = resolved
        .hosts
        .values()
        .map(|host| match host {
            HostResult::Ready(intent) => Some(intent.desired.digest()),
            HostResult::Held(_) => None,
        })
        .collect();
    let took = (clock.elapsed().as_secs_f64(), processor() - spent);
    assert_eq!(digests.len(), hosts);
    assert!(digests.iter().all(Option::is_some), "a host is held");
    assert_eq!(resolved.diagnostics, []);
    println!(
        "{}",
        serde_json::json!({
            "hosts": hosts,
            "load": {"clock": loaded_after.0, "processor": loaded_after.1, "bytes": loaded_bytes},
            "all": {"clock": took.0, "processor": took.1},
            "bytes": peak_memory(),
            "files": before,
        })
    );
}
