//! Users and groups: creation in steps, stale and unknown members, and what is given back.

use plumb_api::frame::DifferenceState;
use plumb_api::report::{ErrorCode, Outcome};
use serde_json::json;

use crate::Root;
use crate::driver::{Driver, State, plan};

/// Applies what differs, and returns the failures as code and message.
fn try_once(driver: &mut Driver, state: &State) -> Vec<(ErrorCode, String)> {
    let report = driver.observe(state);
    let report = driver.try_apply(state, plan(state, &report)).unwrap();
    report
        .results
        .into_iter()
        .filter_map(|result| match result.outcome {
            Outcome::Failed(error) => Some((error.code, error.message)),
            _ => None,
        })
        .collect()
}

fn other() -> State {
    State::new().with("file:/etc/hostname", json!({"content": "h1\n"}))
}

fn carol() -> State {
    other().with(
        "user:carol",
        json!({"home": "/srv/homes/carol", "shell": "/bin/bash", "createHome": true}),
    )
}

#[test]
fn makes_the_home_in_the_run_in_which_its_folder_can_be_written() {
    let root = Root::new();
    root.write("/etc/skel/.profile", "umask 027\n");
    root.write("/etc/skel/.config/app", "x\n");
    root.write(
        "/etc/login.defs",
        "UMASK 022\nHOME_MODE 0750 # group may look\n",
    );
    root.write("/srv/homes", "in the way");
    let mut driver = root.driver();
    for _ in 0..2 {
        let failures = try_once(&mut driver, &carol());
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].1.contains("/srv/homes/carol"), "{failures:?}");
    }
    std::fs::remove_file(root.path("/srv/homes")).unwrap();
    driver.converge(&carol());
    assert_eq!(root.read("/srv/homes/carol/.profile"), "umask 027\n");
    assert_eq!(root.read("/srv/homes/carol/.config/app"), "x\n");
    assert_eq!(root.mode("/srv/homes/carol"), 0o750);
    assert_eq!(driver.converge(&carol()), 0);
    driver.converge(&other());
    assert!(!root.read("/etc/passwd").contains("carol"));
    assert!(root.has("/srv/homes/carol"), "a home is its owner's");
}

#[test]
fn forgets_a_pending_home_when_the_manifest_no_longer_wants_it() {
    let root = Root::new();
    root.write("/srv/homes", "in the way");
    let mut driver = root.driver();
    assert_eq!(try_once(&mut driver, &carol()).len(), 1);
    let without = other().with(
        "user:carol",
        json!({"home": "/srv/homes/carol", "shell": "/bin/bash", "createHome": false}),
    );
    driver.converge(&without);
    assert_eq!(driver.converge(&without), 0);
    // A later wish is for new users only, as for a user that was there before Plumb.
    driver.converge(&carol());
    assert_eq!(root.read("/srv/homes"), "in the way");
}

#[test]
fn leaves_a_user_without_home_that_was_there_before() {
    let root = Root::new();
    let mut driver = root.driver();
    let alice = State::new().with(
        "user:alice",
        json!({"shell": "/bin/zsh", "createHome": true}),
    );
    driver.converge(&alice);
    assert!(root.read("/etc/passwd").contains("/home/alice:/bin/zsh"));
    assert!(!root.has("/home/alice"));
}

#[test]
fn gives_back_fields_that_only_an_earlier_revision_managed() {
    let root = Root::new();
    let mut driver = root.driver();
    driver.converge(&other().with(
        "user:alice",
        json!({"shell": "/bin/zsh", "comment": "Alice"}),
    ));
    driver.converge(&other().with("user:alice", json!({"comment": "Alice A."})));
    driver.converge(&other());
    assert!(
        root.read("/etc/passwd")
            .contains("alice:x:1000:1000::/home/alice:/bin/sh\n"),
        "{}",
        root.read("/etc/passwd")
    );
}

#[test]
fn gives_back_what_a_failed_run_changed() {
    let root = Root::new();
    let mut driver = root.driver();
    let first = other().with("user:alice", json!({"comment": "Alice"}));
    driver.converge(&first);
    let failing = other().with(
        "user:alice",
        json!({"comment": "Alice", "shell": "/bin/zsh", "groups": ["nowhere"]}),
    );
    let failures = try_once(&mut driver, &failing);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        root.read("/etc/passwd").contains("/home/alice:/bin/zsh"),
        "a field that can be done is done"
    );
    driver.converge(&other());
    assert!(
        root.read("/etc/passwd")
            .contains("alice:x:1000:1000::/home/alice:/bin/sh\n"),
        "{}",
        root.read("/etc/passwd")
    );
}

