"""The firewall on Debian 12 and 13 hosts, seen from the network and by `nft`, and what it leaves alone."""

import json
import socket

import pytest
from waiting import until

# Servers on three ports, and a table of somebody else.
SERVERS = "for port in 8101 8102 8103; do systemd-run --quiet --collect --unit=e2e-port-$port python3 -m http.server --directory /usr/share/misc $port; done"
TABLE = """nft -f - <<'END'
table ip e2e-others {
  chain forward { type filter hook forward priority 10; ip saddr 203.0.113.9 drop; }
}
END
"""
AWAY = "systemctl stop 'e2e-port-*'; nft delete table ip e2e-others; true"


@pytest.fixture
def both(fleet, on):
    """A host of each release, with what stands around the firewall."""
    names = [fleet.names[0], fleet.names[-1]]
    for name in names:
        # A wiped host keeps its network namespace, and so the table of a session that was cut short.
        on(name).run("nft delete table inet plumb")
        on(name).check_output(SERVERS)
        on(name).check_output(TABLE)
    yield names
    for name in names:
        on(name).run(AWAY)


def reaches(fleet, name: str, port: int) -> bool:
    """Whether a connection from another machine is taken."""
    try:
        with socket.create_connection((fleet.rig["hosts"][name]["address"], port), timeout=1.5):
            return True
    except OSError:
        return False


def test_ports_open_and_close_and_other_tables_stay(fleet, on, both):
    others = {name: on(name).check_output("nft list table ip e2e-others") for name in both}
    listed = {name: on(name).check_output("nft list tables") for name in both}
    resources = lambda *ports: {
        "firewall": {"main": {
            "open": [{"ports": [22, *ports]}, {"ports": [8103], "from": ["203.0.113.0/24"]}, {"ports": ["60000-61000"], "protocol": ["udp"]}],
            "trusted": ["interface:e2e0"], "masquerade": [{"from": "interface:e2e0", "to": "interface:e2e1"}], "reversePath": "strict",
        }},
    }  # fmt: skip
    for name in both:
        until(lambda: all(reaches(fleet, name, port) for port in (8101, 8102, 8103)), "the servers answer", 20)
    fleet.profile("packets", resources(8101), on=both)
    fleet.deploy("A firewall", seconds=120)
    for name in both:
        host = on(name)
        assert [reaches(fleet, name, port) for port in (22, 8101, 8102, 8103)] == [True, True, False, False], name
        host.check_output("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8102), 2)'")
        assert host.run("nft -j -c -f /etc/plumb/firewall.json").rc == 0
        assert host.run("systemd-analyze verify plumb-firewall.service").rc == 0
        assert host.check_output("systemctl is-enabled plumb-firewall") == "enabled"
        assert host.check_output("systemctl is-active plumb-firewall") == "active"
        assert host.check_output("nft list table ip e2e-others") == others[name]
        shown = host.check_output("nft list chain inet plumb postrouting")
        assert "masquerade" in shown and "nfproto ipv4" in shown, shown
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan

    # Somebody opens a port by hand, and takes the rules away: both are drift.
    for name in both:
        on(name).check_output("nft insert rule inet plumb input tcp dport 8102 accept")
        assert reaches(fleet, name, 8102)
        until(lambda: not reaches(fleet, name, 8102), "the rule by hand is gone", 60, fleet.controller.state)
        on(name).check_output("nft delete table inet plumb")
        until(lambda: on(name).run("nft list table inet plumb").rc == 0, "the table is back", 60, fleet.controller.state)
        # Debian's own unit flushes every table when it is reloaded or restarted; the rules come with it again.
        for verb in ("start", "reload", "restart"):
            on(name).check_output(f"systemctl {verb} nftables")
        until(lambda: on(name).run("nft list table inet plumb").rc == 0, "the rules follow nftables.service", 3)
        on(name).check_output("systemctl stop nftables")
        on(name).check_output(TABLE)
    fleet.profile("packets", resources(8102), on=both)
    fleet.deploy("Another port", seconds=120)
    for name in both:
        assert [reaches(fleet, name, port) for port in (22, 8101, 8102, 8103)] == [True, False, True, False], name

    fleet.remove("profiles/packets.yaml")
    for name in both:
        fleet.host(name)
    fleet.deploy("No firewall any more", seconds=120)
    for name in both:
        host = on(name)
        assert all(reaches(fleet, name, port) for port in (8101, 8102, 8103))
        assert host.check_output("nft list tables") == listed[name]
        assert host.run("systemctl cat plumb-firewall.service").rc != 0
        assert not host.file("/etc/plumb").exists and not host.file("/etc/systemd/system/plumb-firewall.service").exists


def test_firewall_that_locks_plumb_out_or_that_the_host_cannot_have_is_told(fleet, on):
    name = fleet.names[0]
    fleet.profile("packets", {"firewall": {"main": {"open": [{"ports": [2222]}]}}}, on=[name])
    told = fleet.controller.run("check", str(fleet.tree), "-o", "json").stdout
    assert "it would lock Plumb out, which connects to the TCP port 22" in told, told

    # Without the program, the error names the package.
    host = on(name)
    host.check_output("mv /usr/sbin/nft /usr/sbin/nft.away")
    try:
        fleet.profile("packets", {"firewall": {"main": {"open": [{"ports": [22]}]}}}, on=[name])
        fleet.commit("A firewall")
        assert fleet.push().returncode == 0
        ready = lambda: next(c for c in fleet.controller.host(name).status["conditions"] if c["type"] == "Ready")
        until(lambda: "nft" in ready()["message"], "the program is missing", 60, fleet.controller.state)
        assert "package: {nftables: {}}" in json.dumps(fleet.controller.host(name).status)
        assert not host.file("/etc/plumb/firewall.json").exists
    finally:
        host.check_output("mv /usr/sbin/nft.away /usr/sbin/nft")


def test_firewall_that_cuts_plumb_off_is_put_back(fleet, on):
    name = fleet.names[-1]
    host = on(name)
    fleet.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"}, "spec": {
        "domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}, "deadMan": {"confirm": "10s"},
    }})  # fmt: skip
    opening = {"ports": [22]}
    fleet.profile("packets", {"firewall": {"main": {"open": [opening]}}}, on=[name])
    fleet.deploy("A firewall", seconds=120)
    rules = host.check_output("nft list table inet plumb")
    file = host.check_output("sha256sum /etc/plumb/firewall.json")

    # The manifest can't tell where the controller connects from.
    fleet.profile("packets", {"firewall": {"main": {"open": [{**opening, "from": ["203.0.113.0/24"]}]}}}, on=[name])
    fleet.commit("Only from elsewhere")
    assert fleet.push().returncode == 0
    view = lambda: fleet.controller.host(name)
    reverted = lambda: view().reason("Ready") == "Reverted" and "firewall:main" in view().message("Ready")
    until(reverted, "the host put its rules back", 90, fleet.controller.state)
    assert host.check_output("nft list table inet plumb") == rules
    assert host.check_output("sha256sum /etc/plumb/firewall.json") == file
