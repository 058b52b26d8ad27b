"""Names and networks that hosts serve, on Debian 12 and 13: nginx, dnsmasq and wpa_supplicant, asked by clients."""

import json

import pytest
from waiting import until

# Answers with the headers of the request.
BACKEND = """import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"backend {self.path}\\n{self.headers}".encode())
http.server.HTTPServer(("", 8201), Handler).serve_forever()
"""
INNER = "198.51.100"
# A second network of the host, whose other end is in a namespace of its own: a client that only has this network.
CLIENT = """set -e
ip netns add e2e-client
ip link add e2e-in type veth peer name eth0 netns e2e-client
ip addr add {inner}.{number}/24 dev e2e-in
ip link set e2e-in address 02:00:5e:00:53:01 up
ip netns exec e2e-client ip link set eth0 address 02:00:5e:00:53:02 up
ip netns exec e2e-client ip addr add {inner}.200/24 dev eth0
"""
AWAY = "ip netns del e2e-client; ip link del e2e-in; ip link del e2e-wlan; systemctl stop e2e-backend; true"
WPA = """[Service]
ExecStartPre=-/sbin/ip link add e2e-wlan type bridge
ExecStart=/sbin/wpa_supplicant -c/etc/wpa_supplicant/wpa_supplicant-%I.conf -i%I -Dwired
ExecReload=/bin/kill -HUP $MAINPID
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def both(fleet, on):
    """A host of each release, each in two networks, with a client in the inner one and a backend."""
    both = [fleet.names[0], fleet.names[-1]]
    addresses = {name: fleet.rig["hosts"][name]["address"] for name in both}
    network = addresses[both[0]].rsplit(".", 1)[0]
    for name, subnet in (("lan", network), ("inner", INNER)):
        fleet.write(f"networks/{name}.yaml", {"kind": "Network", "metadata": {"name": name}, "spec": {"type": "lan", "subnets": [f"{subnet}.0/24"]}})
    for number, (name, release) in enumerate(zip(both, ("12", "13"), strict=True), 1):
        place = {"lan": {"id": int(addresses[name].rsplit(".", 1)[1])}, "inner": {"id": number, "interface": "e2e-in"}}
        fleet.host(name, os={"family": "debian", "release": release}, networks=place)
        on(name).run(AWAY)
        on(name).check_output(CLIENT.format(inner=INNER, number=number))
        on(name).check_output(f"systemd-run --quiet --collect --unit=e2e-backend python3 -c '{BACKEND}'")
    yield both
    for name in both:
        on(name).run(AWAY)


def in_sync(fleet, both: list[str]) -> None:
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan


# Asks a web server with these headers: the status, the headers and the body of its answer.
ASK = """import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=5)
connection.request("GET", sys.argv[2], headers=dict(one.split(": ", 1) for one in sys.argv[3:]))
answer = connection.getresponse()
print(answer.status)
print(answer.headers, end="")
print(answer.read().decode(), end="")
"""


def ask(host, address: str, name: str, path: str = "/", client: str = "ip netns exec e2e-client", headers: str = "") -> str:
    """The answer of a web server to a client that only has the inner network."""
    return host.run(f"{client} python3 -c '{ASK}' {address} '{path}' 'Host: {name}' {headers}").stdout


def test_published_names_answer_in_their_networks_alone(fleet, on, both):
    endpoints = {"app": {"ports": [8201], "on": ["inner"]}}
    before = {name: on(name).check_output("sysctl -n net.ipv4.ip_nonlocal_bind") for name in both}
    sites = lambda extra: {
        "file": {"/srv/e2e-www/index.html": {"content": "the folder\n"}},
        "reverseProxy": {
            "app.rig.example": {"to": "{{ host.name }}/sites.app", "on": ["inner"], "maxBody": "8MiB", "headers": {"X-E2e": "a \"b\""}},
            "www.rig.example": {"root": "/srv/e2e-www", "on": ["lan"], "paths": {"/api": {"to": "{{ host.name }}/sites.app"}}, "after": ["file:/srv/e2e-www/index.html"]},
            **extra,
        },
        "unit": {"wpa_supplicant@e2e\\x2dwlan.service": {"content": WPA}},
        "wifi": {"home": {"ssid": "Home", "priority": 5, "interface": "e2e-wlan"}},
    }  # fmt: skip
    fleet.profile("sites", sites({}), on=both, endpoints=endpoints)
    fleet.deploy("Sites", names=both, seconds=120)
    for number, name in enumerate(both, 1):
        host, inner, outer = on(name), f"{INNER}.{number}", fleet.rig["hosts"][name]["address"]
        host.check_output("nginx -t")
        answer = ask(host, inner, "app.rig.example", "/x?y=1", headers="'Connection: Upgrade' 'Upgrade: websocket'")
        assert answer.startswith("200\n") and "\nbackend /x?y=1\n" in answer, answer
        for line in ("Host: app.rig.example", f"X-Forwarded-For: {INNER}.200", "X-Forwarded-Proto: http", "Upgrade: websocket", "Connection: upgrade"):
            assert line in answer, answer
        # Neither the other network's address nor another name has the backend.
        assert ask(host, outer, "app.rig.example", client="").startswith("404\n")
        assert ask(host, inner, "www.rig.example").startswith("404\n")
        assert ask(host, outer, "www.rig.example", client="").endswith("\nthe folder\n")
        assert ask(host, outer, "www.rig.example", "/api/v1", client="").count("\nbackend /api/v1") == 1
        assert 'X-E2e: a "b"' in answer, answer
        wifi = host.file("/etc/wpa_supplicant/wpa_supplicant-e2e-wlan.conf")
        assert (wifi.user, wifi.mode) == ("root", 0o600)
        assert "ssid=\"Home\"" in wifi.content_string
        assert "Home" in host.check_output("wpa_cli -i e2e-wlan list_networks")
    in_sync(fleet, both)

    # Another site comes by a reload; one that nginx refuses stays out, and the others stay.
    starts = {name: on(name).check_output("systemctl show -P ActiveEnterTimestampMonotonic nginx") for name in both}
    fleet.profile("sites", sites({"old.rig.example": {"redirect": "https://www.rig.example", "on": ["inner"]}}), on=both, endpoints=endpoints)
    fleet.deploy("One more", names=both, seconds=60)
    for number, name in enumerate(both, 1):
        answer = ask(on(name), f"{INNER}.{number}", "old.rig.example", "/a")
        assert "Location: https://www.rig.example/a\n" in answer.replace("\r", ""), answer
        assert on(name).check_output("systemctl show -P ActiveEnterTimestampMonotonic nginx") == starts[name]
    bad = sites({"new.rig.example": {"redirect": "https://n.rig.example", "on": ["inner"]}})
    bad["file"]["/etc/nginx/sites-enabled/bad"] = {"content": "server { no such; }\n", "validate": ["nginx", "-t"], "after": ["package:nginx"]}
    fleet.profile("sites", bad, on=both, endpoints=endpoints)
    fleet.commit("A mistake")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host(both[0]).status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "ValidateFailed", "nginx refuses it", 60, fleet.controller.state)
    host = on(both[0])
    until(lambda: ask(host, f"{INNER}.1", "new.rig.example").startswith("301\n"), "the good one is served", 30)
    assert not host.file("/etc/nginx/sites-enabled/bad").exists
    assert host.run("mount | grep -c candidates").stdout.strip() == "0"

    fleet.remove("profiles/sites.yaml")
    for name, release in zip(both, ("12", "13"), strict=True):
        fleet.host(name, os={"family": "debian", "release": release})
    fleet.deploy("No sites any more", names=both, seconds=120)
    for name in both:
        host = on(name)
        assert not host.package("nginx").is_installed and not host.package("wpasupplicant").is_installed
        assert host.run("ls /etc/nginx/sites-enabled/*.example /etc/nginx/conf.d/plumb.conf /etc/wpa_supplicant/*.conf").stdout == ""
        assert not host.socket("tcp://80").is_listening
        assert host.check_output("sysctl -n net.ipv4.ip_nonlocal_bind") == before[name]


# Asks a DNS server for the addresses of names.
RESOLVE = """import socket, struct, sys
for name in sys.argv[2:]:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(3)
        asker.sendto(struct.pack(">6H", 7, 256, 1, 0, 0, 0) + labels + bytes([0, 0, 1, 0, 1]), (sys.argv[1], 53))
        answer = asker.recv(512)
    count = struct.unpack(">H", answer[6:8])[0]
    print(name, *sorted(socket.inet_ntoa(answer[-16 * at:][12:16]) for at in range(1, count + 1)))
