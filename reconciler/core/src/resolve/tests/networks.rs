//! Networks: members and what they may not share, and the addresses at which endpoints are reached.

use super::*;

const KEYS: [&str; 2] = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=",
];

const WG: &str = "type: wireguard\nsubnets: [192.0.2.0/24, \"2001:db8::/64\"]\nwireguard: {hub: hub, endpoint: \"hub.fleet.example:2208\"}\n";

/// The files of a network `wg` with a hub, and of a host `a`.
fn star(network: &str, a: &str) -> Vec<(String, String)> {
    let hub = format!("networks: {{wg: {{id: 1, publicKey: \"{}\"}}}}", KEYS[0]);
    vec![
        (
            "networks/wg.yaml".to_owned(),
            object("Network", "wg", network),
        ),
        ("hosts/hub.yaml".to_owned(), object("Host", "hub", &hub)),
        ("hosts/a.yaml".to_owned(), object("Host", "a", a)),
    ]
}

fn told_of_star(network: &str, a: &str) -> String {
    told(&borrowed(&star(network, a)))
}

/// A host in the network `wg` with these fields.
fn spoke(fields: &str) -> String {
    format!("networks: {{wg: {{id: 2, {fields}}}}}")
}

fn keyed(more: &str) -> String {
    spoke(&format!("publicKey: \"{}\"{more}", KEYS[1]))
}

#[test]
fn member_without_a_key_is_named_and_never_dropped() {
    assert_eq!(told_of_star(WG, &keyed("")), "");
    let mac = "mac: \"02:00:5e:00:53:02\"";
    let told = told_of_star(WG, &spoke(mac));
    assert!(
        told.contains("hosts/a.yaml:4:18: error[peer]: `a` has no public key in the network `wg`"),
        "{told}"
    );
    assert!(told.contains("hint: add its `publicKey`"), "{told}");
    assert_eq!(told_of_star(WG, &spoke("keyless: true")), "");
    let dormant = format!("state: dormant\n{}", spoke(mac));
    assert_eq!(told_of_star(WG, &dormant), "");
    let told = told_of_star(&format!("{WG}members: {{grim: {{id: 3}}}}"), &keyed(""));
    assert!(
        told.contains("networks/wg.yaml:7:19: error[peer]: `grim` has no public key"),
        "{told}"
    );
}

#[test]
fn hub_is_a_member_and_settings_fit_the_type() {
    for (network, says) in [
        (
            WG.replace("hub: hub", "hub: hbu"),
            "networks/wg.yaml:6:20: error[unknown-reference]: the hub `hbu` isn't a host or member of this network\n  hint: did you mean `hub`?",
        ),
        (
            WG.replace("hub: hub", "hub: [hub, a]"),
            "networks/wg.yaml:6:20: error[wrong-type]",
        ),
        (
            format!("{WG}gateway: nobody"),
            "the gateway `nobody` isn't a host or member of this network",
        ),
        (
            WG.replace("2208", "0"),
            "networks/wg.yaml:6:35: error[invalid-value]: `hub.fleet.example:0` isn't a name or an address with a port",
        ),
        (
            WG.replace("hub: hub", "hub: hub, interface: \"a/b\""),
            "`a/b` isn't the name of an interface",
        ),
        (
            "type: wireguard\nsubnets: [192.0.2.0/24]".to_owned(),
            "a network of the type `wireguard` needs `wireguard`",
        ),
        (
            WG.replace("type: wireguard", "type: overlay"),
            "a network of the type `overlay` has no `wireguard`",
        ),
        (
            format!("{WG}dhcp: {{server: hub, range: [3, 9]}}"),
            "a network of the type `wireguard` has no `dhcp`",
        ),
    ] {
        let told = told_of_star(&network, &keyed(""));
        assert!(told.contains(says), "{network}\n{told}");
    }
}

