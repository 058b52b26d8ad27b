//! Originals of keys.

use crate::driver::Driver;
use crate::{by_hand, kernel, keys, on_a_host};

#[test]
fn an_empty_original_is_given_back() {
    on_a_host("giving_back::an_empty_original_is_given_back", || {
        let path = "net/ipv4/ip_local_reserved_ports";
        assert_eq!(kernel(path), "");
        let mut driver = Driver::host();
        driver.converge(&keys(&[("net.ipv4.ip_local_reserved_ports", "8443,8080")]));
        assert_eq!(kernel(path), "8080,8443");
        driver.converge(&keys(&[]));
        assert_eq!(kernel(path), "");
    });
}

#[test]
fn a_second_name_of_a_value_keeps_the_original() {
    on_a_host(
        "giving_back::a_second_name_of_a_value_keeps_the_original",
        || {
            by_hand("net/ipv4/ip_forward", "0");
            let mut driver = Driver::host();
            driver.converge(&keys(&[("net.ipv4.ip_forward", "1")]));
            driver.converge(&keys(&[("net.ipv4.conf.all.forwarding", "1")]));
            assert_eq!(
                kernel("net/ipv4/ip_forward"),
                "1",
                "it isn't given back in between"
            );
            driver.converge(&keys(&[]));
            assert_eq!(kernel("net/ipv4/ip_forward"), "0");
            assert_eq!(std::fs::read_dir("/etc/sysctl.d").unwrap().count(), 0);
        },
    );
}
