//! A whole agent over its wire, on a directory: what it makes, gives back, refuses and survives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod driver;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use driver::{Driver, State, failures, plan};
use plumb_api::frame::{DifferenceState, LedgerState, Lineage, Purpose, RevisionMark, TakeOver};
use plumb_api::report::{ErrorCode, Outcome};
use plumb_api::{Address, Epoch};
use serde_json::json;

/// A directory that goes when it is dropped.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "plumb-agent-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("etc/systemd/system")).unwrap();
        for folder in ["", "etc", "etc/systemd", "etc/systemd/system"] {
            fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n",
        );
        write("etc/group", "root:x:0:\nalice:x:1000:\nsudo:x:27:alice\n");
        write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name.trim_start_matches('/'))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().mode() & 0o7777
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    fn driver(&self) -> Driver {
        Driver::sandbox(&self.0)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn everything() -> State {
    State::new()
        .with("group:web", json!({"gid": 800}))
        .with("user:www", json!({"uid": 801, "group": "web", "groups": ["sudo"], "home": "/srv/www", "shell": "/usr/sbin/nologin", "comment": "web", "createHome": false}))
        .with("directory:/srv/www", json!({"owner": "www", "group": "web", "mode": "2750"}))
        .with("file:/srv/www/deep/er/index.html", json!({"content": "hello\n", "owner": "www", "group": "web", "mode": "0640"}))
        .with("file:/etc/motd", json!({"content": "welcome\n"}))
        .with("link:/etc/localtime", json!({"target": "/usr/share/zoneinfo/UTC"}))
        .with("unit:app.service", json!({"content": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"}))
        .with("unit:app.service.d/limits.conf", json!({"content": "[Service]\nLimitNOFILE=4096\n"}))
        .with("service:app", json!({"enabled": true}))
        .with("sysctl:net.ipv4.ip_forward", json!({"value": "1"}))
}

#[test]
fn everything_is_made_once_and_given_back() {
    let root = Root::new();
    root.write("/etc/motd", "the admin's\n");
    fs::set_permissions(root.path("/etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut driver = root.driver();
    let state = everything();
    assert_eq!(driver.converge(&state), 10);
    assert_eq!(driver.converge(&state), 0, "nothing is left to do");
    assert_eq!(root.read("/srv/www/deep/er/index.html"), "hello\n");
    assert_eq!(root.mode("/srv/www/deep/er/index.html"), 0o640);
    assert_eq!(root.mode("/srv/www"), 0o2750);
    assert_eq!(
        root.mode("/srv/www/deep"),
        0o755,
        "folders above are made 0755"
    );
    assert_eq!(root.read("/etc/motd"), "welcome\n");
    assert_eq!(
        root.mode("/etc/motd"),
        0o600,
        "a mode that isn't named stays"
    );
    assert!(
        root.read("/etc/passwd")
            .contains("www:x:801:800:web:/srv/www:/usr/sbin/nologin")
    );
    assert!(root.read("/etc/group").contains("sudo:x:27:alice,www"));
    assert!(root.has("/etc/systemd/system/multi-user.target.wants/app.service"));
    assert!(
        root.read("/etc/sysctl.d/80-plumb-net.ipv4.ip_forward.conf")
            .contains("net.ipv4.ip_forward = 1\n")
    );

    let nothing = State::new().with("file:/etc/hostname", json!({"content": "h1\n"}));
    driver.converge(&nothing);
    assert_eq!(
        root.read("/etc/motd"),
        "the admin's\n",
        "what was there is given back"
    );
    assert_eq!(root.mode("/etc/motd"), 0o600);
    for gone in [
        "/srv",
        "/etc/localtime",
        "/etc/systemd/system/app.service",
        "/etc/systemd/system/multi-user.target.wants/app.service",
        "/etc/sysctl.d/80-plumb-net.ipv4.ip_forward.conf",
    ] {
        assert!(!root.has(gone), "{gone} was ours and goes");
    }
    assert_eq!(
        root.read("/etc/group"),
        "root:x:0:\nalice:x:1000:\nsudo:x:27:alice\n"
    );
    assert!(!root.read("/etc/passwd").contains("www"));
}

#[test]
fn each_kind_of_drift_is_found_and_put_right() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = everything();
    driver.converge(&state);
    let drifts: [(&str, &dyn Fn()); 8] = [
        ("file:/etc/motd", &|| root.write("/etc/motd", "drifted\n")),
        ("file:/srv/www/deep/er/index.html", &|| {
            fs::set_permissions(
                root.path("/srv/www/deep/er/index.html"),
                fs::Permissions::from_mode(0o666),
            )
            .unwrap();
        }),
        ("file:/etc/motd", &|| {
            fs::remove_file(root.path("/etc/motd")).unwrap()
        }),
        ("link:/etc/localtime", &|| {
            fs::remove_file(root.path("/etc/localtime")).unwrap();
            symlink("/nowhere", root.path("/etc/localtime")).unwrap();
        }),
        ("user:www", &|| {
            root.write(
                "/etc/passwd",
                &root
                    .read("/etc/passwd")
                    .replace("/usr/sbin/nologin", "/bin/sh"),
            )
        }),
        ("service:app", &|| {
            fs::remove_file(root.path("/etc/systemd/system/multi-user.target.wants/app.service"))
                .unwrap()
        }),
        ("sysctl:net.ipv4.ip_forward", &|| {
            root.write("/etc/sysctl.d/80-plumb-net.ipv4.ip_forward.conf", "x\n")
        }),
        ("unit:app.service", &|| {
            root.write(
                "/etc/systemd/system/app.service",
                "[Install]\nWantedBy=multi-user.target\n",
            )
        }),
    ];
    for (address, drift) in drifts {
        drift();
        let report = driver.observe(&state);
        let found: Vec<String> = report
            .differences
            .iter()
            .map(|d| d.address.to_string())
            .collect();
        assert_eq!(found, [address.to_owned()]);
        let difference = &report.differences[0];
        assert_eq!(
            difference.confirmed.as_ref(),
            state.specs.get(&difference.address),
            "what was confirmed is told"
        );
        driver.converge(&state);
    }
}

#[test]
fn looking_writes_nothing() {
    let root = Root::new();
    let mut driver = root.driver();
    let report = driver.try_observe(&everything(), Purpose::Look).unwrap();
    assert_eq!(report.ledger.state, LedgerState::Fresh);
    assert_eq!(report.differences.len(), 10);
    assert!(!root.has("/var"));
}

#[test]
fn an_in_sync_host_isnt_written_to() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = everything();
    driver.converge(&state);
    let stamps = || {
        let home = root.path("/var/lib/plumb");
        let mut all: Vec<_> = fs::read_dir(&home)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name(),
                    entry.metadata().unwrap().ino(),
                    entry.metadata().unwrap().mtime_nsec(),
                )
            })
            .collect();
        all.sort();
        all
    };
    let before = stamps();
    let report = driver.observe(&state);
    assert_eq!(report.in_sync, 10);
    assert_eq!(report.ledger.confirmed, Some(state.digest()));
    assert_eq!(stamps(), before);
}

#[test]
fn a_delta_needs_its_base() {
    use plumb_api::frame::{Delta, Observe, Request, Response, Reveal};
    let root = Root::new();
    let mut driver = root.driver();
    let one = State::new().with("file:/etc/a", json!({"content": "a"}));
    let two = one.clone().with("file:/etc/b", json!({"content": "b"}));
    let mut delta = Delta::default();
    delta.set.extend(
        two.specs
            .clone()
            .into_iter()
            .filter(|(address, _)| !one.specs.contains_key(address)),
    );
    let ask = |driver: &mut Driver, target| {
        let request = Request::Observe(Observe {
            fence: driver.fence.clone(),
            base: Some(one.digest()),
            target,
            delta: delta.clone(),
            purpose: Purpose::Drive,
            reveal: Reveal::Nothing,
        });
        driver.ask(&request)
    };
    assert_eq!(ask(&mut driver, two.digest()), Response::NeedState);
    driver.converge(&one);
    drop(driver);
    let mut driver = root.driver();
    assert!(
        matches!(ask(&mut driver, one.digest()), Response::Error(error) if error.code == ErrorCode::Protocol)
    );
    let Response::Observed(report) = ask(&mut driver, two.digest()) else {
        panic!()
    };
    assert_eq!((report.in_sync, report.differences.len()), (1, 1));
}

#[test]
fn the_fence_knows_its_controller_host_and_fleet() {
    let root = Root::new();
    let state = everything();
    root.driver().converge(&state);
    let with = |change: &dyn Fn(&mut plumb_api::frame::Fence)| {
        let mut driver = root.driver();
        change(&mut driver.fence);
        driver
            .try_observe(&state, Purpose::Drive)
            .map_err(|error| error.code)
    };
    assert_eq!(
        with(&|fence| fence.host = "h2".parse().unwrap()).unwrap_err(),
        ErrorCode::Refused
    );
    assert_eq!(
        with(&|fence| fence.fleet = "work".parse().unwrap()).unwrap_err(),
        ErrorCode::Refused
    );
    assert_eq!(
        with(&|fence| fence.protocol = 99).unwrap_err(),
        ErrorCode::Protocol
    );
    assert_eq!(
        with(&|fence| fence.controller = "c2".parse().unwrap()).unwrap_err(),
        ErrorCode::Superseded
    );
    let take_over = |epoch| {
        move |fence: &mut plumb_api::frame::Fence| {
            fence.controller = "c2".parse().unwrap();
            fence.take_over = TakeOver::Yes;
            fence.epoch = Epoch(epoch);
        }
    };
    assert_eq!(
        with(&take_over(1)).unwrap_err(),
        ErrorCode::Superseded,
        "not above the highest"
    );
    assert!(with(&take_over(2)).is_ok());
    assert_eq!(
        with(&|_| {}).unwrap_err(),
        ErrorCode::Superseded,
        "the old one is out"
    );
}

#[test]
fn a_newer_controller_stops_a_run_between_two_changes() {
    let root = Root::new();
    let mut old = root.driver();
    let mut state = State::new();
    for n in 0..2000 {
        state = state.with(
            &format!("file:/srv/{n}"),
            json!({"content": format!("{n}")}),
        );
    }
    let report = old.observe(&state);
    let plan = plan(&state, &report);
    let mut new = root.driver();
    new.fence.epoch = Epoch(2);
    let other = state.clone();
    let claim = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(40));
        new.try_observe(&other, Purpose::Drive)
    });
    let report = old.try_apply(&state, plan);
    let _ = claim.join().unwrap();
    match report {
        Ok(report) => {
            let stopped = report
                .results
                .iter()
                .filter(|result| result.outcome == Outcome::Stopped)
                .count();
            assert_eq!(
                report.stopped.map(|error| error.code),
                Some(ErrorCode::Superseded)
            );
            assert!(stopped > 0, "the rest wasn't tried");
        }
        Err(error) => assert_eq!(error.code, ErrorCode::Superseded),
    }
}

