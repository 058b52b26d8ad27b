use serde_json::json;

use super::*;

const LAN: (&str, &str) = (
    "networks/lan.yaml",
    "kind: Network\nmetadata: {name: lan}\nspec: {type: lan, subnets: [10.88.128.0/24, \"fd00:88:128::/64\"], gateway: a, members: {ap: {id: 2, mac: \"02:00:5e:00:53:02\"}}}\n",
);

fn ask(expression: &str, more: &[(&str, &str)]) -> String {
    let host = object(
        "Host",
        "a",
        &format!(
            "hostname: ALPHA\nnetworks: {{lan: {{id: 88, mac: \"02:00:5e:00:53:88\", interface: eth0, aliases: {{wifi: {{id: 87}}}}}}}}\nendpoints: {{web: {{ports: [80, 9000-9001], on: [lan], scrape: {{job: web, interval: 15s, labels: {{x: \"1\"}}}}}}}}\nresources: {{file: {{/x: {{content: {{template: \"{expression}\"}}}}}}}}"
        ),
    );
    let mut files = vec![("hosts/a.yaml", host.as_str()), LAN];
    files.extend(more);
    let text = told(&files);
    if text.is_empty() {
        super::host("a", &files)["file"]["/x"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    } else {
        text
    }
}

#[test]
fn a_host_knows_itself() {
    assert_eq!(
        ask(
            "{{ host.name }} {{ host.hostname }} {{ host.fqdn }} {{ host.state }} {{ host.labels.role }}",
            &[]
        ),
        "a ALPHA ALPHA.fleet.example active server"
    );
    assert_eq!(
        ask(
            "{{ host.networks.lan.ipv4 }}/{{ host.networks.lan.prefix }} {{ host.networks.lan.ipv6 }} {{ host.networks.lan.interface }}",
            &[]
        ),
        "10.88.128.88/24 fd00:88:128::88 eth0",
        "the same digits in IPv4 and IPv6"
    );
    assert_eq!(
        ask("{{ host.networks.lan.aliases.wifi.ipv4 }}", &[]),
        "10.88.128.87"
    );
}

#[test]
fn a_host_knows_the_fleet() {
    let b = (
        "hosts/b.yaml",
        "kind: Host\nmetadata: {name: b, labels: {role: cloud}}\nspec: {state: dormant, networks: {lan: {id: 3}}}\n",
    );
    let c = (
        "hosts/c.yaml",
        "kind: Host\nmetadata: {name: c, labels: {role: cloud}}\nspec: {state: retired, networks: {lan: {id: 4}}}\n",
    );
    assert_eq!(
        ask(
            "{{ fleet.hosts('role=cloud') | map(attribute='name') | join }}",
            &[b, c]
        ),
        "b",
        "dormant hosts are there, retired ones aren't"
    );
    assert_eq!(
        ask(
            "{{ fleet.hosts(['a', 'b']) | length }} {{ fleet.hosts() | length }} {{ fleet.hosts('*') | length }}",
            &[b]
        ),
        "2 2 2"
    );
    assert_eq!(
        ask("{{ fleet.host('b').state }} {{ fleet.domain }}", &[b]),
        "dormant fleet.example"
    );
    assert_eq!(
        ask(
            "{{ fleet.network('lan').members | map(attribute='name') | join(' ') }} {{ fleet.network('lan').gateway }}",
            &[b]
        ),
        "ap b a a"
    );
    assert_eq!(
        ask(
            "{% for m in fleet.network('lan').members %}{{ m.isHost }}{% endfor %}",
            &[]
        ),
        "falsetrue"
    );
    assert_eq!(
        ask(
            "{% for e in fleet.endpoints(job='web', network='lan') %}{{ e.host }}/{{ e.name }} {{ e.address }} {{ e.ports | join(',') }} {{ e.protocol | join }}{% endfor %}",
            &[]
        ),
        "a/web 10.88.128.88 80,9000-9001 tcp"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&ask(
            "{{ fleet.endpoints(job='web') | targets | tojson }}",
            &[]
        ))
        .unwrap(),
        json!([{"targets": ["10.88.128.88:80", "10.88.128.88:9000-9001"], "labels": {"host": "a", "job": "web", "__metrics_path__": "/metrics", "__scrape_interval__": "15s", "x": "1"}}])
    );
    for (expression, says) in [
        (
            "{{ fleet.host('bb').name }}",
            "error[expression]: `host('bb')`: unknown host `bb`",
        ),
        (
            "{{ fleet.network('lam').name }}",
            "unknown network `lam`; did you mean `lan`?",
        ),
        (
            "{{ fleet.hosts('role=a,') | length }}",
            "`role=a,` isn't a selector",
        ),
        ("{{ fleet.hosst() }}", "`fleet` has no `hosst`"),
        ("{{ fleet.endpoints(jbo='web') }}", "jbo"),
    ] {
        let told = ask(expression, &[b]);
        assert!(told.contains(says), "{expression}\n{told}");
    }
}

