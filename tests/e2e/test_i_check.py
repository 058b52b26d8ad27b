"""Checks: a host whose checks fail isn't ready, whatever its resources look like."""

from waiting import until

SERVICE = """[Unit]
Description=web
[Service]
ExecStart=/usr/bin/python3 -m http.server 8099 --bind 127.0.0.1 --directory /srv/e2e-web
[Install]
WantedBy=multi-user.target
"""


def resources(page: str = "healthz") -> dict:
    return {
        "directory": {"/srv/e2e-web": {}},
        "file": {f"/srv/e2e-web/{page}": {"content": "fine\n"}},
        "unit": {"e2e-web.service": {"content": SERVICE}},
        "service": {"e2e-web": {"state": "started", "after": ["directory:/srv/e2e-web"]}},
        "check": {
            "answers": {"http": {"url": "http://127.0.0.1:8099/healthz"}, "within": "20s"},
            "missing": {"http": {"url": "http://127.0.0.1:8099/nothing", "status": 404}, "within": "20s"},
            "listens": {"tcp": "localhost:8099", "within": "20s"},
            "runs": {"unit": "e2e-web", "within": "20s"},
            "program": {"run": ["/usr/bin/test", "!", "-e", "/run/e2e-check-broken"], "within": "2s"},
        },
    }


def ready(fleet, name: str) -> dict:
    return next(c for c in fleet.controller.host(name).status["conditions"] if c["type"] == "Ready")


def test_failing_check_makes_host_not_ready(fleet, on):
    fleet.profile("checked", resources(), on=["h5"])
    fleet.deploy("Checked")
    page = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8099/healthz').read().decode(), end='')"
    assert on("h5").run(f'python3 -c "{page}"').stdout == "fine\n"
    assert fleet.plan("h5")["hosts"]["h5"]["changes"] == []

    # At a resync: no resource moved.
    on("h5").run("touch /run/e2e-check-broken")
    until(lambda: ready(fleet, "h5")["reason"] == "CheckFailed", "h5 isn't ready", 60, fleet.controller.state)
    message = ready(fleet, "h5")["message"]
    assert ready(fleet, "h5")["status"] == "False" and "check:program: `/usr/bin/test ! -e /run/e2e-check-broken` exited with status 1" in message, message
    on("h5").run("rm /run/e2e-check-broken")
    until(lambda: fleet.controller.host("h5").is_("Ready"), "h5 is ready again", 90, fleet.controller.state)

    # After a change: all resources come out, and the check says that the whole doesn't work.
    fleet.profile("checked", resources("elsewhere"), on=["h5"])
    fleet.commit("A page of another name")
    assert fleet.push().returncode == 0
    until(lambda: ready(fleet, "h5")["reason"] == "CheckFailed", "h5 says that a check fails", 90, fleet.controller.state)
    message = ready(fleet, "h5")["message"]
    assert "check:answers" in message and "answers with status 404, not 200" in message, message
    assert on("h5").file("/srv/e2e-web/elsewhere").exists and on("h5").service("e2e-web").is_running
    fleet.profile("checked", resources(), on=["h5"])
    fleet.deploy("The page again", seconds=120)