#[test]
fn a_host_refuses_to_go_back() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = everything();
    driver.converge(&state);
    let next = state.clone().with("file:/etc/new", json!({"content": "x"}));
    let report = driver.observe(&next);
    let mut go = |lineage| {
        driver
            .try_apply_with(&next, plan(&next, &report), lineage)
            .map_err(|error| error.code)
    };
    let mark = |text: &str| RevisionMark(text.to_owned());
    assert_eq!(go(Lineage::First).unwrap_err(), ErrorCode::WouldGoBack);
    assert_eq!(
        go(Lineage::DescendsFrom(mark("r0"))).unwrap_err(),
        ErrorCode::WouldGoBack
    );
    assert!(!root.has("/etc/new"));
    assert!(go(Lineage::RollsBackFrom(mark("r1"))).is_ok());
}

#[test]
fn hostile_links_are_not_followed() {
    let root = Root::new();
    fs::create_dir_all(root.path("/tmp")).unwrap();
    fs::set_permissions(root.path("/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir_all(root.path("/data")).unwrap();
    symlink("/etc", root.path("/tmp/trap")).unwrap();
    symlink("/data", root.path("/etc/good")).unwrap();
    symlink("../../../../../../etc", root.path("/etc/up")).unwrap();
    symlink("loop", root.path("/etc/loop")).unwrap();
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/tmp/trap/passwd", json!({"content": "evil\n"}))
        .with("file:/etc/good/file", json!({"content": "fine\n"}))
        .with("file:/etc/up/inside", json!({"content": "inside\n"}))
        .with("file:/etc/loop/x", json!({"content": "x"}));
    let report = driver.observe(&state);
    let codes: Vec<(String, Option<ErrorCode>)> = report
        .differences
        .iter()
        .map(|difference| {
            let code = match &difference.state {
                DifferenceState::Unobservable(error) => Some(error.code),
                _ => None,
            };
            (difference.address.to_string(), code)
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("file:/etc/good/file".to_owned(), None),
            ("file:/etc/loop/x".to_owned(), Some(ErrorCode::UnsafePath)),
            ("file:/etc/up/inside".to_owned(), None),
            (
                "file:/tmp/trap/passwd".to_owned(),
                Some(ErrorCode::UnsafePath)
            ),
        ]
    );
    let good = state
        .without("file:/tmp/trap/passwd")
        .without("file:/etc/loop/x");
    driver.converge(&good);
    assert_eq!(root.read("/data/file"), "fine\n");
    assert_eq!(
        root.read("/etc/inside"),
        "inside\n",
        "`..` ends at the root"
    );
    assert!(root.read("/etc/passwd").starts_with("root:"));
}

#[test]
fn what_is_in_the_way_is_refused_and_stops_only_its_dependents() {
    let root = Root::new();
    fs::create_dir_all(root.path("/etc/conf")).unwrap();
    root.write("/etc/shared", "x");
    fs::hard_link(root.path("/etc/shared"), root.path("/etc/other-name")).unwrap();
    symlink("/etc/passwd", root.path("/etc/linked")).unwrap();
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/conf", json!({"content": "a"}))
        .with(
            "file:/etc/dependent",
            json!({"content": "b", "after": ["file:/etc/conf"]}),
        )
        .with("file:/etc/shared", json!({"content": "c"}))
        .with("file:/etc/linked", json!({"content": "d"}))
        .with("file:/etc/free", json!({"content": "e"}));
    let report = driver.observe(&state);
    let plan = plan(&state, &report);
    let report = driver.try_apply(&state, plan).unwrap();
    let outcome = |address: &str| {
        let address: Address = address.parse().unwrap();
        &report
            .results
            .iter()
            .find(|result| result.address == address)
            .unwrap()
            .outcome
    };
    for refused in ["file:/etc/conf", "file:/etc/shared", "file:/etc/linked"] {
        assert!(
            matches!(outcome(refused), Outcome::Failed(error) if error.code == ErrorCode::Refused),
            "{refused}: {:?}",
            outcome(refused)
        );
    }
    assert!(matches!(
        outcome("file:/etc/dependent"),
        Outcome::Skipped(_)
    ));
    assert_eq!(*outcome("file:/etc/free"), Outcome::Applied);
    assert_eq!(root.read("/etc/shared"), "x");
    assert!(root.read("/etc/passwd").starts_with("root:"));
}

#[test]
fn a_change_underneath_fails_its_precondition() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new().with("file:/etc/x", json!({"content": "wanted"}));
    let report = driver.observe(&state);
    let plan = plan(&state, &report);
    root.write("/etc/x", "somebody was faster");
    let report = driver.try_apply(&state, plan).unwrap();
    assert!(
        matches!(&report.results[0].outcome, Outcome::Failed(error) if error.code == ErrorCode::PreconditionFailed)
    );
    assert_eq!(root.read("/etc/x"), "somebody was faster");
}

#[test]
fn a_missing_content_and_an_unknown_owner_change_nothing() {
    let root = Root::new();
    let mut driver = root.driver();
    let mut state = State::new()
        .with("file:/etc/x", json!({"content": "never sent"}))
        .with(
            "file:/etc/y",
            json!({"content": "sent", "owner": "nobody-here"}),
        );
    let missing = plumb_api::Digest::of_bytes(b"never sent");
    state.contents.remove(&missing);
    let report = driver.observe(&state);
    let plan = plan(&state, &report);
    let report = driver.try_apply(&state, plan).unwrap();
    let codes: Vec<_> = report
        .results
        .iter()
        .map(|result| match &result.outcome {
            Outcome::Failed(error) => Some(error.code),
            _ => None,
        })
        .collect();
    assert_eq!(
        codes,
        [Some(ErrorCode::MissingContent), Some(ErrorCode::NotFound)]
    );
    assert!(!root.has("/etc/x") && !root.has("/etc/y"));
    assert_eq!(
        report.ledger.resources, 0,
        "nothing was made, so nothing is remembered"
    );
}

#[test]
fn made_once_is_left_alone_afterwards() {
    let root = Root::new();
    root.write("/etc/there", "theirs");
    let mut driver = root.driver();
    let state = State::new()
        .with(
            "file:/etc/seed",
            json!({"content": "first", "manage": "once"}),
        )
        .with(
            "file:/etc/there",
            json!({"content": "ours", "manage": "once"}),
        );
    assert_eq!(driver.converge(&state), 1);
    assert_eq!(root.read("/etc/there"), "theirs");
    root.write("/etc/seed", "grown");
    assert_eq!(driver.converge(&state), 0);
    assert_eq!(root.read("/etc/seed"), "grown");
}

#[test]
fn what_was_adopted_stays_when_it_is_dropped() {
    let root = Root::new();
    root.write("/etc/adopted", "same\n");
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/adopted", json!({"content": "same\n"}))
        .with("file:/etc/other", json!({"content": "x"}));
    driver.converge(&state);
    // It drifts, is put right, and then git drops it: it stays as it was found at first contact.
    root.write("/etc/adopted", "drifted\n");
    driver.converge(&state);
    let less = state.clone().without("file:/etc/adopted");
    assert_eq!(driver.converge(&less), 0, "nothing to take back");
    assert_eq!(root.read("/etc/adopted"), "same\n");
    // Adopted, then changed by git, then dropped: the adopted content comes back.
    let changed = less
        .clone()
        .with("file:/etc/adopted", json!({"content": "new\n"}));
    driver.converge(&state);
    driver.converge(&changed);
    assert_eq!(root.read("/etc/adopted"), "new\n");
    driver.converge(&less);
    assert_eq!(root.read("/etc/adopted"), "same\n");
}

#[test]
fn a_directory_that_others_filled_stays() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new()
        .with("directory:/srv/data", json!({}))
        .with("file:/etc/x", json!({"content": "x"}));
    driver.converge(&state);
    root.write("/srv/data/photo.jpg", "precious");
    driver.converge(&state.clone().without("directory:/srv/data"));
    assert_eq!(root.read("/srv/data/photo.jpg"), "precious");
    assert_eq!(
        driver
            .observe(&state.without("directory:/srv/data"))
            .gone
            .len(),
        0,
        "and is forgotten"
    );
}

