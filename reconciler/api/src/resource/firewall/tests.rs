use serde_json::json;

use super::*;

fn spec(value: Value) -> FirewallSpec {
    serde_json::from_value(value).unwrap()
}

fn rules_of(spec: &FirewallSpec, chain: &str) -> Vec<Value> {
    spec.transaction()
        .into_iter()
        .map(|command| command["add"]["rule"].clone())
        .filter(|rule| rule["chain"] == chain)
        .map(|rule| rule["expr"].clone())
        .collect()
}

fn in_sync(spec: &FirewallSpec) -> FirewallObserved {
    FirewallObserved {
        rules: Some(spec.reading()),
        saved: FirewallSpec::of_file(&spec.file()).map(Box::new),
        boot: BootLoading::Enabled,
    }
}

fn differing(spec: &FirewallSpec, observed: &FirewallObserved) -> Vec<String> {
    let changes = spec.compare(observed);
    changes.into_iter().map(|change| change.field).collect()
}

#[test]
fn opening_is_a_rule_for_each_protocol_and_family() {
    let spec = spec(json!({"open": [{
        "ports": [22, "80-90", 85, 91], "protocol": ["tcp", "udp"], "on": ["interface:wg0"],
        "from": ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32"],
    }]}));
    let rules = rules_of(&spec, "input");
    let open = &rules[rules.len() - 4..];
    let interface =
        json!({"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "wg0"}});
    let ports = json!({"set": [22, {"range": [80, 91]}]});
    let v4 = json!({"set": ["192.0.2.7", {"prefix": {"addr": "10.0.0.0", "len": 8}}]});
    for (rule, protocol) in open.iter().zip(["tcp", "udp", "tcp", "udp"]) {
        assert_eq!(rule[0], interface);
        assert_eq!(rule[2]["match"]["left"]["payload"]["protocol"], protocol);
        assert_eq!(rule[2]["match"]["right"], ports);
        assert_eq!(rule[3], json!({"accept": null}));
    }
    assert_eq!(open[0][1]["match"]["right"], v4);
    assert_eq!(
        open[2][1]["match"]["right"],
        json!({"prefix": {"addr": "2001:db8::", "len": 32}})
    );
}

#[test]
fn defaults_drop_and_have_neither_trust_nor_masquerading() {
    let spec = FirewallSpec::default();
    let chains: Vec<(Value, Value)> = spec
        .transaction()
        .iter()
        .map(|command| &command["add"]["chain"])
        .filter(|chain| !chain.is_null())
        .map(|chain| (chain["name"].clone(), chain["policy"].clone()))
        .collect();
    let expected = [
        ("reverse-path", "accept"),
        ("input", "drop"),
        ("forward", "drop"),
    ];
    assert_eq!(
        chains,
        expected.map(|(name, policy)| (json!(name), json!(policy)))
    );
    assert!(!spec.lets_in(22));
    let spec: FirewallSpec = serde_json::from_value(json!({"forwards": [
        {"from": "interface:wan0", "port": 8443, "protocol": ["tcp", "udp"], "to": "2001:db8::7", "toPort": 443},
    ]}))
    .unwrap();
    assert_eq!(
        rules_of(&spec, "destination")[1][2],
        json!({"dnat": {"family": "ip6", "addr": "2001:db8::7", "port": 443}})
    );
    let spec: FirewallSpec = serde_json::from_value(json!({"reversePath": "off"})).unwrap();
    assert!(rules_of(&spec, "reverse-path").is_empty());
}

#[test]
fn reading_ignores_handles_and_orders_and_sees_every_other_change() {
    let spec = spec(json!({"trusted": ["interface:a", "interface:b"], "open": [{"ports": [22]}]}));
    let mut listed: Vec<Value> = spec.transaction()[2..]
        .iter()
        .map(|command| command["add"].clone())
        .collect();
    for (handle, object) in listed.iter_mut().enumerate() {
        for body in object.as_object_mut().unwrap().values_mut() {
            body["handle"] = json!(handle + 7);
        }
    }
    listed.insert(0, json!({"metainfo": {"version": "1.0.6"}}));
    let trusted = listed
        .iter()
        .position(|object| object["rule"]["expr"][0]["match"]["right"]["set"] == json!(["a", "b"]))
        .unwrap();
    listed[trusted]["rule"]["expr"][0]["match"]["right"] = json!({"set": ["b", "a"]});
    assert_eq!(RulesReading::of(&listed), spec.reading());

    let changed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut other = listed.clone();
        change(&mut other);
        RulesReading::of(&other) != spec.reading()
    };
    assert!(changed(&|all| drop(all.remove(trusted))), "removed");
    assert!(changed(&|all| all.push(all[trusted].clone())), "added");
    assert!(changed(&|all| all.swap(trusted, trusted + 1)), "moved");
    let port = json!({"set": [23]});
    assert!(changed(&|all| {
        let last = all.len() - 1;
        all[last - 2]["rule"]["expr"][0]["match"]["right"] = port.clone();
    }));
    assert!(changed(&|all| all[1]["table"]["flags"] = json!("dormant")));
    assert!(changed(
        &|all| all.push(json!({"set": {"name": "s", "table": "plumb"}}))
    ));
}

#[test]
fn file_gives_the_spec_back_unless_it_was_changed() {
    let spec = spec(json!({
        "input": "accept", "ping": false, "open": [{"ports": [22, "60000-61000"]}],
        "masquerade": [{"from": "interface:lan0", "to": "interface:wan0"}],
    }));
    let text = spec.file();
    assert_eq!(FirewallSpec::of_file(&text), Some(spec.clone()));
    assert_eq!(
        FirewallSpec::of_file(&text.replacen("\"drop\"", "\"accept\"", 1)),
        None
    );
    assert!(differing(&spec, &in_sync(&spec)).is_empty());
}

#[test]
fn drift_of_rules_and_of_boot_is_told_apart_from_intent() {
    let before = spec(json!({"open": [{"ports": [22]}]}));
    let after = spec(json!({"open": [{"ports": [22, 80]}]}));
    assert_eq!(differing(&after, &in_sync(&before)), ["open", "rules"]);
    let mut found = in_sync(&before);
    found.rules = Some(FirewallSpec::default().reading());
    assert_eq!(differing(&before, &found), ["rules"]);
    found = in_sync(&before);
    found.boot = BootLoading::Changed;
    assert_eq!(differing(&before, &found), ["boot"]);
    found.rules = None;
    assert_eq!(differing(&before, &found), ["rules", "boot"]);
    let absent = spec(json!({"state": "absent"}));
    assert_eq!(differing(&absent, &found), ["state"]);
    assert!(differing(&absent, &FirewallObserved::default()).is_empty());
}

#[test]
fn networks_become_interfaces_in_one_order() {
    let spec = spec(json!({
        "trusted": ["wg", "interface:a0", "wg"],
        "open": [{"ports": [443]}, {"ports": [80, 22], "on": ["lan"]}],
        "masquerade": [{"from": "lan", "to": "wg"}],
    }));
    assert_eq!(spec.unresolved(), Some("wg"));
    let resolved = spec
        .with_interfaces(|_, name| Ok::<_, ()>(format!("{name}0")))
        .unwrap();
    assert_eq!(resolved.unresolved(), None);
    assert_eq!(
        serde_json::to_value(&resolved).unwrap(),
        json!({
            "trusted": ["interface:a0", "interface:wg0"],
            "open": [{"ports": [22, 80], "on": ["interface:lan0"]}, {"ports": [443]}],
            "masquerade": [{"from": "interface:lan0", "to": "interface:wg0"}],
        })
    );
    let failed = spec.with_interfaces(|field, name| Err::<String, _>((field, name.to_owned())));
    assert_eq!(failed, Err(("trusted", "wg".to_owned())));
}

#[test]
fn wrong_zones_subnets_and_openings_are_refused() {
    for wrong in [
        json!({"trusted": ["interface:"]}),
        json!({"trusted": ["interface:a b"]}),
        json!({"trusted": ["interface:sixteen-bytes-xx"]}),
        json!({"trusted": ["eth0\""]}),
        json!({"open": [{"ports": [0]}]}),
        json!({"open": [{"ports": [22], "from": ["10.0.0.1/8"]}]}),
        json!({"open": [{"ports": [22], "from": ["0.0.0.0/0"]}]}),
        json!({"open": [{"ports": [22], "from": ["10.0.0.0/33"]}]}),
        json!({"open": [{"ports": [22], "protocol": ["icmp"]}]}),
        json!({"open": [{"on": ["wg"]}]}),
    ] {
        assert!(
            serde_json::from_value::<FirewallSpec>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
    for (value, field) in [
        (json!({"open": [{"ports": []}]}), "open"),
        (json!({"open": [{"ports": [1], "protocol": []}]}), "open"),
        (
            json!({"masquerade": [{"from": "lan", "to": "lan"}]}),
            "masquerade",
        ),
    ] {
        let problems = spec(value).check("main");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].field, field);
    }
    assert!(FirewallSpec::check_name("other").is_err());
}

#[test]
fn way_in_for_a_port_is_an_opening_or_trust() {
    for (value, lets_in) in [
        (json!({}), false),
        (json!({"input": "accept"}), true),
        (json!({"trusted": ["wg"]}), true),
        (json!({"open": [{"ports": ["20-30"]}]}), true),
        (
            json!({"open": [{"ports": ["20-30"], "protocol": ["udp"]}]}),
            false,
        ),
        (json!({"open": [{"ports": [2222]}]}), false),
        (json!({"state": "absent"}), true),
    ] {
        assert_eq!(spec(value.clone()).lets_in(22), lets_in, "{value}");
    }
}
