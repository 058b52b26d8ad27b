//! What the kernel makes of a value counts as the value.

use serde_json::json;

use crate::driver::Driver;
use crate::{by_hand, fields, kernel, keys, on_a_host};

const PORTS: &str = "net.ipv4.ip_local_reserved_ports";
const PORTS_PATH: &str = "net/ipv4/ip_local_reserved_ports";

#[test]
fn a_list_and_a_number_in_another_form_are_in_sync() {
    on_a_host(
        "values::a_list_and_a_number_in_another_form_are_in_sync",
        || {
            let mut driver = Driver::host();
            let state = keys(&[
                (PORTS, "8443,8080,8081"),
                ("net.ipv4.ip_default_ttl", "0x40"),
            ]);
            driver.converge(&state);
            assert_eq!(kernel(PORTS_PATH), "8080-8081,8443");
            assert_eq!(driver.converge(&state), 0);
            by_hand(PORTS_PATH, "9000");
            let report = driver.observe(&state);
            assert_eq!(fields(&report, PORTS).len(), 1, "a change by hand is drift");
            assert_eq!(driver.converge(&state), 1);
            assert_eq!(kernel(PORTS_PATH), "8080-8081,8443");
        },
    );
}

#[test]
fn an_empty_value_empties_a_list() {
    on_a_host("values::an_empty_value_empties_a_list", || {
        by_hand(PORTS_PATH, "9000");
        let mut driver = Driver::host();
        driver.converge(&keys(&[(PORTS, "")]));
        assert_eq!(kernel(PORTS_PATH), "");
    });
}

#[test]
fn a_value_that_the_kernel_pads_is_in_sync_as_long_as_it_shows_that() {
    on_a_host(
        "values::a_value_that_the_kernel_pads_is_in_sync_as_long_as_it_shows_that",
        || {
            let key = "net.ipv4.tcp_fastopen_key";
            let path = "net/ipv4/tcp_fastopen_key";
            let made = "0000000a-00000002-00000003-00000004";
            let mut driver = Driver::host();
            let state = keys(&[(key, "A-2-3-4")]);
            driver.converge(&state);
            assert_eq!(kernel(path), made);
            assert_eq!(driver.converge(&state), 0);
            by_hand(path, "5-6-7-8");
            assert_eq!(driver.converge(&state), 1, "a change by hand is drift");
            assert_eq!(kernel(path), made);
            let report = driver.observe(&keys(&[(key, "9-9-9-9")]));
            assert_eq!(fields(&report, key)[0].to, Some(json!("9-9-9-9")));
        },
    );
}
