use serde_json::json;

use super::*;

fn spec(kind: Kind, json: serde_json::Value) -> Spec {
    kind.decode(json).unwrap()
}

fn fields(changes: &[FieldChange]) -> Vec<&str> {
    changes.iter().map(|change| change.field.as_str()).collect()
}

#[test]
fn only_what_is_listed_is_compared() {
    let spec = spec(Kind::File, json!({"mode": "0644"}));
    let found = |mode: &str| {
        Observed::File(FileObserved {
            file_type: FileType::File,
            content: Some(Content::of(b"anything")),
            mode: mode.parse().ok(),
            ..FileObserved::default()
        })
    };
    assert!(spec.compare(&found("0644")).is_empty());
    assert_eq!(fields(&spec.compare(&found("0600"))), ["mode"]);
}

#[test]
fn accounts_that_are_to_be_absent_and_are_not_there_are_in_sync() {
    let absent = json!({"state": "absent"});
    let user = spec(Kind::User, absent.clone());
    assert!(
        user.compare(&Observed::User(UserObserved::default()))
            .is_empty()
    );
    let group = spec(Kind::Group, absent);
    assert!(
        group
            .compare(&Observed::Group(GroupObserved::default()))
            .is_empty()
    );
}

#[test]
fn a_password_is_compared_by_its_digest_and_a_lock_needs_one() {
    let hash = Content::of(b"$6$x");
    let spec = spec(
        Kind::User,
        json!({"password": {"hash": hash}, "locked": true}),
    );
    let found = |password, locked| {
        Observed::User(UserObserved {
            state: Some(Presence::Present),
            password: Some(password),
            locked: Some(locked),
            ..UserObserved::default()
        })
    };
    let in_sync = found(PasswordObserved::Hash(hash), PasswordLock::Locked);
    assert!(spec.compare(&in_sync).is_empty());
    let other = found(PasswordObserved::Other, PasswordLock::NoPassword);
    let changes = spec.compare(&other);
    assert_eq!(fields(&changes), ["password"]);
    assert_eq!(changes[0].from, Some(json!("another")));
    assert_eq!(changes[0].to, Some(json!(hash)));
    let open = found(PasswordObserved::Hash(hash), PasswordLock::Open);
    assert_eq!(fields(&spec.compare(&open)), ["locked"]);
    assert_eq!(spec.contents(), [hash]);
}

#[test]
fn typos_and_wrong_types_are_refused() {
    assert!(Kind::File.decode(json!({"onwer": "root"})).is_err());
    assert!(Kind::File.decode(json!({"mode": 644})).is_err());
    assert!(Kind::File.decode(json!({"mode": "9644"})).is_err());
    assert!(Kind::User.decode(json!({"groups": "sudo"})).is_err());
}

#[test]
fn membership_is_minimum_unless_said() {
    let found = Observed::User(UserObserved {
        state: Some(Presence::Present),
        groups: Some(["sudo".to_owned()].into()),
        ..UserObserved::default()
    });
    let minimum = spec(Kind::User, json!({"groups": ["video"]}));
    let change = &minimum.compare(&found)[0];
    assert_eq!(
        change.to,
        Some(json!(["sudo", "video"])),
        "sudo isn't taken away"
    );
    let inclusive = spec(
        Kind::User,
        json!({"groups": ["video"], "membership": "inclusive"}),
    );
    assert_eq!(inclusive.compare(&found)[0].to, Some(json!(["video"])));
}

#[test]
fn a_purged_package_satisfies_absent_but_not_the_other_way() {
    let absent = spec(Kind::Package, json!({"state": "absent"}));
    let purged = spec(Kind::Package, json!({"state": "purged"}));
    let nothing = Observed::Package(PackageObserved::default());
    let leftover = Observed::Package(PackageObserved {
        config_files: true,
        ..PackageObserved::default()
    });
    assert!(absent.compare(&nothing).is_empty() && absent.compare(&leftover).is_empty());
    assert!(purged.compare(&nothing).is_empty());
    assert_eq!(fields(&purged.compare(&leftover)), ["state"]);
}

