//! Whatever is desired and whatever happened to the host: the plan reaches what is desired, and the
//! next plan is empty.

use std::collections::BTreeMap;

use plumb_api::Observed;
use plumb_api::resource::{Content, FileType, RunState};
use serde_json::{Value, json};

use super::model::{ModelHost, address, intent};
use super::{PlanOptions, goal, plan};
use crate::desired::{DriftMode, HostIntent, Lifecycle};

/// Small, seeded and the same everywhere (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.roll(all.len() as u64)).unwrap()]
    }

    fn content(&mut self) -> Value {
        let text = self.roll(3).to_string();
        serde_json::to_value(Content::of(text.as_bytes())).unwrap()
    }
}

const PATHS: &[&str] = &[
    "/etc/web",
    "/etc/db",
    "/etc/ssh/sshd_config",
    "/srv/x/y",
    "/srv/x",
];
const NAMES: &[&str] = &["web", "db", "sshd"];

/// A desired state that `check` would accept, of a small world in which much refers to much.
fn any_intent(dice: &mut Dice) -> HostIntent {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for name in NAMES {
        if dice.roll(2) == 0 {
            all.insert(
                format!("group:{name}"),
                match dice.roll(3) {
                    0 => json!({"members": [dice.pick(NAMES)]}),
                    1 => json!({}),
                    _ => json!({"state": "absent"}),
                },
            );
        }
    }
    let groups: Vec<String> = all
        .iter()
        .filter(|(_, spec)| spec.get("state").is_none())
        .filter_map(|(name, _)| name.strip_prefix("group:").map(str::to_owned))
        .collect();
    for name in NAMES {
        if dice.roll(2) == 0 {
            let some: Vec<_> = groups.iter().filter(|_| dice.roll(2) == 0).collect();
            all.insert(
                format!("user:{name}"),
                json!({"groups": some, "shell": dice.pick(&["/bin/sh", "/bin/bash"])}),
            );
        }
        if dice.roll(3) == 0 {
            all.insert(format!("package:{name}"), json!({}));
        }
        if dice.roll(2) == 0 {
            all.insert(
                format!("unit:{name}.service"),
                json!({"content": dice.content()}),
            );
        }
    }
    for path in PATHS {
        match dice.roll(5) {
            0 if *path != "/srv/x" => {
                let mut spec =
                    json!({"content": dice.content(), "mode": dice.pick(&["0644", "0600"])});
                let owner = dice.pick(NAMES);
                if all.contains_key(&format!("user:{owner}")) {
                    spec["owner"] = json!(owner);
                }
                all.insert(format!("file:{path}"), spec);
            }
            1 => {
                all.insert(format!("directory:{path}"), json!({"mode": "0755"}));
            }
            2 if *path != "/srv/x" => {
                all.insert(format!("link:{path}"), json!({"target": dice.pick(PATHS)}));
            }
            3 => {
                all.insert(format!("file:{path}"), json!({"state": "absent"}));
            }
            _ => {}
        }
    }
    let files: Vec<_> = all
        .keys()
        .filter(|name| name.starts_with("file:"))
        .cloned()
        .collect();
    for name in NAMES {
        if dice.roll(2) == 0 {
            let on: Vec<_> = files.iter().filter(|_| dice.roll(2) == 0).collect();
            let state = dice.pick(&["started", "stopped"]);
            all.insert(
                format!("service:{name}"),
                json!({"state": state, "enabled": true, "restartOn": on}),
            );
        }
    }
    let all: Vec<(&str, Value)> = all
        .iter()
        .map(|(name, spec)| (name.as_str(), spec.clone()))
        .collect();
    intent(&all)
}

