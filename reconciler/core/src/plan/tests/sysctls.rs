//! Kernel parameters in plans: values in the kernel's own form, and keys that reset others.

use plumb_api::read_back::ReadBacks;
use plumb_api::resource::SysctlObserved;

use super::*;

fn keys(values: &[(&str, &str)]) -> HostIntent {
    let mut all = vec![("file:/etc/a".to_owned(), json!({"content": content("1")}))];
    for (key, value) in values {
        all.push((format!("sysctl:{key}"), json!({"value": value})));
    }
    let all: Vec<(&str, Value)> = all
        .iter()
        .map(|(address, spec)| (address.as_str(), spec.clone()))
        .collect();
    intent(&all)
}

#[test]
fn new_value_over_one_in_hosts_own_form_is_intent() {
    let key = "net.ipv4.tcp_fastopen_key";
    let host = settled(&keys(&[(key, "A-2")]));
    let after = keys(&[(key, "9-9")]);
    let mut report = host.observe(&goal(&after));
    let difference = &mut report.differences[0];
    difference.observed = Some(Observed::Sysctl(SysctlObserved {
        running: Some("0a-02".to_owned()),
        persisted: Some("A-2".to_owned()),
    }));
    let without = plan(&after, &report, PlanOptions::default());
    assert_eq!(without.plan.changes[0].cause, Cause::Conflict);
    let written = FieldChange::new("running", "0a-02", "A-2");
    report.differences[0].read_back = ReadBacks::of([&written]);
    let with = plan(&after, &report, PlanOptions::default());
    assert_eq!(with.plan.changes[0].cause, Cause::Intent);
}

#[test]
fn keys_that_reset_others_come_first_on_the_way_out_too() {
    let all = ("net.ipv4.ip_forward", "1");
    let one = ("net.ipv4.conf.eth0.forwarding", "0");
    let order = [
        "create sysctl:net.ipv4.ip_forward intent exact",
        "create sysctl:net.ipv4.conf.eth0.forwarding intent exact",
    ];
    let first = planned(&keys(&[all, one]), &settled(&keys(&[])));
    assert_eq!(lines(&first), order);
    let last = planned(&keys(&[]), &settled(&keys(&[all, one])));
    assert_eq!(
        lines(&last),
        order.map(|line| line.replace("create", "delete"))
    );
}

#[test]
fn key_that_another_one_resets_is_set_again() {
    let one = ("net.ipv4.conf.eth0.forwarding", "0");
    let host = settled(&keys(&[one]));
    let next = planned(&keys(&[("net.ipv4.ip_forward", "1"), one]), &host);
    assert_eq!(
        lines(&next),
        [
            "create sysctl:net.ipv4.ip_forward intent exact",
            "run sysctl:net.ipv4.conf.eth0.forwarding intent predicted",
        ]
    );
}