#[test]
fn a_sandbox_has_no_packages_and_runs_nothing() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new()
        .with("package:btop", json!({}))
        .with("service:app", json!({"state": "started"}))
        .with(
            "file:/etc/sudoers.d/x",
            json!({"content": "x", "validate": ["false", "%s"]}),
        );
    let report = driver.observe(&state);
    let unsupported = report
        .differences
        .iter()
        .filter(|difference| matches!(difference.state, DifferenceState::Unsupported(_)))
        .count();
    assert_eq!(unsupported, 2);
}

/// Copies the agent's folder aside.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_run_cut_off_anywhere_rolls_forward() {
    let root = Root::new();
    root.write("/etc/motd", "the admin's\n");
    let first = State::new()
        .with("file:/etc/motd", json!({"content": "one\n"}))
        .with("file:/etc/b", json!({"content": "b1"}));
    let second = State::new()
        .with("file:/etc/motd", json!({"content": "two\n"}))
        .with("file:/etc/c", json!({"content": "c1"}));
    let mut driver = root.driver();
    driver.converge(&first);
    let home = root.path("/var/lib/plumb");
    let before = root.path("/before");
    let after = root.path("/after");
    copy(&home, &before);
    driver.converge(&second);
    copy(&home, &after);
    drop(driver);
    let journal = fs::read(home.join("journal")).unwrap();
    let ends: Vec<usize> = journal
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    assert!(ends.len() > 3, "a run has several records");
    // Every end of a record, and every seventh byte between: as if the power went there.
    let cuts: Vec<usize> = (ends[0]..=journal.len())
        .filter(|at| at % 7 == 0 || ends.contains(at))
        .collect();
    for cut in cuts {
        copy(&before, &home);
        // Originals are kept before the intent is written.
        copy(&after.join("originals"), &home.join("originals"));
        fs::write(home.join("journal"), &journal[..cut]).unwrap();
        let mut driver = root.driver();
        driver.revision = 3;
        let report = driver.observe(&second);
        assert_eq!(report.ledger.state, LedgerState::Sound, "cut at {cut}");
        assert_eq!(report.ledger.sequence, 2, "the journal was taken in");
        let plan = plan(&second, &report);
        if !plan.is_settled() {
            let lineage = Lineage::DescendsFrom(report.ledger.revision.clone().unwrap());
            let report = driver.try_apply_with(&second, plan, lineage).unwrap();
            assert_eq!(failures(&report), Vec::<String>::new(), "cut at {cut}");
        }
        let rest = driver.observe(&second);
        assert!(
            rest.differences.is_empty() && rest.unconfirmed.is_empty(),
            "cut at {cut}: {rest:#?}"
        );
        // The original is still the admin's, whatever was cut off.
        let dropped = second.clone().without("file:/etc/motd");
        let report = driver.observe(&dropped);
        let plan = plan_for(&dropped, &report);
        let lineage = Lineage::DescendsFrom(report.ledger.revision.clone().unwrap());
        driver.try_apply_with(&dropped, plan, lineage).unwrap();
        assert_eq!(root.read("/etc/motd"), "the admin's\n", "cut at {cut}");
        root.write("/etc/motd", "two\n");
    }
}

