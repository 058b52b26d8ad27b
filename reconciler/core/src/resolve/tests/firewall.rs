//! The firewall: its networks are the host's interfaces, and it leaves a way in for Plumb.

use serde_json::json;

use super::*;

const LAN: (&str, &str) = (
    "networks/lan.yaml",
    "kind: Network\nmetadata: {name: lan}\nspec: {subnets: [192.0.2.0/24]}\n",
);

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

/// The file of a host in the network `lan`, with a way to connect to it.
fn text(member: &str, connect: &str, firewall: &str) -> String {
    format!(
        "kind: Host\nmetadata: {{name: a}}\nspec:\n  hostKeys: [\"{KEY}\"]\n  networks: {{lan: {member}}}\n  connect: [{connect}]\n  endpoints: {{ssh: {{ports: [1108], on: [lan]}}}}\n  resources: {{firewall: {{main: {firewall}}}}}\n"
    )
}

fn firewall(firewall: &str) -> Value {
    let text = text("{id: 7, interface: eth1}", "{network: lan}", firewall);
    host("a", &[LAN, ("hosts/a.yaml", &text)])["firewall"]["main"].clone()
}

fn wrong(member: &str, connect: &str, firewall: &str) -> String {
    told(&[LAN, ("hosts/a.yaml", &text(member, connect, firewall))])
}

#[test]
fn networks_of_a_firewall_become_interfaces() {
    assert_eq!(
        firewall(
            "{open: [{ports: [22, \"60000-61000\"], on: [lan, \"interface:wg0\"]}], masquerade: [{from: lan, to: \"interface:wan0\"}]}"
        ),
        json!({
            "open": [
                {"ports": [22, "60000-61000"], "on": ["interface:eth1", "interface:wg0"]},
                {"ports": [1108], "on": ["interface:eth1"]},
            ],
            "masquerade": [{"from": "interface:eth1", "to": "interface:wan0"}],
        })
    );
}

#[test]
fn unknown_network_or_interface_is_an_error() {
    let told = wrong("{id: 7}", "{network: lan}", "{trusted: [lan]}");
    assert!(
        told.contains(
            "`firewall:main`: the manifest doesn't name the host's interface in the network `lan`"
        ),
        "{told}"
    );
    assert!(
        told.contains("networks: {lan: {interface: NAME}}"),
        "{told}"
    );
    let told = wrong(
        "{id: 7}",
        "{network: lan}",
        "{open: [{ports: [22], on: [wg]}]}",
    );
    assert!(
        told.contains("the host isn't in the network `wg`"),
        "{told}"
    );
}

#[test]
fn firewall_that_locks_plumb_out_is_an_error() {
    let member = "{id: 7, interface: eth1}";
    let told = wrong(member, "{network: lan, port: 2222}", "null");
    assert!(
        told.contains("`firewall:main`: it would lock Plumb out, which connects to the TCP port 2222 of this host"),
        "{told}"
    );
    assert!(told.contains("add `open: [{ports: [2222]}]`"), "{told}");
    for (connect, firewall) in [
        ("{network: lan, port: 2222}", "{open: [{ports: [22]}]}"),
        ("{network: lan}", "{open: [{ports: [22], protocol: [udp]}]}"),
    ] {
        let told = wrong(member, connect, firewall);
        assert!(
            told.contains("lock Plumb out"),
            "{connect} {firewall}: {told}"
        );
    }
    for (connect, firewall) in [
        ("{network: lan}", "{input: accept}"),
        ("{network: lan}", "{trusted: [lan]}"),
        (
            "{network: lan, port: 2222}",
            "{open: [{ports: [\"2000-3000\"]}]}",
        ),
        ("{endpoint: host.ssh}", "null"),
        (
            "{network: lan, port: 2222}, {network: lan}",
            "{open: [{ports: [22]}]}",
        ),
        ("{network: lan}", "{state: absent}"),
    ] {
        assert_eq!(wrong(member, connect, firewall), "", "{connect} {firewall}");
    }
}

#[test]
fn profiles_add_to_one_firewall() {
    let host_text = "kind: Host\nmetadata: {name: a}\nspec:\n  profiles: {web: {}, ssh: {}}\n  resources: {firewall: {main: null}}\n";
    let profile = |name: &str, open: &str| {
        format!(
            "kind: Profile\nmetadata: {{name: {name}}}\nspec:\n  resources: {{firewall: {{main: {{open: {open}}}}}}}\n"
        )
    };
    let web = profile("web", "[{ports: [80]}, {ports: [443]}]");
    let ssh = profile("ssh", "[{ports: [443]}, {ports: [22]}]");
    let files = [
        ("hosts/a.yaml", host_text),
        ("profiles/web.yaml", web.as_str()),
        ("profiles/ssh.yaml", ssh.as_str()),
    ];
    assert_eq!(
        host("a", &files)["firewall"]["main"],
        json!({"open": [{"ports": [22]}, {"ports": [80]}, {"ports": [443]}]})
    );
}
