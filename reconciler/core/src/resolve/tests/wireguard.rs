//! What follows from a host's networks: interfaces, peers, open ports and forwards.

use serde_json::json;

use super::*;

const HUB: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SPOKE: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
const PHONE: &str = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA=";

/// A fleet of a hub, a spoke, a phone that is nobody's host, and an office without a key, with more for the spoke.
fn fleet(spoke: &str) -> Vec<(String, String)> {
    let wg = format!(
        "type: wireguard\nsubnets: [192.0.2.0/24, \"2001:db8::/64\"]\nwireguard: {{hub: hub, interface: wg0, port: 2108, endpoint: \"hub.fleet.example:2208\", keepalive: 60s, refreshEndpoint: 5m}}\nmembers:\n  phone: {{id: 210, publicKey: \"{PHONE}\", routes: [10.9.0.0/16]}}\n  office: {{id: 100, keyless: true, routes: [10.8.0.0/16]}}"
    );
    let lan = "subnets: [198.51.100.0/24, \"2001:db8:1::/64\"]\ngateway: hub\nmembers: {ap: {id: 9, routes: [\"2001:db8:9::/64\"]}}";
    let hub = format!(
        "networks: {{wg: {{id: 1, publicKey: \"{HUB}\"}}, lan: {{id: 1, interface: eth1}}}}\nresources: {{firewall: {{main: {{masquerade: [{{from: lan, to: \"interface:wan0\"}}]}}}}}}"
    );
    let spoke = format!(
        "networks: {{wg: {{id: 2, publicKey: \"{SPOKE}\"}}, lan: {{id: 2, address: 198.51.100.7, interface: eth0, assign: static}}}}\n{spoke}"
    );
    vec![
        ("networks/wg.yaml".to_owned(), object("Network", "wg", &wg)),
        (
            "networks/lan.yaml".to_owned(),
            object("Network", "lan", lan),
        ),
        ("hosts/hub.yaml".to_owned(), object("Host", "hub", &hub)),
        (
            "hosts/spoke.yaml".to_owned(),
            object("Host", "spoke", &spoke),
        ),
    ]
}

fn resources(name: &str, spoke: &str) -> Value {
    host(name, &borrowed(&fleet(spoke)))
}

/// Returns the text of a configuration with the name of the key that the host puts in.
fn configuration(resources: &Value) -> String {
    let text = resources["file"]["/etc/wireguard/wg0.conf"]["content"].as_str();
    text.unwrap().replace(['\u{fdd0}', '\u{fdd1}'], "|")
}

#[test]
fn hub_has_every_member_with_a_key_and_spoke_has_the_hub() {
    let hub = resources("hub", "state: active");
    assert_eq!(
        configuration(&hub),
        format!(
            "# Written by plumb.\n[Interface]\nAddress = 192.0.2.1/24, 2001:db8::1/64\nListenPort = 2108\nPrivateKey = <private key /etc/wireguard/wg0.key>\n\n# spoke\n[Peer]\nPublicKey = {SPOKE}\nAllowedIPs = 192.0.2.2/32, 2001:db8::2/128\n\n# phone\n[Peer]\nPublicKey = {PHONE}\nAllowedIPs = 192.0.2.210/32, 2001:db8::210/128, 10.9.0.0/16\n"
        )
    );
    let spoke = resources("spoke", "state: active");
    assert_eq!(
        configuration(&spoke),
        format!(
            "# Written by plumb.\n[Interface]\nAddress = 192.0.2.2/24, 2001:db8::2/64\nListenPort = 2108\nPrivateKey = <private key /etc/wireguard/wg0.key>\n\n# hub\n[Peer]\nPublicKey = {HUB}\nAllowedIPs = 192.0.2.1/32, 2001:db8::1/128, 192.0.2.0/24, 2001:db8::/64, 10.9.0.0/16\nEndpoint = hub.fleet.example:2208\nPersistentKeepalive = 60\n"
        )
    );
    let file = &spoke["file"]["/etc/wireguard/wg0.conf"];
    assert_eq!(file["mode"], "0600");
    assert_eq!(file["secrets"], json!(["keypair:/etc/wireguard/wg0.key"]));
    let keypair = &spoke["keypair"]["/etc/wireguard/wg0.key"];
    assert_eq!(keypair["publicKey"], SPOKE);
    assert_eq!(
        spoke["service"]["wg-quick@wg0"]["reloadOn"],
        json!(["file:/etc/wireguard/wg0.conf"])
    );
    let refresh = spoke["unit"]["wireguard-endpoint-wg0.service"]["content"].as_str();
    assert!(refresh.unwrap().contains(&format!(
        "ExecStart=\"/usr/bin/wg\" \"set\" \"wg0\" \"peer\" \"{HUB}\" \"endpoint\" \"hub.fleet.example:2208\""
    )));
    assert!(hub["unit"]["wireguard-endpoint-wg0.service"].is_null());
}