#[test]
fn leases_are_in_the_subnet_and_their_server_is_a_member() {
    let lan = |spec: &str| {
        let lan = object("Network", "lan", spec);
        let a = object("Host", "a", "networks: {lan: {id: 2}}");
        let b = object("Host", "b", "{}");
        told(&[
            ("networks/lan.yaml", &lan),
            ("hosts/a.yaml", &a),
            ("hosts/b.yaml", &b),
        ])
    };
    for (spec, says) in [
        (
            "subnets: [192.0.2.0/28]\ndhcp: {server: a, range: [3, 20]}",
            "networks/lan.yaml:5:28: error[address]: the id 20 of the range is outside of 192.0.2.0/28",
        ),
        (
            "subnets: [192.0.2.0/28]\ndhcp: {server: a, range: [9, 3]}",
            "the range begins with 9 and ends with 3",
        ),
        (
            "subnets: [\"2001:db8::/64\"]\ndhcp: {server: a, range: [3, 9]}",
            "the network `lan` has no IPv4 subnet to lease from",
        ),
        (
            "subnets: [192.0.2.0/28]\ndhcp: {server: b, range: [3, 9]}",
            "networks/lan.yaml:5:18: error[unknown-reference]: the DHCP server `b` isn't in this network",
        ),
    ] {
        let told = lan(spec);
        assert!(told.contains(says), "{spec}\n{told}");
    }
    assert_eq!(
        lan("subnets: [192.0.2.0/28]\ngateway: a\ndhcp: {server: a, range: [3, 9], lease: 12h}"),
        ""
    );
}

#[test]
fn members_share_no_key_and_no_route() {
    let far = "members: {far: {id: 200, keyless: true, routes: [10.0.0.0/8]}}";
    for (host, says) in [
        (
            spoke(&format!("publicKey: \"{}\"", KEYS[0])),
            format!(
                "error[address]: {} in the network `wg` is already used by `hub`",
                KEYS[0]
            ),
        ),
        (
            spoke("publicKey: \"AAAA\""),
            "hosts/a.yaml:4:18: error[invalid-value]: `AAAA` isn't a WireGuard public key"
                .to_owned(),
        ),
        (
            keyed(", mac: \"02:00\""),
            "`02:00` isn't a hardware address".to_owned(),
        ),
        (
            keyed(", routes: [192.0.2.128/25]"),
            "the route 192.0.2.128/25 of `a` overlaps the network `wg` itself".to_owned(),
        ),
        (
            keyed(", routes: [10.0.0.1/8]"),
            "10.0.0.1/8 has bits set after its prefix\n  hint: write 10.0.0.0/8".to_owned(),
        ),
        (
            keyed(", routes: [10.0.0.0/9]"),
            "the route 10.0.0.0/8 of `far` overlaps 10.0.0.0/9, which is reached through `a`"
                .to_owned(),
        ),
        (
            keyed(", keyless: true"),
            "error[peer]: `a` has a public key and is `keyless`".to_owned(),
        ),
    ] {
        let told = told_of_star(&format!("{WG}{far}"), &host);
        assert!(told.contains(&says), "{host}\n{told}");
    }
}

#[test]
fn networks_that_overlap_are_an_error_unless_another_system_gives_the_addresses() {
    let a = object("Network", "a", "subnets: [10.0.0.0/8]");
    let b = object("Network", "b", "subnets: [10.9.0.0/16]");
    let c = object("Network", "c", "type: overlay\nsubnets: [10.9.0.0/16]");
    let told = told(&[
        ("networks/a.yaml", &a),
        ("networks/b.yaml", &b),
        ("networks/c.yaml", &c),
    ]);
    assert!(
        told.contains("networks/b.yaml:4:12: error[address]: 10.9.0.0/16 overlaps 10.0.0.0/8 of the network `a`"),
        "{told}"
    );
    assert_eq!(told.matches("error[").count(), 1, "{told}");
}

