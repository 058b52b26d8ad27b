//! What it makes, adopts, puts right and gives back.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use plumb_api::frame::{LedgerState, Purpose};
use plumb_api::report::ErrorCode;
use serde_json::json;

use crate::driver::{Driver, State, failures, plan};
use crate::{Root, everything};

#[test]
fn a_folder_that_two_files_share_goes_with_the_last_of_them() {
    let root = Root::new();
    let mut driver = root.driver();
    let one = State::new().with("file:/srv/shared/deep/one", json!({"content": "1\n"}));
    driver.converge(&one);
    let both = one.with("file:/srv/shared/deep/two", json!({"content": "2\n"}));
    driver.converge(&both);
    let two = State::new().with("file:/srv/shared/deep/two", json!({"content": "2\n"}));
    driver.converge(&two);
    assert!(root.has("/srv/shared/deep/two"));
    driver.converge(&State::new().with("file:/etc/hostname", json!({"content": "h1\n"})));
    assert!(!root.has("/srv"));
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
            attendance: plumb_api::frame::Attendance::Unattended,
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

/// In mode `alert` new intent is applied, and drift in other fields of the same resource is left.
#[test]
fn fields_that_a_plan_does_not_name_are_left_alone() {
    let root = Root::new();
    let mut driver = root.driver();
    driver.converge(&State::new().with(
        "file:/etc/motd",
        json!({"content": "one\n", "mode": "0644"}),
    ));
    fs::set_permissions(root.path("/etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
    let state = State::new().with(
        "file:/etc/motd",
        json!({"content": "two\n", "mode": "0644"}),
    );
    let report = driver.observe(&state);
    let mut plan = plan(&state, &report);
    let change = &mut plan.changes[0];
    change.fields = report.differences[0].fields.clone();
    assert_eq!(change.fields.len(), 2);
    change.fields.retain(|field| field.field == "content");
    let report = driver.try_apply(&state, plan).unwrap();
    assert_eq!(failures(&report), Vec::<String>::new());
    assert_eq!(root.read("/etc/motd"), "two\n");
    assert_eq!(root.mode("/etc/motd"), 0o600, "the drift is still there");
    let rest = driver.observe(&state);
    assert_eq!(
        rest.differences[0].fields[0].field, "mode",
        "and is still told"
    );
}

#[test]
fn managed_bytes_never_stay_in_a_file_that_others_could_write_to() {
    use std::os::unix::fs::MetadataExt;
    let root = Root::new();
    let mut driver = root.driver();
    root.write("/etc/f", "same");
    fs::set_permissions(root.path("/etc/f"), fs::Permissions::from_mode(0o666)).unwrap();
    let inode = || std::fs::metadata(root.path("/etc/f")).unwrap().ino();
    let before = inode();
    let state = State::new().with("file:/etc/f", json!({"content": "same", "mode": "0600"}));
    driver.converge(&state);
    assert_ne!(inode(), before, "only its mode was to change");
    assert_eq!(
        (root.read("/etc/f").as_str(), root.mode("/etc/f")),
        ("same", 0o600)
    );
    let bits = State::new().with("file:/etc/f", json!({"mode": "0640"}));
    let before = inode();
    driver.converge(&bits);
    assert_eq!(
        inode(),
        before,
        "bytes that aren't managed stay where they are"
    );
}

#[test]
fn set_id_bits_are_not_handed_to_new_bytes() {
    let root = Root::new();
    let mut driver = root.driver();
    root.write("/etc/f", "theirs");
    let set = |mode| {
        std::fs::set_permissions(root.path("/etc/f"), std::fs::Permissions::from_mode(mode))
            .unwrap()
    };
    set(0o6755);
    let state = State::new().with("file:/etc/f", json!({"content": "ours"}));
    let report = driver.observe(&state);
    assert_eq!(
        report.differences[0].losses,
        ["the set-user-id bit", "the set-group-id bit"],
        "the plan says so beforehand"
    );
    driver.converge(&state);
    assert_eq!(root.mode("/etc/f"), 0o755);
    let listed = State::new().with("file:/etc/f", json!({"content": "more", "mode": "4755"}));
    driver.converge(&listed);
    assert_eq!(root.mode("/etc/f"), 0o4755);
}
