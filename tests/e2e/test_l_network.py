"""Networks on Debian 12 and 13: a WireGuard star, open ports, forwards and static addresses, as kernel and peers have them."""

import base64
import subprocess

import pytest
import yaml
from waiting import until

# Tables as Docker and Tailscale have them.
TABLES = """nft -f - <<'END'
table ip docker-like {
  chain forward { type filter hook forward priority 0; ip saddr 203.0.113.9 drop; }
}
table ip tailscale-like {
  chain ts-input { ip saddr 100.64.0.0/10 accept; }
}
END
"""
WG = {"type": "wireguard", "subnets": ["10.88.127.0/24", "fd00:88:127::/64"]}
INTERFACE = "/etc/systemd/network/50-plumb-eth0.network"
OWN = "/etc/systemd/network/90-own.network"


def key() -> tuple[str, str]:
    """A private key of WireGuard and its public half."""
    run = lambda *argv, stdin=b"": subprocess.run(["openssl", *argv], input=stdin, capture_output=True, check=True).stdout
    private = run("genpkey", "-algorithm", "X25519", "-outform", "DER")
    public = run("pkey", "-inform", "DER", "-pubout", "-outform", "DER", stdin=private)
    return tuple(base64.b64encode(der[-32:]).decode() for der in (private, public))


def address(fleet, name: str) -> str:
    return fleet.rig["hosts"][name]["address"]


def rig_network(fleet) -> None:
    prefix = ".".join(address(fleet, fleet.names[0]).split(".")[:2])
    fleet.write("networks/rig.yaml", {"kind": "Network", "metadata": {"name": "rig"}, "spec": {"type": "lan", "subnets": [f"{prefix}.0.0/16"]}})


def member(fleet, name: str, **more: str) -> dict:
    """A host's place in the network that the rig has made."""
    return {"address": address(fleet, name), "interface": "eth0", **more}


@pytest.fixture
def star(fleet, on):
    """The hub and its spokes, with the private keys that the manifests have the public halves of."""
    names = list(dict.fromkeys([*fleet.names[:3], fleet.names[-1]]))
    keys = {name: key() for name in names}
    for name in names:
        on(name).check_output(f"install -d -m 700 /etc/wireguard && umask 077 && echo '{keys[name][0]}' >/etc/wireguard/wg0.key")
        on(name).check_output(TABLES)
    yield {name: public for name, (_, public) in keys.items()}
    for name in names:
        on(name).run("rm -rf /etc/wireguard; nft delete table ip docker-like; nft delete table ip tailscale-like")


def join(fleet, star: dict[str, str], names: list[str]) -> None:
    """The manifests of a star of these hosts; the first one is its hub."""
    rig_network(fleet)
    hub, *spokes = names
    endpoint = f"{address(fleet, hub)}:2108"
    spec = {**WG, "wireguard": {"hub": hub, "interface": "wg0", "port": 2108, "endpoint": endpoint, "keepalive": "5s"}}
    fleet.write("networks/wg.yaml", {"kind": "Network", "metadata": {"name": "wg"}, "spec": spec})
    place = lambda name: {"wg": {"id": list(star).index(name) + 1, "publicKey": star[name]}, "rig": member(fleet, name)}
    web = {"web": {"ports": [8123], "on": ["wg"]}}
    fleet.host(hub, networks=place(hub), forward={"web": {"from": "rig", "port": 8124, "to": f"{spokes[0]}/host.web", "reason": "a test"}})
    for name in spokes:
        fleet.host(name, networks=place(name), endpoints=web)
    fleet.profile("tunnel", {"package": {"wireguard-go": {}}}, on=names)
    sysctl = {"net.ipv4.ip_forward": {"value": "1"}, "net.ipv6.conf.all.forwarding": {"value": "1"}}
    firewall = {"main": {"open": [{"ports": [22]}], "trusted": ["wg"]}}
    fleet.profile("hub", {"sysctl": sysctl, "firewall": firewall}, on=[hub])


def pings(host, to: int) -> bool:
    return all(host.run(f"ping -c 1 -W 2 {one}").rc == 0 for one in (f"10.88.127.{to}", f"fd00:88:127::{to}"))


