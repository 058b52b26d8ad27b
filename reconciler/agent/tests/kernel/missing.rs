//! Keys of interfaces that aren't there, and interfaces with dots in their names.

use std::fs;

use plumb_api::report::ErrorCode;
use serde_json::json;

use crate::driver::{Driver, State};
use crate::{apply, kernel, keys, on_a_host, trouble};

#[test]
fn dots_of_an_interface_are_slashes_or_a_path() {
    on_a_host(
        "missing::dots_of_an_interface_are_slashes_or_a_path",
        || {
            let mut driver = Driver::host();
            let state = keys(&[
                ("net.ipv4.conf.ve/100.arp_ignore", "1"),
                ("net/ipv4/conf/ve.100.200/arp_ignore", "2"),
            ]);
            driver.converge(&state);
            assert_eq!(kernel("net/ipv4/conf/ve.100/arp_ignore"), "1");
            assert_eq!(kernel("net/ipv4/conf/ve.100.200/arp_ignore"), "2");
        },
    );
}

#[test]
fn an_interface_that_isnt_there_fails_alone_and_its_file_waits() {
    on_a_host(
        "missing::an_interface_that_isnt_there_fails_alone_and_its_file_waits",
        || {
            let key = "net.ipv4.conf.gone/7.arp_ignore";
            let state = keys(&[(key, "1"), ("net.ipv4.conf.ve/100.arp_ignore", "1")]);
            let mut driver = Driver::host();
            let failed = apply(&mut driver, &state);
            assert_eq!(failed.len(), 1, "{failed:?}");
            assert_eq!(failed[0].1.code, ErrorCode::NotFound);
            assert!(failed[0].1.message.contains("no network interface gone.7"));
            assert_eq!(kernel("net/ipv4/conf/ve.100/arp_ignore"), "1");
            let file = "/etc/sysctl.d/81-plumb-net.ipv4.conf.gone+7.arp_ignore.conf";
            let text = fs::read_to_string(file).unwrap();
            assert!(text.contains("net.ipv4.conf.gone/7.arp_ignore = 1\n"));
            let error = trouble(&driver.observe(&state), key);
            assert!(error.hint.unwrap().contains(file), "the plan says so too");
            let dropped = keys(&[("net.ipv4.conf.ve/100.arp_ignore", "1")]);
            driver.converge(&dropped);
            assert!(
                !fs::exists(file).unwrap(),
                "what a failed run wrote is taken back"
            );
        },
    );
}

#[test]
fn read_only_kernel_is_refused_by_the_plan_as_by_the_run() {
    on_a_host(
        "missing::read_only_kernel_is_refused_by_the_plan_as_by_the_run",
        || {
            let mount = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
            let done = std::process::Command::new("sh")
                .args(["-c", mount])
                .status();
            assert!(done.unwrap().success());
            let key = "net.ipv4.conf.ve/100.arp_ignore";
            let state = keys(&[(key, "1")]);
            let mut driver = Driver::host();
            let report = driver.observe(&state);
            let mut all = report.differences.iter();
            let refusal = all.find_map(|one| one.refusal.clone()).unwrap();
            assert_eq!(refusal.code, ErrorCode::Refused);
            assert!(
                refusal.message.contains("Read-only file system"),
                "{refusal}"
            );
            let failed = apply(&mut driver, &state);
            assert_eq!(failed.len(), 1, "{failed:?}");
            assert_eq!(failed[0].1.message, refusal.message);
        },
    );
}

#[test]
fn a_key_spelled_with_dots_names_the_one_that_the_kernel_has() {
    on_a_host(
        "missing::a_key_spelled_with_dots_names_the_one_that_the_kernel_has",
        || {
            // `check` refuses it; an agent may still be given it.
            let mut state = State::new();
            let address = "sysctl:net.ipv4.conf.ve.100.forwarding".parse().unwrap();
            let spec = plumb_api::Kind::Sysctl
                .decode(json!({"value": "1"}))
                .unwrap();
            state.specs.insert(address, spec);
            let failed = apply(&mut Driver::host(), &state);
            let hint = failed[0].1.hint.clone().unwrap();
            assert!(hint.contains("`net.ipv4.conf.ve/100.forwarding`"), "{hint}");
        },
    );
}

#[test]
fn a_key_that_can_only_be_written_is_refused_once() {
    on_a_host(
        "missing::a_key_that_can_only_be_written_is_refused_once",
        || {
            let key = "net.ipv4.route.flush";
            let report = Driver::host().observe(&keys(&[(key, "1")]));
            assert_eq!(trouble(&report, key).code, ErrorCode::Refused);
        },
    );
}