fn plan_for(state: &State, report: &plumb_api::frame::ObserveReport) -> plumb_api::plan::Plan {
    plan(state, report)
}

#[test]
fn a_damaged_ledger_is_lost_unless_the_journal_explains_it() {
    let root = Root::new();
    let mut driver = root.driver();
    let mut state = everything();
    driver.converge(&state);
    for n in 0..3 {
        state = state.with("file:/etc/x", json!({"content": format!("{n}")}));
        driver.converge(&state);
    }
    drop(driver);
    let home = root.path("/var/lib/plumb");
    let kept = root.path("/kept");
    copy(&home, &kept);
    let look = || {
        let mut driver = root.driver();
        driver
            .try_observe(&state, Purpose::Look)
            .map(|report| (report.ledger.state, report.ledger.sequence))
    };
    let (sound, newest) = look().unwrap();
    assert_eq!(sound, LedgerState::Sound);
    let newest_file = if newest % 2 == 0 {
        "ledger.a"
    } else {
        "ledger.b"
    };
    let older_file = if newest % 2 == 0 {
        "ledger.b"
    } else {
        "ledger.a"
    };

    let bytes = fs::read(home.join(newest_file)).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(home.join(newest_file), &damaged).unwrap();
        match look() {
            Ok((LedgerState::Sound, sequence)) => {
                assert!(sequence == newest || sequence == newest - 1, "byte {at}")
            }
            Ok(other) => panic!("byte {at}: {other:?}"),
            Err(error) => assert_eq!(error.code, ErrorCode::NewerFormat, "byte {at}"),
        }
    }
    fs::remove_file(home.join("journal")).unwrap();
    assert!(
        matches!(look().unwrap().0, LedgerState::Lost(_)),
        "without the journal nobody knows"
    );
    let mut driver = root.driver();
    driver.revision = 9;
    let report = driver.observe(&state);
    let error = driver.try_apply(&state, plan(&state, &report)).unwrap_err();
    assert_eq!(error.code, ErrorCode::LedgerLost);

    copy(&kept, &home);
    fs::write(home.join(newest_file), b"").unwrap();
    fs::write(home.join(older_file), b"").unwrap();
    assert!(matches!(look().unwrap().0, LedgerState::Lost(_)));

    copy(&kept, &home);
    let text = String::from_utf8(fs::read(home.join(newest_file)).unwrap()).unwrap();
    fs::write(
        home.join(newest_file),
        text.replacen("plumb-ledger 1", "plumb-ledger 2", 1),
    )
    .unwrap();
    assert_eq!(look().unwrap_err().code, ErrorCode::NewerFormat);

    copy(&kept, &home);
    root.write("/etc/machine-id", "ffffffffffffffffffffffffffffffff\n");
    assert!(matches!(look().unwrap().0, LedgerState::Lost(why) if why.contains("clone")));
}

#[test]
fn garbage_on_the_wire_ends_the_session_with_a_reason() {
    use plumb_agent::{End, Sys, serve};
    let root = Root::new();
    let sys = Sys::sandbox(&root.0).unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 9, 0, b'{'],
        &[0, 0, 0, 3, 0, b'x', b'y'],
    ] {
        assert_eq!(serve(&sys, garbage, std::io::sink()), End::Broken);
    }
    assert_eq!(serve(&sys, &b""[..], std::io::sink()), End::Closed);
}

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
