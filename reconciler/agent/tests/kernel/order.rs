//! Keys that reset others.

use std::fs;

use crate::driver::Driver;
use crate::{by_hand, kernel, keys, on_a_host};

const ALL: (&str, &str) = ("net.ipv4.ip_forward", "1");
const ONE: (&str, &str) = ("net.ipv4.conf.ve/100.forwarding", "0");
const ONE_PATH: &str = "net/ipv4/conf/ve.100/forwarding";

#[test]
fn keys_that_reset_others_are_written_first() {
    on_a_host("order::keys_that_reset_others_are_written_first", || {
        by_hand("net/ipv4/ip_forward", "0");
        let mut driver = Driver::host();
        driver.converge(&keys(&[ALL, ONE]));
        assert_eq!(
            (kernel("net/ipv4/ip_forward"), kernel(ONE_PATH)),
            ("1".to_owned(), "0".to_owned())
        );
    });
}

#[test]
fn a_key_that_another_one_resets_is_set_again_in_the_same_run() {
    on_a_host(
        "order::a_key_that_another_one_resets_is_set_again_in_the_same_run",
        || {
            by_hand("net/ipv4/ip_forward", "0");
            let mut driver = Driver::host();
            driver.converge(&keys(&[ONE]));
            driver.converge(&keys(&[ALL, ONE]));
            assert_eq!(kernel(ONE_PATH), "0");
        },
    );
}

#[test]
fn files_are_read_in_that_order_at_boot() {
    on_a_host("order::files_are_read_in_that_order_at_boot", || {
        Driver::host().converge(&keys(&[ALL, ONE]));
        by_hand("net/ipv4/ip_forward", "0");
        by_hand(ONE_PATH, "1");
        let mut files: Vec<_> = fs::read_dir("/etc/sysctl.d")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        // As systemd-sysctl does, file by file.
        for file in files {
            for line in fs::read_to_string(file).unwrap().lines() {
                if let Some((key, value)) = line.split_once(" = ") {
                    let path = plumb_api::resource::SysctlSpec::kernel_name(key);
                    by_hand(&path, value);
                }
            }
        }
        assert_eq!(
            (kernel("net/ipv4/ip_forward"), kernel(ONE_PATH)),
            ("1".to_owned(), "0".to_owned())
        );
    });
}
