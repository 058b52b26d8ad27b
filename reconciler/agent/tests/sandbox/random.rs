//! Random states one after the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use plumb_api::report::Outcome;
use serde_json::json;

use crate::Root;
use crate::driver::{State, failures, plan};

/// Random states one after the other: after each apply nothing differs, and at the end of it all
/// the machine is as it was.
#[test]
fn random_states_converge_and_leave_no_trace() {
    for seed in 1..12u64 {
        let root = Root::new();
        let mut random = Random(seed);
        let mut driver = root.driver();
        let paths = ["/a", "/a/b", "/a/b/c", "/a/d", "/e"];
        root.write("/pre/existing", "x");
        let before = tree(&root.0);
        for _ in 0..6 {
            let mut state = State::new().with("file:/anchor", json!({"content": "x"}));
            let mut folders = Vec::new();
            for path in paths {
                let inside = folders
                    .iter()
                    .all(|f: &String| !path.starts_with(&format!("{f}/")));
                if !inside {
                    continue;
                }
                let mode = format!("0{}", [700, 755, 711][random.below(3)]);
                match random.below(4) {
                    0 => state = state.with(&format!("directory:{path}"), json!({"mode": mode})),
                    1 => {
                        let content = format!("{}", random.below(3));
                        state = state.with(
                            &format!("file:{path}"),
                            json!({"content": content, "mode": mode}),
                        );
                        folders.push(path.to_owned());
                    }
                    2 => {
                        state = state.with(
                            &format!("link:{path}"),
                            json!({"target": format!("/{}", random.below(3))}),
                        );
                        folders.push(path.to_owned());
                    }
                    _ => {}
                }
            }
            // What is to become another type goes first: a change of type isn't ours to make in one step.
            let keep = state.clone();
            let report =
                driver.observe(&State::new().with("file:/anchor", json!({"content": "x"})));
            let empty = State::new().with("file:/anchor", json!({"content": "x"}));
            let plan = plan(&empty, &report);
            if !plan.is_settled() {
                let report = driver.try_apply(&empty, plan).unwrap();
                assert_eq!(failures(&report), Vec::<String>::new(), "seed {seed}");
            }
            driver.converge(&keep);
            assert_eq!(driver.converge(&keep), 0);
        }
        let last = State::new().with("file:/pre/existing", json!({"content": "x"}));
        driver.converge(&last);
        drop(driver);
        let _ = fs::remove_dir_all(root.path("/var"));
        assert_eq!(tree(&root.0), before, "seed {seed}");
    }
}

/// Random obstacles on a host: what the plan refuses, apply refuses in the same words, and nothing else fails.
#[test]
fn plan_and_apply_agree() {
    let mut refused = 0;
    for seed in 1..40u64 {
        let root = Root::new();
        let mut random = Random(seed);
        let mut driver = root.driver();
        let mut state = State::new().with("file:/anchor", json!({"content": "x"}));
        let mut locked = Vec::new();
        for n in 0..12 {
            let path = format!("/d{}/p{n}", random.below(3));
            let host = root.path(&path);
            fs::create_dir_all(host.parent().unwrap()).unwrap();
            match random.below(7) {
                0 => root.write(&path, "theirs"),
                1 => fs::create_dir(&host).unwrap(),
                2 => root.write(&format!("{path}/inside"), "theirs"),
                3 => std::os::unix::fs::symlink("/elsewhere", &host).unwrap(),
                4 => {
                    root.write(&path, "theirs");
                    fs::hard_link(&host, host.with_extension("other")).unwrap();
                }
                5 => {
                    root.write(&path, "theirs");
                    if root.lock(&path) {
                        locked.push(path.clone());
                    }
                }
                _ => {}
            }
            let owner = ["root", "alice", "nobody-here"][random.below(3)];
            let absent = json!({"state": "absent"});
            state = match random.below(6) {
                0 => state.with(&format!("file:{path}"), absent),
                1 => state.with(&format!("directory:{path}"), absent),
                2 => state.with(&format!("link:{path}"), json!({"target": "/x"})),
                3 => state.with(
                    &format!("directory:{path}"),
                    json!({"mode": "0750", "owner": owner}),
                ),
                4 => state.with(&format!("file:{path}"), json!({"mode": "0600"})),
                _ => state.with(
                    &format!("file:{path}"),
                    json!({"content": format!("{n}"), "owner": owner}),
                ),
            };
        }
        let report = driver.observe(&state);
        let planned: std::collections::BTreeMap<_, _> = report
            .differences
            .iter()
            .map(|difference| (difference.address.clone(), difference.refusal.clone()))
            .collect();
        let report = driver.try_apply(&state, plan(&state, &report)).unwrap();
        for result in report.results {
            let applied = match result.outcome {
                Outcome::Applied => None,
                Outcome::Failed(error) => Some(error),
                other => panic!("seed {seed}, {}: {other:?}", result.address),
            };
            refused += usize::from(applied.is_some());
            assert_eq!(
                planned[&result.address], applied,
                "seed {seed}, {}",
                result.address
            );
        }
        for path in locked {
            root.unlock(&path);
        }
    }
    assert!(refused > 50, "only {refused} changes were refused");
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

fn tree(root: &Path) -> Vec<(PathBuf, u32)> {
    let mut all = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                todo.push(entry.path());
            }
            all.push((
                entry.path().strip_prefix(root).unwrap().to_owned(),
                metadata.mode(),
            ));
        }
    }
    all.sort();
    all
}
