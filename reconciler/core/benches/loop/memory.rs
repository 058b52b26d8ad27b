//! `cargo bench -p plumb-core --bench loop-memory -- HOSTS` counts the bytes that the loop's state has
//! allocated after an hour, beside the desired states and the rest of the revision, and prints them as JSON.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    dead_code // this program only counts; the other one measures time
)]

mod fleet;

use std::alloc::System;

use fleet::SimulatedFleet;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let hosts: usize = numbers.next().expect("loop-memory HOSTS").parse().unwrap();
    let (state, revisions) = {
        let mut fleet = SimulatedFleet::new(hosts, 2);
        fleet.start();
        fleet.advance(3_600);
        // The rest is dropped here, and with it the last view, which shares the hosts.
        (fleet.state, fleet.revisions)
    };
    let with = allocated();
    drop(state);
    let bytes = with - allocated();
    drop(revisions);
    println!("{}", serde_json::json!({"hosts": hosts, "bytes": bytes}));
}