#[test]
fn adds_the_groups_of_a_user_that_exist_and_names_the_one_that_does_not() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = other().with(
        "user:dave",
        json!({"groups": ["sudo", "nowhere"], "createHome": false}),
    );
    let failures = try_once(&mut driver, &state);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].0, ErrorCode::NotFound);
    assert!(
        failures[0].1.contains("dave") && failures[0].1.contains("`nowhere`"),
        "{failures:?}"
    );
    assert!(root.read("/etc/group").contains("sudo:x:27:alice,dave"));
}

#[test]
fn adds_the_members_that_exist_and_names_the_one_that_does_not() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = other().with(
        "group:app",
        json!({"members": ["alice", "nobody-of-that-name"]}),
    );
    for _ in 0..2 {
        let failures = try_once(&mut driver, &state);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].0, ErrorCode::NotFound);
        assert!(
            failures[0].1.contains("`app`") && failures[0].1.contains("`nobody-of-that-name`"),
            "{failures:?}"
        );
        let group = root.read("/etc/group");
        let line = group.lines().find(|line| line.starts_with("app:")).unwrap();
        assert!(line.ends_with(":alice"), "{line}");
    }
}

#[test]
fn keeps_a_stale_member_under_minimum_and_gives_it_back_after_inclusive() {
    let root = Root::new();
    let line = || {
        let group = root.read("/etc/group");
        group
            .lines()
            .find(|line| line.starts_with("app:"))
            .unwrap()
            .to_owned()
    };
    root.write(
        "/etc/group",
        "root:x:0:\nalice:x:1000:\nsudo:x:27:alice\napp:x:4300:ghost\n",
    );
    let mut driver = root.driver();
    driver.converge(&other().with("group:app", json!({"members": ["alice"]})));
    assert_eq!(line(), "app:x:4300:ghost,alice");
    driver.converge(&other().with(
        "group:app",
        json!({"members": ["alice"], "membership": "inclusive"}),
    ));
    assert_eq!(line(), "app:x:4300:alice");
    driver.converge(&other());
    assert_eq!(line(), "app:x:4300:ghost");
}

#[test]
fn refuses_two_users_or_groups_with_one_number() {
    let root = Root::new();
    let mut driver = root.driver();
    let pairs = [
        (
            "user:bob",
            "user:eve",
            json!({"uid": 1500, "createHome": false}),
        ),
        ("group:one", "group:two", json!({"gid": 1500})),
    ];
    for (first, second, spec) in pairs {
        let state = State::new().with(first, spec.clone()).with(second, spec);
        let report = driver.observe(&state);
        assert_eq!(report.differences.len(), 2);
        for difference in report.differences {
            let DifferenceState::Unobservable(error) = difference.state else {
                panic!("{difference:?}");
            };
            assert_eq!(error.code, ErrorCode::Refused);
            assert!(
                [first, second, "1500"]
                    .iter()
                    .all(|part| error.message.contains(part)),
                "{error}"
            );
        }
    }
    // The number of a user whose spec leaves it out is another's too.
    let state = State::new()
        .with("user:alice", json!({"comment": "A"}))
        .with("user:eve", json!({"uid": 1000, "createHome": false}));
    assert!(matches!(
        driver.observe(&state).differences[0].state,
        DifferenceState::Unobservable(_)
    ));
}

#[test]
fn what_a_change_moves_in_another_resource_is_no_drift() {
    let root = Root::new();
    let mut driver = root.driver();
    let group = |state: State| state.with("group:sudo", json!({"members": ["alice", "app"]}));
    let user = json!({"uid": 1500, "createHome": false});
    let user = other().with("user:app", user);
    driver.converge(&user);
    driver.converge(&group(user));
    // The user takes its membership along.
    let without = group(other());
    let report = driver.observe(&without);
    let report = driver.try_apply(&without, plan(&without, &report)).unwrap();
    let stopped = report.stopped.expect("the host isn't as desired yet");
    assert!(stopped.message.contains("group:sudo"), "{stopped}");
    let report = driver.observe(&without);
    let moved = &report.differences[0];
    assert_eq!(moved.address.to_string(), "group:sudo");
    let (confirmed, observed) = (moved.confirmed.as_ref(), moved.observed.as_ref());
    assert!(
        confirmed.unwrap().compare(observed.unwrap()).is_empty(),
        "what Plumb moved counts as confirmed: {moved:#?}"
    );
    // What somebody else moves is drift.
    root.write("/etc/hostname", "h2\n");
    let report = driver.observe(&without);
    let file = &report.differences[0];
    let (confirmed, observed) = (file.confirmed.as_ref(), file.observed.as_ref());
    assert!(!confirmed.unwrap().compare(observed.unwrap()).is_empty());
}

#[test]
fn takes_back_the_members_that_a_failed_run_added() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = other().with("group:sudo", json!({"members": ["root", "nowhere"]}));
    assert_eq!(try_once(&mut driver, &state).len(), 1);
    assert!(root.read("/etc/group").contains("sudo:x:27:alice,root\n"));
    driver.converge(&other());
    assert!(root.read("/etc/group").contains("sudo:x:27:alice\n"));
}