#[test]
fn addresses_come_from_ids_and_are_given_once() {
    let network = |subnets: &str, host: &str| {
        let lan = object("Network", "lan", &format!("subnets: [{subnets}]"));
        let host = object(
            "Host",
            "a",
            &format!(
                "networks: {{lan: {host}}}\nresources: {{file: {{/x: {{content: {{template: \"{{{{ host.networks.lan.ipv4 }}}}\"}}}}}}}}"
            ),
        );
        let files = [
            ("hosts/a.yaml", host.as_str()),
            ("networks/lan.yaml", lan.as_str()),
        ];
        let text = told(&files);
        if text.is_empty() {
            super::host("a", &files)["file"]["/x"]["content"]
                .as_str()
                .unwrap()
                .to_owned()
        } else {
            text
        }
    };
    assert_eq!(
        network("198.51.100.32/27", "{id: 8}"),
        "198.51.100.40",
        "base and id"
    );
    assert_eq!(
        network("198.51.100.32/27", "{address: 198.51.100.41}"),
        "198.51.100.41"
    );
    for (subnets, host, says) in [
        (
            "198.51.100.32/27",
            "{id: 40}",
            "hosts/a.yaml:4:19: error[address]: the id 40 is outside of the network `lan`",
        ),
        ("198.51.100.32/27", "{id: 31}", "the id 31 is outside"),
        ("198.51.100.32/27", "{id: 0}", "the id 0 is outside"),
        (
            "198.51.100.32/27",
            "{address: 10.0.0.1}",
            "10.0.0.1 is outside of the network",
        ),
        (
            "198.51.100.32/27",
            "{address: x}",
            "`x` isn't an IPv4 address",
        ),
        (
            "198.51.100.33/27",
            "{id: 1}",
            "networks/lan.yaml:4:13: error[address]: 198.51.100.33/27 has bits set after its prefix\n  hint: write 198.51.100.32/27",
        ),
        ("banana", "{id: 1}", "`banana` isn't a subnet"),
    ] {
        let told = network(subnets, host);
        assert!(told.contains(says), "{subnets} {host}\n{told}");
    }
    let b = (
        "hosts/b.yaml",
        "kind: Host\nmetadata: {name: b}\nspec: {networks: {lan: {id: 88}}}\n",
    );
    let told = ask("x", &[b]);
    assert!(told.contains("hosts/b.yaml:3:24: error[address]: 10.88.128.88 in the network `lan` is already used by `a`"), "{told}");
    assert!(told.contains("[a b]"), "{told}");
    let told = ask(
        "x",
        &[(
            "networks/lan.yaml",
            "kind: Network\nmetadata: {name: lan}\nspec: {subnets: [10.88.128.0/24], members: {a: {id: 3}}}\n",
        )],
    );
    assert!(told.contains("`a` is both a Host and a member"), "{told}");
}