#[test]
fn adding_a_spoke_changes_the_hub_alone() {
    let mut files = fleet("state: active");
    let before = ["hub", "spoke"].map(|name| host(name, &borrowed(&files)));
    let new =
        "networks: {wg: {id: 3, publicKey: \"DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDA=\"}}";
    files.push(("hosts/new.yaml".to_owned(), object("Host", "new", new)));
    let after = ["hub", "spoke"].map(|name| host(name, &borrowed(&files)));
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
}

#[test]
fn network_composites_can_be_removed_set_and_ignored() {
    let without = resources("spoke", "remove: [\"wireguard:wg\", \"interface:lan\"]");
    assert!(without["service"].is_null(), "{without}");
    let set = resources("spoke", "resources: {wireguard: {wg: {mtu: 1380}}}");
    assert!(configuration(&set).contains("\nMTU = 1380\n"));
    let ignored = "drift: {ignore: [\"wireguard:wg\"]}";
    resources("spoke", ignored);
    let stray = told(&borrowed(&fleet("resources: {wireguard: {lan: null}}")));
    assert!(
        stray.contains("`wireguard:lan`: the network `lan` isn't of the type `wireguard`"),
        "{stray}"
    );
    let stray = told(&borrowed(&fleet(
        "resources: {interface: {wg: null, x: null}}",
    )));
    assert!(
        stray.contains("`interface:wg`: the host's address in the network `wg` isn't static"),
        "{stray}"
    );
    assert!(
        stray.contains("`interface:x`: the host isn't in the network `x`"),
        "{stray}"
    );
}

#[test]
fn two_networks_with_one_public_key_share_the_key_and_a_foreign_hub_is_a_peer() {
    let mut files = fleet("state: active");
    let other = format!(
        "type: wireguard\nsubnets: [203.0.113.0/24]\nwireguard: {{hub: friend, interface: ps0, endpoint: \"198.51.100.99:51820\", refreshEndpoint: 5m}}\nmembers: {{friend: {{id: 1, publicKey: \"{PHONE}\"}}}}"
    );
    files.push((
        "networks/ps.yaml".to_owned(),
        object("Network", "ps", &other),
    ));
    let spoke = format!(
        "networks: {{wg: {{id: 2, publicKey: \"{SPOKE}\"}}, ps: {{id: 2, publicKey: \"{SPOKE}\"}}}}"
    );
    files[3].1 = object("Host", "spoke", &spoke);
    let spoke = host("spoke", &borrowed(&files));
    let text = spoke["file"]["/etc/wireguard/ps0.conf"]["content"]
        .as_str()
        .unwrap();
    assert!(text.contains(&format!(
        "PublicKey = {PHONE}\nAllowedIPs = 203.0.113.1/32, 203.0.113.0/24\nEndpoint = 198.51.100.99:51820\n"
    )));
    assert!(
        spoke["unit"]["wireguard-endpoint-ps0.service"].is_null(),
        "an address"
    );
    let keys: Vec<&String> = spoke["keypair"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["/etc/wireguard/ps0.key"]);
    assert!(configuration(&spoke).contains("<private key /etc/wireguard/ps0.key>"));
}

#[test]
fn static_address_becomes_a_file_of_networkd() {
    let spoke = resources("spoke", "state: active");
    let path = "/etc/systemd/network/50-plumb-eth0.network";
    assert_eq!(
        spoke["file"][path]["content"],
        "# Written by plumb.\n[Match]\nName=eth0\n\n[Network]\nAddress=198.51.100.7/24\nAddress=2001:db8:1::2/64\nGateway=198.51.100.1\nGateway=2001:db8:1::1\n\n[Route]\nDestination=2001:db8:9::/64\nGateway=2001:db8:1::9\n"
    );
    assert_eq!(
        spoke["service"]["systemd-networkd"]["reloadOn"],
        json!([format!("file:{path}")])
    );
    let hub = resources("hub", "state: active");
    assert!(hub["service"]["systemd-networkd"].is_null(), "external");
}