/// Something happens to the host that nobody told us of.
fn meddle(dice: &mut Dice, host: &mut ModelHost) {
    let keys: Vec<_> = host.has.keys().cloned().collect();
    if keys.is_empty() {
        return;
    }
    let victim = &keys[usize::try_from(dice.roll(keys.len() as u64)).unwrap()];
    match (dice.roll(3), host.has.get_mut(victim)) {
        (0, _) => {
            host.has.remove(victim);
        }
        (1, Some(Observed::File(file))) => file.content = Some(Content::of(b"meddled")),
        (1, Some(Observed::Service(service))) => service.state = Some(RunState::Stopped),
        (_, Some(Observed::Link(link))) => link.file_type = FileType::File,
        (_, Some(Observed::User(user))) if user.shell.is_some() => {
            user.shell = Some("/bin/false".to_owned());
        }
        _ => {}
    }
}

#[test]
fn a_plan_reaches_what_is_desired_and_the_next_one_is_empty() {
    for seed in 0..250 {
        let mut dice = Dice(seed);
        let mut host = ModelHost::default();
        for round in 0..4 {
            let mut wanted = any_intent(&mut dice);
            if dice.roll(8) == 0 {
                wanted.lifecycle = Lifecycle::Retired;
            }
            let goal = goal(&wanted);
            if goal.resources().is_empty() && wanted.lifecycle == Lifecycle::Active {
                continue;
            }
            for _ in 0..dice.roll(4) {
                meddle(&mut dice, &mut host);
            }
            let planned = plan(&wanted, &host.observe(&goal), PlanOptions::default());
            assert_eq!(planned.refusal, None, "seed {seed} round {round}");
            assert_eq!(
                planned,
                plan(&wanted, &host.observe(&goal), PlanOptions::default()),
                "the same plan each time"
            );
            host.apply(&planned.plan, &goal);
            // What a package brings that nobody wants there is seen only once it is there.
            let packages =
                |c: &plumb_api::plan::Change| c.address.kind() == plumb_api::Kind::Package;
            if planned.plan.changes.iter().any(packages) {
                let second = plan(&wanted, &host.observe(&goal), PlanOptions::default());
                assert!(!second.plan.changes.iter().any(packages));
                host.apply(&second.plan, &goal);
            }
            for (address, resource) in goal.resources() {
                let left = resource.spec().compare(&host.get(address));
                assert!(
                    left.is_empty(),
                    "seed {seed} round {round}: {address} {left:?}\n{planned:#?}"
                );
            }
            let next = plan(&wanted, &host.observe(&goal), PlanOptions::default());
            assert!(
                next.is_settled(),
                "seed {seed} round {round}: {:#?}",
                next.plan
            );
        }
    }
}

#[test]
fn nothing_drifts_in_a_mode_that_holds_it_and_no_intent_is_lost() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let mut host = ModelHost::default();
        let mut wanted = any_intent(&mut dice);
        wanted.drift.mode = DriftMode::Alert;
        if wanted.desired.resources().is_empty() {
            continue;
        }
        let first = plan(
            &wanted,
            &host.observe(&wanted.desired),
            PlanOptions::default(),
        );
        assert!(
            first.held_drift.is_empty(),
            "nothing drifts at first contact"
        );
        host.apply(&first.plan, &wanted.desired);
        meddle(&mut dice, &mut host);
        let after = plan(
            &wanted,
            &host.observe(&wanted.desired),
            PlanOptions::default(),
        );
        assert!(after.plan.is_empty(), "seed {seed}: {:#?}", after.plan);
        let differing = host.observe(&wanted.desired).differences.len();
        assert_eq!(after.held_drift.len(), differing, "seed {seed}");
    }
}

#[test]
fn the_world_is_rich_enough() {
    let mut dice = Dice(7);
    let kinds: std::collections::BTreeSet<_> = (0..40)
        .flat_map(|_| {
            any_intent(&mut dice)
                .desired
                .resources()
                .keys()
                .map(plumb_api::Address::kind)
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(kinds.len() >= 8, "{kinds:?}");
    assert_eq!(address("file:/etc/web").name(), "/etc/web");
}
