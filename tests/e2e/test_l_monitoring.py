"""Composites that watch and keep the fleet, on Debian 12 and 13: the daemons judge their configurations and answer."""

import json

import pytest
from waiting import until

ALERTMANAGER = "route: {receiver: none, group_wait: 1s}\nreceivers: [{name: none}]\n"
# It fires when Prometheus has found the Alertmanager; it would send a first alert again only after a minute.
RULES = "groups:\n  - name: e2e\n    interval: 1s\n    rules: [{alert: E2eAlways, expr: vector(1), for: 12s}]\n"

MONITORING = {
    "exporter": {"node": {"on": ["lan"], "arguments": ["--collector.systemd"]}},
    "prometheus": {"main": {"retention": "1d", "interval": "1s", "rules": ["files/e2e.yml"], "alertmanagers": ["h1/monitoring.api"]}},
    "alertmanager": {"main": {"config": {"file": "files/alertmanager.yml"}, "on": ["lan"]}},
}
ENDPOINTS = {
    "node": {"ports": [9100], "on": ["lan"], "scrape": {"job": "node", "interval": "1s"}},
    "api": {"ports": [9093], "on": ["lan"]},
}


@pytest.fixture
def both(fleet):
    """A host of each release, with their addresses in a network."""
    both = [fleet.names[0], fleet.names[-1]]
    addresses = {name: fleet.rig["hosts"][name]["address"] for name in both}
    network = addresses[both[0]].rsplit(".", 1)[0]
    fleet.write("networks/lan.yaml", {"kind": "Network", "metadata": {"name": "lan"}, "spec": {"type": "lan", "subnets": [f"{network}.0/24"]}})
    for name, release in zip(both, ("12", "13"), strict=True):
        place = {"lan": {"id": int(addresses[name].rsplit(".", 1)[1])}}
        fleet.host(name, os={"family": "debian", "release": release}, networks=place)
    return both


def in_sync(fleet, both: list[str]) -> None:
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan


def get(host, url: str) -> str:
    """The answer to a request from the host itself."""
    return host.check_output(f"python3 -c \"import urllib.request as r; print(r.urlopen('{url}', timeout=5).read().decode())\"")


def test_prometheus_scrapes_the_fleet_and_alerts(fleet, on, both):
    fleet.write("files/alertmanager.yml", ALERTMANAGER)
    fleet.write("files/e2e.yml", RULES)
    fleet.profile("monitoring", MONITORING, on=both, endpoints=ENDPOINTS)
    fleet.deploy("Monitoring", names=both, seconds=180)
    for name in both:
        host, address = on(name), fleet.rig["hosts"][name]["address"]
        host.check_output("promtool check config /etc/prometheus/prometheus.yml")
        host.check_output("amtool check-config /etc/prometheus/alertmanager.yml")
        assert "node_systemd_unit_state" in get(host, f"http://{address}:9100/metrics")
        assert "Ready" in get(host, "http://127.0.0.1:9090/-/ready")
        get(host, f"http://{address}:9093/-/ready")

        def targets(host=host) -> bool:
            found = json.loads(get(host, "http://127.0.0.1:9090/api/v1/targets"))["data"]["activeTargets"]
            up = {one["labels"]["host"] for one in found if one["labels"]["job"] == "node" and one["health"] == "up"}
            return up == set(both)

        until(targets, f"{name} scrapes both hosts", 30)
    alertmanager = fleet.rig["hosts"][both[0]]["address"]
    alerts = lambda: "E2eAlways" in get(on(both[0]), f"http://{alertmanager}:9093/api/v2/alerts")
    until(alerts, "the alert reaches the Alertmanager", 30)
    in_sync(fleet, both)

    # A configuration that the daemon's own checker refuses never reaches the daemon.
    fleet.write("files/alertmanager.yml", "route: {receiver: nobody}\nreceivers: [{name: none}]\n")
    fleet.commit("A mistake")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host(both[0]).status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "ValidateFailed", "amtool refuses it", 60, fleet.controller.state)
    assert on(both[0]).file("/etc/prometheus/alertmanager.yml").content_string == ALERTMANAGER

    for name in both:
        fleet.host(name)
    fleet.remove("profiles/monitoring.yaml")
    fleet.deploy("No monitoring any more", names=both, seconds=120)
    for name in both:
        host = on(name)
        for package in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
            assert not host.package(package).is_installed, package
        assert not host.file("/etc/prometheus/targets/node.json").exists
        assert not host.socket("tcp://9090").is_listening


@pytest.fixture
def acme(rig):
    rig.do("start", "acme")
    yield rig.facts["acme"]
    rig.do("stop", "acme")


BACKUP = {
    "repository": "/srv/e2e-backup", "paths": ["/srv/e2e-data"], "exclude": ["*.tmp"],
    "schedule": {"calendar": "daily"}, "verify": {"schedule": {"calendar": "weekly"}, "readData": "100%"},
}  # fmt: skip


