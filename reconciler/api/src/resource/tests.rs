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
    for good in ["g++", "libstdc++6", "btop", "0ad", "libc6:i386"] {
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
    let changes = spec.compare(&found(ServiceState::Started));
    assert_eq!(fields(&changes), ["inputs"]);
    assert_eq!(
        spec.consequences("x", &changes),
        [Consequence::Restarts("x.service".into())]
    );
    assert!(spec.compare(&found(ServiceState::Stopped)).is_empty());
}

#[test]
fn drop_ins_restart_and_order_like_their_unit() {
    let dependents = |name: &str| {
        Kind::Unit
            .dependents(name)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(dependents("nginx.service.d/limits.conf"), ["service:nginx"]);
    assert_eq!(dependents("backup.timer"), ["service:backup.timer"]);
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
    assert_eq!(first, ["directory:/srv", "directory:/srv/www", "user:www"]);
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
