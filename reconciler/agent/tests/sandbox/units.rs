//! Units and services that share a path or a name: masks, templates, links that outlive their unit.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::Root;
use crate::driver::State;

const UNIT: &str = "/etc/systemd/system/sleeper.service";
const TEXT: &str =
    "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

fn beside() -> State {
    State::new().with("file:/etc/hostname", json!({"content": "h1\n"}))
}

fn managed(service: serde_json::Value) -> State {
    beside()
        .with("unit:sleeper.service", json!({"content": TEXT}))
        .with("service:sleeper", service)
}

fn is_mask(root: &Root, path: &str) -> bool {
    fs::read_link(root.path(path)).is_ok_and(|target| target.to_str() == Some("/dev/null"))
}

#[test]
fn a_mask_of_plumb_gives_way_to_the_unit_file_in_one_run() {
    for later in [
        json!({"enabled": true}),
        json!({"enabled": true, "masked": false}),
    ] {
        let root = Root::new();
        let mut driver = root.driver();
        driver.converge(&beside().with("service:sleeper", json!({"masked": true})));
        assert!(is_mask(&root, UNIT));
        driver.converge(&managed(later));
        assert_eq!(root.read(UNIT), TEXT);
        assert!(root.has("/etc/systemd/system/multi-user.target.wants/sleeper.service"));
        driver.converge(&beside());
        assert!(!root.has(UNIT), "before Plumb there was nothing");
        assert!(!root.has("/etc/systemd/system/multi-user.target.wants/sleeper.service"));
    }
}

#[test]
fn a_mask_of_the_host_comes_back_when_the_unit_file_goes() {
    for service in [
        json!({"enabled": true}),
        json!({"enabled": true, "masked": false}),
    ] {
        let root = Root::new();
        root.write("/etc/systemd/system/other.service", TEXT);
        symlink("/dev/null", root.path(UNIT)).unwrap();
        let mut driver = root.driver();
        driver.converge(&managed(service));
        assert_eq!(root.read(UNIT), TEXT);
        driver.converge(&beside());
        assert!(is_mask(&root, UNIT), "the host's own mask");
    }
}

#[test]
fn an_instance_is_enabled_by_its_template_and_leaves_no_link() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = beside()
        .with("unit:worker@.service", json!({"content": TEXT}))
        .with("service:worker@a", json!({"enabled": true}));
    driver.converge(&state);
    let link = "/etc/systemd/system/multi-user.target.wants/worker@a.service";
    assert!(root.has(link));
    driver.converge(&beside());
    assert!(!root.has(link));
    assert!(!root.has("/etc/systemd/system/worker@.service"));
}

#[test]
fn a_link_that_outlived_its_unit_is_removed() {
    let root = Root::new();
    let link = "/etc/systemd/system/multi-user.target.wants/gone.service";
    root.write(
        "/etc/systemd/system/multi-user.target.wants/other.service",
        "",
    );
    symlink("/lib/systemd/system/gone.service", root.path(link)).unwrap();
    let mut driver = root.driver();
    driver.converge(&beside().with("service:gone", json!({"enabled": false})));
    assert!(!root.has(link));
}
