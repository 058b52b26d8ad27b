"""What programs outside rely on: health, metrics that Prometheus scrapes, the page, the unit."""

import json
import subprocess
import urllib.request

from waiting import until

BASE = "http://127.0.0.1:9180"


def get(path: str) -> str:
    with urllib.request.urlopen(BASE + path, timeout=5) as answer:
        return answer.read().decode()


def test_health_and_readiness(fleet):
    assert get("/healthz") == "ok\n"
    assert get("/readyz") == "ready\n"


def test_metrics_are_sound_and_scraped(fleet, rig):
    text = get("/metrics")
    for name in ("plumb_build_info", "plumb_hosts", "plumb_host_drifted", "plumb_host_reachable", "plumb_reconciles_total", "plumb_source_last_success_timestamp_seconds"):
        assert name in text, name
    query = "/api/v1/query?query=" + "plumb_host_reachable"

    def scraped():
        with urllib.request.urlopen(rig.facts["prometheus"] + query, timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        return {one["metric"]["host"]: one["value"][1] for one in found} == {name: "1" for name in fleet.names}

    until(scraped, "Prometheus has every host as reachable", 20)


def test_the_page_shows_the_fleet(fleet):
    page = get("/")
    for name in fleet.names:
        assert name in page
    assert fleet.head()[:7] in page
    request = urllib.request.urlopen(BASE, timeout=5)
    assert "default-src 'none'" in request.headers["Content-Security-Policy"]


def test_describe_and_events_tell_a_story(fleet):
    done = fleet.controller.run("describe", "host", "h1", check=True)
    assert "h1" in done.stdout and "Ready" in done.stdout
    assert fleet.controller.ask("events")["items"]


def test_enroll_shows_and_pins_a_host_key(fleet, tmp_path):
    fleet.remove("hosts/h8.yaml")
    address = fleet.rig["hosts"]["h8"]["address"]
    done = fleet.controller.run("enroll", "h8", "--address", address, "--repo", str(fleet.tree), "--yes", "--config", str(fleet.controller.folder / "controller.yaml"))
    assert done.returncode == 0, done.stderr
    assert fleet.rig["hosts"]["h8"]["hostKey"].split()[1] in (fleet.tree / "hosts/h8.yaml").read_text()
    assert fleet.controller.run("check", str(fleet.tree)).returncode == 0


def test_the_agent_leaves_nothing_running(fleet, on):
    fleet.controller.stop()
    try:
        for name in fleet.names:
            until(lambda: on(name).run("pgrep -f '^/var/lib/plumb/'").rc != 0, f"nothing of ours runs on {name}", 15)
            assert on(name).run("ss -Hltnp | grep -c plumb").stdout.strip() == "0"
            folder = on(name).file("/var/lib/plumb")
            assert (folder.user, folder.mode) == ("root", 0o700)
    finally:
        fleet.controller.start()