def test_certificates_and_backups_are_made_and_checked(fleet, on, both, acme):
    authority = open(acme["authority"]).read()
    for name in both:
        on(name).check_output("mkdir -p /srv/e2e-data && echo kept >/srv/e2e-data/file && echo no >/srv/e2e-data/x.tmp")
    fleet.profile("keeping", {
        "file": {
            "/etc/e2e-acme.pem": {"content": authority},
            "/etc/e2e-backup.env": {"content": "RESTIC_PASSWORD='e2e'\n", "mode": "0600"},
        },
        "group": {"e2e-certs": {}},
        "unit": {"e2e-tls.service": {"content": "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/usr/bin/touch /run/e2e-tls-reloaded\n"}},
        "service": {"e2e-tls": {"state": "started"}},
        "certificate": {"web": {
            "names": ["{{ host.name }}.rig.example"], "group": "e2e-certs", "reload": ["service:e2e-tls"], "validFor": "7d",
            "acme": {"directory": acme["directory"], "email": "ops@rig.example", "http": {}, "authority": "/etc/e2e-acme.pem"},
            "after": ["file:/etc/e2e-acme.pem", "service:e2e-tls"],
        }},
        "exporter": {"node": {"on": ["lan"]}},
        "backup": {
            "restic": {**BACKUP, "tool": "restic", "keep": {"daily": 7}, "credentials": {"file": "/etc/e2e-backup.env"}},
            "rclone": {**BACKUP, "tool": "rclone", "repository": "/srv/e2e-copy"},
        },
    }, on=both)  # fmt: skip
    fleet.deploy("Certificates and backups", names=both, seconds=180)
    state = "/var/lib/certificates/web"
    for name in both:
        host = on(name)
        subject = host.check_output(f"openssl x509 -noout -ext subjectAltName -in {state}/certificate.pem")
        assert f"DNS:{name}.rig.example" in subject
        key = host.file(f"{state}/key.pem")
        assert (key.user, key.group, key.mode) == ("root", "e2e-certs", 0o640)
        pair = [host.check_output(f"openssl {kind} {state}/{file}.pem") for kind, file in (("pkey -pubout -in", "key"), ("x509 -noout -pubkey -in", "certificate"))]
        assert pair[0] == pair[1]
        assert host.file("/run/e2e-tls-reloaded").exists and not host.file(f"{state}/reload").exists
        assert "certificate-web.timer" in host.check_output("systemctl list-timers --no-legend certificate-web.timer")
        host.check_output("systemd-analyze verify --man=no certificate-web.service backup-restic.service backup-restic-verify.service")

        # The first backup and its verification begin at once.
        address = fleet.rig["hosts"][name]["address"]

        def made(host=host, address=address) -> bool:
            lines = [one for one in get(host, f"http://{address}:9100/metrics").splitlines() if one.startswith("backup_last_")]
            return len(lines) == 4 and all(float(one.split()[-1]) > 1e9 for one in lines)

        seen = lambda host=host: host.run("systemctl status --no-pager 'backup-*.service'; cat /var/lib/prometheus/node-exporter/*.prom").stdout
        until(made, f"{name} has made and verified its backups", 60, seen)
        program = "/usr/local/lib/plumb/backup-restic"
        host.check_output(f"rm /srv/e2e-data/file && {program} restic restore latest --target /srv/e2e-restored --path /srv/e2e-data")
        assert host.check_output("cat /srv/e2e-restored/srv/e2e-data/file") == "kept"
        assert not host.file("/srv/e2e-restored/srv/e2e-data/x.tmp").exists
        assert host.check_output("ls /srv/e2e-copy/srv/e2e-data") == "file"
    in_sync(fleet, both)

    # The daily job renews nothing yet, and a certificate for another name fails the check.
    host = on(both[0])
    before = host.check_output(f"sha256sum {state}/certificate.pem")
    host.check_output("systemctl start certificate-web.service")
    assert host.check_output(f"sha256sum {state}/certificate.pem") == before
    host.check_output(f"openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=x -addext subjectAltName=DNS:x.example -keyout /dev/null -out {state}/certificate.pem")
    ready = lambda: next(c for c in fleet.controller.host(both[0]).status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "CheckFailed" and "isn't for" in ready()["message"], "the check fails", 60, fleet.controller.state)

    fleet.remove("profiles/keeping.yaml")
    for name, manifest in zip(both, ("12", "13"), strict=True):
        fleet.host(name, os={"family": "debian", "release": manifest})
    fleet.deploy("Nothing is kept any more", names=both, seconds=120)
    for name in both:
        host = on(name)
        left = "ls /usr/local/lib/plumb /etc/systemd/system/backup-* /etc/systemd/system/certificate-* /var/lib/prometheus/node-exporter/backup-*"
        assert host.run(left).stdout == ""
        assert not any(host.package(package).is_installed for package in ("lego", "restic", "rclone"))
        host.check_output(f"rm -r {state} /srv/e2e-backup /srv/e2e-copy /srv/e2e-data /srv/e2e-restored")
