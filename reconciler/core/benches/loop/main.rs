//! `cargo bench -p plumb-core --bench loop -- HOSTS TIMES` drives the loop of a fleet in memory, that often,
//! and prints the costs of its events and views as JSON: while all hosts are met, for an hour of resyncs, and
//! while a revision that changes every host is rolled out. `tests/bench loop` compares fleets of different
//! sizes.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod fleet;

use std::collections::BTreeMap;

use fleet::{Cost, SimulatedFleet};

const HOUR: i64 = 3_600;

#[derive(Default)]
struct Phase {
    events: BTreeMap<&'static str, Cost>,
    views: Cost,
}

impl Phase {
    fn take(&mut self, fleet: &mut SimulatedFleet) {
        let (events, views) = fleet.take_costs();
        for (kind, cost) in events {
            sum(self.events.entry(kind).or_default(), cost);
        }
        sum(&mut self.views, views);
    }

    fn json(&self) -> serde_json::Value {
        let mut all = Cost::default();
        self.events.values().for_each(|cost| sum(&mut all, *cost));
        let each = self.events.iter().map(|(kind, cost)| {
            let figures = serde_json::json!({"number": cost.number, "micros": cost.each()});
            ((*kind).to_owned(), figures)
        });
        serde_json::json!({
            "events": all.number,
            "seconds": (all.spent + self.views.spent).as_secs_f64(),
            "event": all.each(),
            "views": self.views.number,
            "view": self.views.each(),
            "kinds": each.collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn sum(to: &mut Cost, from: Cost) {
    to.number += from.number;
    to.spent += from.spent;
}

fn main() {
    // Cargo adds `--bench` itself.
    let numbers = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let numbers: Vec<usize> = numbers.map(|word| word.parse().unwrap()).collect();
    let [hosts, times] = numbers[..] else {
        panic!("loop HOSTS TIMES");
    };
    let mut phases: [(&str, Phase); 3] =
        ["start", "resync", "rollout"].map(|n| (n, Phase::default()));
    for _ in 0..times {
        let mut fleet = SimulatedFleet::new(hosts, 2);
        fleet.start();
        phases[0].1.take(&mut fleet);
        fleet.advance(HOUR);
        phases[1].1.take(&mut fleet);
        fleet.roll_out(1);
        phases[2].1.take(&mut fleet);
    }
    let phases = phases
        .iter()
        .map(|(name, phase)| ((*name).to_owned(), phase.json()));
    println!(
        "{}",
        serde_json::Value::from(phases.collect::<serde_json::Map<_, _>>())
    );
}