#[test]
fn package_names_that_apt_takes_for_something_else_are_refused() {
    for good in [
        "g++",
        "libstdc++6",
        "memtest86+",
        "btop",
        "0ad",
        "libc6:i386",
    ] {
        assert!(Kind::Package.check_name(good).is_ok(), "{good}");
    }
    for bad in [
        "nginx-",
        "nginx+",
        "a",
        "nginx=1",
        "linux-*",
        "--reinstall",
        "Foo",
        "nginx:",
    ] {
        assert!(Kind::Package.check_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_stale_service_restarts_only_while_it_runs() {
    let spec = spec(Kind::Service, json!({"restartOn": ["file:/etc/x"]}));
    let found = |state| {
        Observed::Service(ServiceObserved {
            known: true,
            state: Some(state),
            stale: Stale::Restart,
            ..ServiceObserved::default()
        })
    };
    let changes = spec.compare(&found(RunState::Started));
    assert_eq!(fields(&changes), ["inputs"]);
    assert_eq!(
        spec.consequences("x", &changes),
        [Consequence::Restarts("x.service".into())]
    );
    assert!(spec.compare(&found(RunState::Stopped)).is_empty());
}

/// The inputs among `units` that a service reads without naming them.
fn read_by<'a>(service: &str, units: &[&'a str]) -> Vec<&'a str> {
    let service = Address::new(Kind::Service, service).unwrap();
    let unit = |name: &str| Address::new(Kind::Unit, name).unwrap();
    let read = |name: &&&str| reads(&service, &unit(name));
    units.iter().filter(read).copied().collect()
}

#[test]
fn a_service_reads_its_unit_its_template_and_drop_ins_at_every_level() {
    let units = [
        "worker@.service",
        "worker@.service.d/all.conf",
        "worker@a.service.d/only.conf",
        "worker@b.service.d/only.conf",
        "foo-.service.d/x.conf",
        "foo-bar-.service.d/x.conf",
        "foo-.service",
        "foo-bar.service",
        "service.d/all.conf",
        "socket.d/all.conf",
    ];
    assert_eq!(
        read_by("worker@a", &units),
        [units[0], units[1], units[2], units[8]]
    );
    assert_eq!(read_by("foo-bar", &units), [units[4], units[7], units[8]]);
    assert_eq!(
        read_by("foo-bar-baz", &units),
        [units[4], units[5], units[8]]
    );
    assert_eq!(read_by("nginx", &["nginx.service.d/limits.conf"]).len(), 1);
    assert!(read_by("nginx", &["nginx-.service.d/x.conf"]).is_empty());
}

#[test]
fn a_socket_or_a_timer_comes_after_what_it_triggers() {
    let spec = spec(Kind::Service, json!({"state": "started"}));
    let units = ["web.service", "web.socket", "web.service.d/x.conf"];
    assert_eq!(read_by("web.socket", &units), units);
    assert_eq!(
        spec.on_input("web.socket", "web.service"),
        Some(Consequence::Restarts("web.service".into()))
    );
    assert_eq!(
        spec.on_input("web.socket", "web.socket"),
        Some(Consequence::Restarts("web.socket".into()))
    );
    assert_eq!(read_by("web.timer", &units), [units[0], units[2]]);
    assert_eq!(spec.on_input("web.timer", "web.service"), None);
    assert!(read_by("web", &["web.socket", "web.timer"]).is_empty());
}

#[test]
fn a_file_in_the_folder_of_units_is_read_like_a_unit() {
    let service = Address::new(Kind::Service, "worker@a").unwrap();
    let read = |kind, name: &str| reads(&service, &Address::new(kind, name).unwrap());
    assert!(read(Kind::File, "/etc/systemd/system/worker@.service"));
    assert!(read(
        Kind::File,
        "/etc/systemd/system/worker@a.service.d/x.conf"
    ));
    assert!(read(Kind::Link, "/etc/systemd/system/worker@a.service"));
    assert!(!read(Kind::File, "/etc/worker@.service"));
}