#[test]
fn endpoints_and_the_port_of_wireguard_open_the_firewall() {
    let firewall = |endpoints: &str| {
        let firewall = "resources: {firewall: {main: null}}";
        resources("spoke", &format!("endpoints: {{{endpoints}}}\n{firewall}"))["firewall"]["main"]
            .clone()
    };
    assert_eq!(
        firewall(
            "a: {ports: [80], on: [wg, lan]}, b: {ports: [53], protocol: [udp], on: \"*\"}, c: {ports: [1], on: []}, d: {ports: [2], on: [\"interface:virbr0\"]}"
        )["open"],
        json!([
            {"ports": [2], "on": ["interface:virbr0"]},
            {"ports": [53], "protocol": ["udp"]},
            {"ports": [80], "on": ["interface:eth0", "interface:wg0"]},
        ])
    );
    assert!(firewall("c: {ports: [1], on: []}")["open"].is_null());
    let hub = resources("hub", "state: active");
    assert_eq!(
        hub["firewall"]["main"]["open"],
        json!([{"ports": [2108], "protocol": ["udp"], "on": ["interface:eth1"]}])
    );
}

#[test]
fn forward_sends_a_port_to_an_endpoint_that_is_reachable_from_here() {
    let hub = |forward: &str, resources: &str| {
        let mut files = fleet(
            "endpoints: {game: {ports: [25565], protocol: [tcp, udp], on: [lan]}, own: {ports: [1], on: []}}",
        );
        files[2].1 = object(
            "Host",
            "hub",
            &format!(
                "networks: {{wg: {{id: 1, publicKey: \"{HUB}\"}}, lan: {{id: 1, interface: eth1}}}}\nforward: {{{forward}}}\nresources: {{{resources}}}"
            ),
        );
        files
    };
    let firewall = "firewall: {main: null}";
    let good =
        "game: {from: \"interface:wan0\", port: 25000, to: spoke/host.game, reason: friends}";
    assert_eq!(
        host("hub", &borrowed(&hub(good, firewall)))["firewall"]["main"]["forwards"],
        json!([{"from": "interface:wan0", "port": 25000, "protocol": ["tcp", "udp"], "to": "198.51.100.7", "toPort": 25565}])
    );
    for (forward, resources, says) in [
        (
            good.to_owned(),
            "",
            "hosts/hub.yaml:5:19: error[unknown-reference]: the forward `game` needs `firewall:main`",
        ),
        (
            good.replace("friends", "\" \""),
            firewall,
            "the forward `game` has no reason",
        ),
        (good.replace(", reason: friends", ""), firewall, "`reason`"),
        (
            good.replace("host.game", "host.own"),
            firewall,
            "`spoke/host.own` isn't offered in any network of `hub`",
        ),
        (
            good.replace("host.game", "host.gmae"),
            firewall,
            "did you mean `spoke/host.game`?",
        ),
        (
            good.replace("interface:wan0", "wan"),
            firewall,
            "the host isn't in the network `wan`",
        ),
        (
            format!(
                "{good}, other: {{from: \"interface:wan0\", port: 25000, to: spoke/host.game, reason: x}}"
            ),
            firewall,
            "error[port]: the forward `other` has the tcp port 25000 of `game`",
        ),
    ] {
        let told = told(&borrowed(&hub(&forward, resources)));
        assert!(told.contains(says), "{forward}\n{told}");
    }
}

#[test]
fn route_to_a_network_that_the_spoke_is_in_does_not_lead_through_the_tunnel() {
    let files = fleet("");
    let files: Vec<(String, String)> = files
        .into_iter()
        .map(|(path, text)| match &*path {
            "hosts/hub.yaml" => (
                path,
                text.replace(
                    "{id: 1, publicKey",
                    "{id: 1, routes: [198.51.100.0/24, 10.7.0.0/16], publicKey",
                ),
            ),
            _ => (path, text),
        })
        .collect();
    let text = configuration(&host("spoke", &borrowed(&files)));
    assert!(text.contains("10.7.0.0/16"), "{text}");
    assert!(!text.contains("198.51.100.0/24"), "{text}");
}