#[test]
fn endpoints_of_a_host_share_no_port() {
    let told = |endpoints: &str| told_of(&format!("endpoints: {{{endpoints}}}"), &[]);
    let clash = told("a: {ports: [80-90], on: \"*\"}, b: {ports: [443, 85], on: []}");
    assert!(
        clash.contains(
            "hosts/a.yaml:4:45: error[port]: the endpoint `host.b` has the tcp port 85 of `host.a`"
        ),
        "{clash}"
    );
    for fine in [
        "a: {ports: [80], on: []}, b: {ports: [80], on: [], protocol: [udp]}",
        "a: {ports: [80], on: [\"interface:a\"]}, b: {ports: [80], on: [\"interface:b\"]}",
    ] {
        assert_eq!(told(fine), "", "{fine}");
    }
    let missing = told("a: {ports: [80]}");
    assert!(missing.contains("`on`"), "{missing}");
    let unknown = told("a: {ports: [80], on: [lan]}");
    assert!(
        unknown.contains("hosts/a.yaml:4:37: error[unknown-reference]: unknown network `lan`"),
        "{unknown}"
    );
}

/// Returns the addresses that a template of a host reads for an endpoint of the host `a`, which is in `wan`
/// and `wg`. The host `b` is in `lan` and `wg`.
fn reached(on: &str, from: &str) -> String {
    let network = |name: &str, subnet: &str| {
        (
            format!("networks/{name}.yaml"),
            object("Network", name, &format!("subnets: [{subnet}]")),
        )
    };
    let template = "resources: {file: {/x: {content: {template: \"{% for e in fleet.endpoints(name='web') %}{{ e.address | default('none', true) }}{% endfor %}\"}}}}";
    let a = format!(
        "networks: {{wan: {{id: 1}}, wg: {{id: 1}}}}\nendpoints: {{web: {{ports: [80], on: {on}}}}}\n{template}"
    );
    let b = format!("networks: {{lan: {{id: 2}}, wg: {{id: 2}}}}\n{template}");
    let files = vec![
        network("lan", "10.1.0.0/24"),
        network("wan", "10.2.0.0/24"),
        network("wg", "\"fd00::/64\""),
        ("hosts/a.yaml".to_owned(), object("Host", "a", &a)),
        ("hosts/b.yaml".to_owned(), object("Host", "b", &b)),
    ];
    let resources = host(from, &borrowed(&files));
    let text = resources["file"]["/x"]["content"].as_str();
    text.unwrap().to_owned()
}

#[test]
fn consumer_reaches_an_endpoint_on_the_first_common_network() {
    assert_eq!(reached("[wan, wg]", "b"), "fd00::1");
    assert_eq!(reached("\"*\"", "b"), "fd00::1");
    assert_eq!(reached("[wan]", "b"), "none");
    assert_eq!(reached("[]", "b"), "none");
    assert_eq!(reached("[]", "a"), "127.0.0.1");
    assert_eq!(reached("[wan, wg]", "a"), "10.2.0.1");
    assert_eq!(reached("[\"interface:eth0\"]", "a"), "none");
}

#[test]
fn templates_see_hub_routes_aliases_and_members_that_are_no_hosts() {
    let template = "{% set n = fleet.network('wg') %}{{ n.type }} {{ n.hub }} {{ host.networks.wg.interface }}{% for m in n.members %} {{ m.name }}/{{ m.keyless }}/{{ m.routes | join(',') }}/{{ m.state }}{% for k, a in m.aliases | items %}/{{ k }}={{ a.ipv4 }}={{ a.ipv6 }}{% endfor %}{% endfor %}";
    let a = format!(
        "{}\nresources: {{file: {{/x: {{content: {{template: \"{template}\"}}}}}}}}",
        keyed(", routes: [10.9.0.0/16], aliases: {wifi: {id: 9}}")
    );
    let files = star(
        &format!("{WG}members: {{grim: {{id: 3, keyless: true}}}}"),
        &a,
    );
    let resources = host("a", &borrowed(&files));
    assert_eq!(
        resources["file"]["/x"]["content"],
        "wireguard hub wg hub/false//active a/false/10.9.0.0/16/active/wifi=192.0.2.9=2001:db8::9 grim/true//unmanaged"
    );
}