#[test]
fn a_unit_under_way_is_neither_started_nor_stopped() {
    use RunState::{Failed, Reloading, Restarting, Started, Starting, Stopped, Stopping};
    let found = |state| {
        Observed::Service(ServiceObserved {
            known: true,
            state: Some(state),
            ..ServiceObserved::default()
        })
    };
    let started = spec(Kind::Service, json!({"state": "started"}));
    let stopped = spec(Kind::Service, json!({"state": "stopped"}));
    assert!(started.compare(&found(Started)).is_empty());
    for state in [Stopped, Starting, Restarting, Reloading, Stopping, Failed] {
        assert_eq!(
            fields(&started.compare(&found(state))),
            ["state"],
            "{state:?}"
        );
        let by_itself = state != Stopped;
        assert_eq!(started.by_itself(&found(state), "state"), by_itself);
        assert!(!stopped.by_itself(&found(state), "state"));
    }
    for state in [Started, Starting, Restarting, Reloading, Stopping] {
        assert_eq!(
            fields(&stopped.compare(&found(state))),
            ["state"],
            "{state:?}"
        );
    }
    for state in [Stopped, Failed] {
        assert!(stopped.compare(&found(state)).is_empty(), "{state:?}");
    }
}

#[test]
fn an_empty_unit_file_is_a_mask_and_refused() {
    let empty = Content::of(b"");
    let unit = spec(Kind::Unit, json!({"content": empty}));
    let problems = unit.check("sleeper.service");
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .hint
            .contains("service: {sleeper: {masked: true}}")
    );
    assert!(unit.check("sleeper.service.d/x.conf").is_empty());
    let masked = spec(Kind::Service, json!({"masked": true}));
    let claims = masked.claims("sleeper");
    let path = Kind::Unit.path("sleeper.service");
    assert_eq!(path.as_deref(), Some(claims[0].path.as_str()));
}

#[test]
fn names_of_units_and_services_have_one_spelling() {
    assert!(
        Kind::Service.check_name("nginx.service").is_err(),
        "one spelling only"
    );
    for bad in [
        "nginx",
        "../x.service",
        "nginx.service.d/x",
        "nginx.service.d/../../x.conf",
        ".service",
        "nonsense.d/x.conf",
    ] {
        assert!(Kind::Unit.check_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn sysctls_compare_with_white_space_folded() {
    let spec = spec(Kind::Sysctl, json!({"value": "32768  60999"}));
    let same = Observed::Sysctl(SysctlObserved {
        running: Some("32768 60999".into()),
        persisted: Some("32768 60999".into()),
    });
    assert!(spec.compare(&same).is_empty());
}

#[test]
fn what_comes_first_follows_from_types() {
    let spec = spec(Kind::File, json!({"owner": "www", "group": "33"}));
    let first: Vec<_> = spec
        .requires("/srv/www/x")
        .iter()
        .map(|d| d.address.to_string())
        .collect();
    assert_eq!(
        first,
        [
            "directory:/srv",
            "archive:/srv",
            "git:/srv",
            "link:/srv",
            "mount:/srv",
            "directory:/srv/www",
            "archive:/srv/www",
            "git:/srv/www",
            "link:/srv/www",
            "mount:/srv/www",
            "user:www"
        ]
    );
}

#[test]
fn specs_survive_the_wire_and_have_one_digest() {
    let spec = spec(Kind::Service, json!({"state": "started", "enabled": true}));
    let text = serde_json::to_string(&spec).unwrap();
    let back: Spec = serde_json::from_str(&text).unwrap();
    assert_eq!(spec, back);
    assert_eq!(spec.digest(), back.digest());
    assert_eq!(
        text, r#"{"service":{"state":"started","enabled":true}}"#,
        "defaults are left out"
    );
}