"""


def resolve(host, server: str, *names: str, client: str = "") -> dict[str, str]:
    lines = host.check_output(f"{client} python3 -c '{RESOLVE}' {server} {' '.join(names)}").splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_each_network_gets_its_names_and_leases(fleet, on, both):
    dhcp = {"server": both[0], "range": [210, 220], "lease": "1h"}
    members = {"client": {"id": 199, "mac": "02:00:5e:00:53:02"}}
    inner = {"type": "lan", "subnets": [f"{INNER}.0/24"], "gateway": both[0], "dhcp": dhcp, "members": members}
    fleet.write("networks/inner.yaml", {"kind": "Network", "metadata": {"name": "inner"}, "spec": inner})
    address = {name: fleet.rig["hosts"][name]["address"] for name in both}
    records = {"*.apps.rig.example": both[1], "printer.rig.example": "203.0.113.9"}
    dns = {"fleet": {"on": ["lan", "inner"], "upstreams": ["192.0.2.53"], "records": records, "local": ["rig.example"]}}
    for number, name in enumerate(both, 1):
        place = {"lan": {"id": int(address[name].rsplit(".", 1)[1])}, "inner": {"id": number, "interface": "e2e-in"}}
        own = {"dns": dns, "exporter": {"node": {"on": ["lan"], "interval": "1s"}}}
        if number == 1:
            own |= {"dhcp": {"inner": {}}, "prometheus": {"main": {"interval": "1s"}}}
        fleet.host(name, os={"family": "debian", "release": str(11 + number)}, networks=place, resources=own,
                   publish={f"site-{name}.rig.example": {"root": "/srv", "on": ["inner"]}})  # fmt: skip
    fleet.deploy("Names and leases", names=both, seconds=180)
    other = both[1]
    asked = (f"{other}.rig.example", other, f"site-{other}.rig.example", "x.apps.rig.example", "printer.rig.example", "none.rig.example")
    for number, name in enumerate(both, 1):
        host = on(name)
        for network in ("lan", "inner"):
            host.check_output(f"dnsmasq --test --conf-file=/dev/null --conf-dir=/etc/dnsmasq-{network}.d,'*.conf'")
        seen = resolve(host, address[name], *asked)
        assert list(seen.values()) == [address[other], address[other], f"{INNER}.2", address[other], "203.0.113.9", ""], seen
        seen = resolve(host, f"{INNER}.{number}", *asked, client="ip netns exec e2e-client")
        assert list(seen.values()) == [f"{INNER}.2"] * 4 + ["203.0.113.9", ""], seen
    in_sync(fleet, both)

    host = on(both[0])
    host.check_output("apt-get -qq install -y busybox-static")
    script = "printf '#!/bin/sh\\nenv >>/run/e2e-lease\\n' >/run/e2e-lease.sh; chmod 755 /run/e2e-lease.sh; rm -f /run/e2e-lease"
    host.check_output(script)
    ask_lease = "ip netns exec e2e-client busybox udhcpc -i eth0 -q -n -t 5 -T 1 -s /run/e2e-lease.sh"
    host.check_output(ask_lease)
    lease = host.check_output("cat /run/e2e-lease")
    for line in (f"ip={INNER}.199", f"router={INNER}.1", f"dns={INNER}.1", "domain=rig.example", "lease=3600", "hostname=client"):
        assert line in lease.splitlines(), lease
    # Somebody who isn't known gets an address of the range.
    host.check_output("ip netns exec e2e-client ip link set eth0 address 02:00:5e:00:53:77; rm /run/e2e-lease")
    host.check_output(ask_lease)
    assert any(line in host.check_output("cat /run/e2e-lease") for line in (f"ip={INNER}.{one}" for one in range(210, 221)))
    program = "import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:9090/api/v1/targets\", timeout=5).read().decode())"

    def up() -> bool:
        found = json.loads(host.check_output(f"python3 -c '{program}'"))["data"]["activeTargets"]
        return {(one["labels"]["host"], one["health"]) for one in found} == {(name, "up") for name in both}

    until(up, "every exporter is up", 40)

    for name, release in zip(both, ("12", "13"), strict=True):
        fleet.host(name, os={"family": "debian", "release": release})
    fleet.remove("networks/inner.yaml")
    fleet.deploy("No names any more", names=both, seconds=120)
    host.run("apt-get -qq purge -y busybox-static; rm -f /run/e2e-lease*")
    for name in both:
        assert not on(name).package("dnsmasq-base").is_installed
        assert on(name).run("ls -d /etc/dnsmasq-*.d /etc/systemd/system/dnsmasq-*; pgrep dnsmasq").stdout == ""