#[test]
fn makes_a_pending_home_under_manage_once() {
    let root = Root::new();
    root.write("/srv/homes", "in the way");
    let mut driver = root.driver();
    let state = other().with(
        "user:carol",
        json!({"home": "/srv/homes/carol", "manage": "once"}),
    );
    assert_eq!(try_once(&mut driver, &state).len(), 1);
    std::fs::remove_file(root.path("/srv/homes")).unwrap();
    driver.converge(&state);
    assert!(root.has("/srv/homes/carol"));
    std::fs::remove_dir(root.path("/srv/homes/carol")).unwrap();
    assert_eq!(driver.converge(&state), 0);
}

#[test]
fn takes_out_a_member_and_a_group_that_git_drops() {
    let root = Root::new();
    let mut driver = root.driver();
    let both = other()
        .with("group:sudo", json!({"members": ["root", "alice"]}))
        .with("group:ops", json!({}))
        .with("user:alice", json!({"groups": ["ops"]}));
    driver.converge(&both);
    assert!(root.read("/etc/group").contains("sudo:x:27:alice,root\n"));
    let fewer = other()
        .with("group:sudo", json!({"members": []}))
        .with("group:ops", json!({}))
        .with("user:alice", json!({"groups": []}));
    driver.converge(&fewer);
    let groups = root.read("/etc/group");
    assert!(
        groups.contains("sudo:x:27:alice\n"),
        "alice was there before: {groups}"
    );
    let ops = groups.lines().find(|line| line.starts_with("ops:"));
    assert!(ops.is_some_and(|line| line.ends_with(':')), "{groups}");
    assert_eq!(driver.converge(&fewer), 0);
}

#[test]
fn a_group_that_goes_leaves_the_members_that_others_added() {
    let root = Root::new();
    let mut driver = root.driver();
    driver.converge(&other().with("group:sudo", json!({"members": ["root"]})));
    let by_hand = root
        .read("/etc/group")
        .replace("sudo:x:27:alice,root", "sudo:x:27:alice,root,bob");
    root.write("/etc/group", &by_hand);
    driver.converge(&other());
    assert!(root.read("/etc/group").contains("sudo:x:27:alice,bob\n"));
}

#[test]
fn a_removed_user_comes_back_with_the_group_of_its_name() {
    let root = Root::new();
    let mut driver = root.driver();
    driver.converge(&other().with("user:alice", json!({"state": "absent"})));
    // As userdel does it.
    let without = root.read("/etc/group").replace("alice:x:1000:\n", "");
    root.write("/etc/group", &without);
    driver.converge(&other());
    assert!(
        root.read("/etc/passwd")
            .contains("alice:x:1000:1000::/home/alice:/bin/sh\n")
    );
    assert!(root.read("/etc/group").contains("alice:x:1000:\n"));
}

#[test]
fn a_missing_primary_group_stops_only_that_field() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = other().with(
        "user:alice",
        json!({"group": "nowhere", "shell": "/bin/zsh"}),
    );
    for _ in 0..2 {
        let failures = try_once(&mut driver, &state);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].0, ErrorCode::NotFound);
        assert!(failures[0].1.contains("`nowhere`"), "{failures:?}");
        assert!(root.read("/etc/passwd").contains("/home/alice:/bin/zsh"));
    }
    let report = driver.observe(&state);
    assert!(
        report.differences[0].refusal.is_some(),
        "nothing else is left to do: {report:#?}"
    );
}

#[test]
fn group_goes_after_its_users_got_another_primary_group() {
    let root = Root::new();
    let mut driver = root.driver();
    let goes = json!({"state": "absent"});
    let state = other()
        .with("group:staff", json!({"gid": 50}))
        .with("user:alice", json!({"group": "staff"}))
        .with("group:alice", goes.clone());
    driver.converge(&state);
    assert!(!root.read("/etc/group").contains("alice:x:1000:\n"));
    assert!(root.read("/etc/passwd").contains("alice:x:1000:50:"));
    // Both go in one run.
    let root = Root::new();
    let state = other()
        .with("user:alice", goes.clone())
        .with("group:alice", goes);
    root.driver().converge(&state);
    assert!(!root.read("/etc/group").contains("alice:x:1000:\n"));
}

#[test]
fn plan_refuses_to_remove_the_primary_group_of_a_user_that_stays() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = other().with("group:alice", json!({"state": "absent"}));
    let report = driver.observe(&state);
    let refusal = report
        .differences
        .iter()
        .find_map(|difference| difference.refusal.clone())
        .unwrap();
    let says = "the group alice is the primary group of the user alice";
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (ErrorCode::Refused, says)
    );
    assert_eq!(try_once(&mut driver, &state)[0].1, says);
}
