"""Names and networks that hosts serve, on Debian 12 and 13: nginx, dnsmasq and wpa_supplicant, asked by clients."""

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


def ask(host, address: str, name: str, path: str = "/", client: str = "ip netns exec e2e-client", headers: str = "") -> str:
    """The status and the answer of a web server to a client that only has the inner network."""
    return host.run(f"{client} curl -s -m 5 -w '%{{http_code}}' {headers} -H 'Host: {name}' 'http://{address}{path}'").stdout


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
        answer = ask(host, inner, "app.rig.example", "/x?y=1", headers="-H 'Connection: Upgrade' -H 'Upgrade: websocket'")
        assert answer.startswith("backend /x?y=1\n") and answer.endswith("200"), answer
        for line in ("Host: app.rig.example", f"X-Forwarded-For: {INNER}.200", "X-Forwarded-Proto: http", "Upgrade: websocket", "Connection: upgrade"):
            assert line in answer, answer
        # Neither the other network's address nor another name has the backend.
        assert ask(host, outer, "app.rig.example", client="").endswith("404")
        assert ask(host, inner, "www.rig.example").endswith("404")
        assert ask(host, outer, "www.rig.example", client="") == "the folder\n200"
        assert ask(host, outer, "www.rig.example", "/api/v1", client="").startswith("backend /api/v1")
        headers = host.check_output(f"curl -sI -H 'Host: app.rig.example' http://{inner}/")
        assert 'X-E2e: a "b"' in headers, headers
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
        answer = on(name).run(f"curl -s -o /dev/null -w '%{{redirect_url}}' -H 'Host: old.rig.example' http://{INNER}.{number}/a")
        assert answer.stdout == "https://www.rig.example/a"
        assert on(name).check_output("systemctl show -P ActiveEnterTimestampMonotonic nginx") == starts[name]
    bad = sites({"new.rig.example": {"redirect": "https://n.rig.example", "on": ["inner"]}})
    bad["file"]["/etc/nginx/sites-enabled/bad"] = {"content": "server { no such; }\n", "validate": ["nginx", "-t"], "after": ["package:nginx"]}
    fleet.profile("sites", bad, on=both, endpoints=endpoints)
    fleet.commit("A mistake")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host(both[0]).status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "ValidateFailed", "nginx refuses it", 60, fleet.controller.state)
    host = on(both[0])
    until(lambda: host.run(f"curl -sI -H 'Host: new.rig.example' http://{INNER}.1/").stdout.startswith("HTTP/1.1 301"), "the good one is served", 30)
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