def test_hub_and_spokes_reach_each_other_after_one_push(fleet, on, star):
    names = list(star)
    hub = names[0]
    tables = {name: on(name).check_output("nft list table ip docker-like; nft list table ip tailscale-like") for name in names}
    join(fleet, star, names)
    fleet.deploy("A star", seconds=180)
    for at, name in enumerate(names, 1):
        until(lambda: all(pings(on(name), to) for to in range(1, len(names) + 1) if to != at), f"{name} reaches the others", 30)
        conf = on(name).file("/etc/wireguard/wg0.conf")
        assert conf.mode == 0o600 and conf.contains("^PrivateKey = .*=$")
        assert on(name).check_output("wg show wg0 public-key") == star[name]
    plan = fleet.plan(*names)["hosts"]
    assert all(not plan[name]["changes"] for name in names), plan
    rules = on(hub).check_output("nft list table inet plumb")
    assert 'iifname "eth0" udp dport 2108 accept' in rules and "dnat ip to 10.88.127.2:8123" in rules, rules
    for name in names:
        assert on(name).check_output("nft list table ip docker-like; nft list table ip tailscale-like") == tables[name]

    # One more spoke is one more peer for the hub alone, and interrupts nobody.
    started = {name: on(name).check_output("systemctl show -P ActiveEnterTimestampMonotonic wg-quick@wg0") for name in names}
    _, phone = key()
    network = yaml.safe_load((fleet.tree / "networks/wg.yaml").read_text())
    network["spec"]["members"] = {"phone": {"id": 210, "publicKey": phone}}
    fleet.write("networks/wg.yaml", network)
    plan = fleet.plan(*names)["hosts"]
    assert [name for name in names if plan[name]["changes"]] == [hub], plan
    fleet.deploy("One more spoke", seconds=120)
    assert f"{phone}\t10.88.127.210/32 fd00:88:127::210/128" in on(hub).check_output("wg show wg0 allowed-ips")
    network["spec"]["members"]["phone"]["routes"] = ["10.89.0.0/16"]
    fleet.write("networks/wg.yaml", network)
    fleet.deploy("A route through it", seconds=120)
    for name in names:
        assert "10.89.0.0/16" in on(name).check_output("ip route show dev wg0")
        assert on(name).check_output("systemctl show -P ActiveEnterTimestampMonotonic wg-quick@wg0") == started[name]
    assert pings(on(names[-1]), 1)

    for name in names:
        fleet.host(name)
    for name in ("tunnel", "hub"):
        fleet.remove(f"profiles/{name}.yaml")
    fleet.remove("networks/wg.yaml")
    fleet.deploy("No star any more", seconds=180)
    for name in names:
        host = on(name)
        assert host.run("ip link show wg0").rc != 0 and not host.file("/etc/wireguard/wg0.conf").exists
        assert host.check_output("cat /etc/wireguard/wg0.key") != "" and host.run("nft list table inet plumb").rc != 0


@pytest.fixture
def configured(fleet, on):
    """A host of Debian 13 whose address is networkd's, as an administrator has it. The container's kernel refuses Debian 12's."""
    name = fleet.names[-1]
    host = on(name)
    host.check_output(f"mkdir -p /etc/systemd/network && printf '[Match]\\nName=eth0\\n[Network]\\nAddress={address(fleet, name)}/16\\n' >{OWN}")
    host.check_output("systemctl enable --now systemd-networkd")
    yield name
    host.run(f"rm {OWN}; systemctl disable --now systemd-networkd systemd-networkd.socket; ip address replace {address(fleet, name)}/16 dev eth0")


def test_interface_with_the_wrong_address_puts_itself_back(fleet, on, configured):
    name = configured
    host = on(name)
    fleet.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"}, "spec": {
        "domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}, "deadMan": {"confirm": "10s"},
    }})  # fmt: skip
    rig_network(fleet)
    fleet.host(name, networks={"rig": member(fleet, name, assign="static")})
    fleet.deploy("A static address", seconds=120)
    right = host.check_output(f"cat {INTERFACE}")
    assert f"Address={address(fleet, name)}/16" in right
    assert INTERFACE in host.check_output("networkctl status eth0")
    assert not fleet.plan(name)["hosts"][name]["changes"]

    wrong = ".".join([*address(fleet, name).split(".")[:2], "250.1"])
    fleet.host(name, networks={"rig": {**member(fleet, name, assign="static"), "address": wrong}})
    fleet.commit("A wrong address")
    assert fleet.push().returncode == 0
    view = lambda: fleet.controller.host(name)
    until(lambda: view().reason("Ready") == "Reverted", "the host put its address back", 120, fleet.controller.state)
    assert host.check_output(f"cat {INTERFACE}") == right
    assert address(fleet, name) in host.check_output("ip -4 address show dev eth0")

    fleet.host(name)
    fleet.deploy("No interface any more", seconds=120)
    assert not host.file(INTERFACE).exists
    assert OWN in host.check_output("networkctl status eth0")


def test_interface_of_another_program_is_refused_by_name(fleet, on):
    name = fleet.names[-1]
    host = on(name)
    host.check_output("mkdir -p /etc/network/interfaces.d && echo 'iface eth0 inet manual' >/etc/network/interfaces.d/e2e")
    try:
        rig_network(fleet)
        fleet.host(name, networks={"rig": member(fleet, name, assign="static")})
        fleet.commit("A static address")
        assert fleet.push().returncode == 0
        told = lambda: "eth0 is configured by ifupdown" in fleet.controller.run("describe", "host", name).stdout
        until(told, "the other program is named", 60, fleet.controller.state)
        assert not host.file(INTERFACE).exists
    finally:
        host.check_output("rm /etc/network/interfaces.d/e2e")