#[test]
fn ways_to_connect_lead_somewhere() {
    let connect = |text: &str| {
        let host = object(
            "Host",
            "a",
            &format!(
                "networks: {{lan: {{id: 88}}}}\nendpoints: {{ssh: {{ports: [2222], on: [lan]}}}}\nconnect: [{text}]"
            ),
        );
        let files = [("hosts/a.yaml", host.as_str()), LAN];
        let resolved = resolved(&files);
        match &resolved.hosts.values().next().unwrap() {
            HostResult::Ready(intent) => intent
                .connect
                .iter()
                .map(|way| format!("{}@{}:{}", way.user, way.address, way.port))
                .collect::<Vec<_>>()
                .join(" "),
            HostResult::Held(diagnostics) => diagnostics[0].to_string(),
        }
    };
    assert_eq!(
        connect(
            "{user: deploy, endpoint: host.ssh}, {network: lan}, {address: a.example, port: 23}"
        ),
        "deploy@10.88.128.88:2222 root@10.88.128.88:22 root@a.example:23"
    );
    for (text, says) in [
        (
            "{endpoint: host.shs}",
            "hosts/a.yaml:6:13: error[connect]: the host has no endpoint `host.shs`\n  hint: did you mean `host.ssh`?",
        ),
        ("{network: wan}", "the host isn't in the network `wan`"),
        (
            "{user: x}",
            "an entry of `connect` must have exactly one of `address`, `network` and `endpoint`",
        ),
        (
            "{endpoint: host.ssh, port: 1}",
            "`port` can't be set beside `endpoint`, which has a port",
        ),
        (
            "{address: x, via: [b]}",
            "error[unsupported-field]: `connect.via` isn't supported",
        ),
    ] {
        let told = connect(text);
        assert!(told.contains(says), "{text}\n{told}");
    }
}

#[test]
fn alertmanagers_are_endpoints_or_addresses() {
    let fleet = |text: &str| {
        format!("kind: Fleet\nmetadata: {{name: home}}\nspec: {{alertmanagers: [{text}]}}\n")
    };
    let host = (
        "hosts/a.yaml",
        "kind: Host\nmetadata: {name: a}\nspec: {networks: {lan: {id: 3}}, endpoints: {api: {ports: [9093], on: [lan]}}}\n",
    );
    let text = fleet("{to: a/host.api}, {url: \"http://192.0.2.1:9093/\"}");
    assert_eq!(
        resolved(&[host, LAN, ("fleet.yaml", &text)]).alertmanagers,
        ["http://10.88.128.3:9093", "http://192.0.2.1:9093"].map(plumb_api::AlertmanagerUrl::new)
    );
    for (entry, says) in [
        (
            "{to: a/host.apj}",
            "fleet.yaml:3:24: error[unknown-reference]: `a` has no such endpoint\n  hint: did you mean `a/host.api`?",
        ),
        ("{to: b/host.api}", "unknown host `b`"),
        (
            "{}",
            "an Alertmanager must have exactly one of `to` and `url`",
        ),
        (
            "{url: \"192.0.2.1\"}",
            "isn't the address of an Alertmanager",
        ),
    ] {
        let text = fleet(entry);
        let told = told(&[host, LAN, ("fleet.yaml", &text)]);
        assert!(told.contains(says), "{entry}\n{told}");
    }
}

#[test]
fn identities_belong_to_one_host() {
    let a = (
        "hosts/a.yaml",
        "kind: Host\nmetadata: {name: a}\nspec: {uid: u1, formerly: [b]}\n",
    );
    let b = (
        "hosts/b.yaml",
        "kind: Host\nmetadata: {name: b}\nspec: {uid: u1}\n",
    );
    let told = told(&[a, b]);
    assert!(
        told.contains("hosts/b.yaml:3:13: error[invalid-value]: `a` has the same uid"),
        "{told}"
    );
    assert!(
        told.contains("`b` is listed in `formerly`, but still is a host"),
        "{told}"
    );
}

#[test]
fn error_in_fleet_yaml_hides_no_error_of_a_host() {
    let host = (
        "hosts/a.yaml",
        "kind: Host\nmetadata: {name: a}\nspec: {resources: {file: {/etc/x: {contnet: x}}, package: {hello: {after: [file:/etc/base]}}}}\n",
    );
    for fleet in [
        "kind: Fleet\nmetadata: {name: home}\nspec: {domian: x}\n",
        "kind: Fleet\nmetadata: {name: home}\nspec: {hostDefaults: {resources: {file: {/etc/base: {content: x}}}}, rollout: {halt: {failures: none}}}\n",
        "kind: {\n",
    ] {
        let told = told(&[("fleet.yaml", fleet), host]);
        assert!(told.contains("fleet.yaml:"), "{told}");
        assert!(
            told.contains("error[unknown-field]: unknown field `contnet`"),
            "{told}"
        );
        assert!(!told.contains("file:/etc/base"), "{told}");
    }
}
