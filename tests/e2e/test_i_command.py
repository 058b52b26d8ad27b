"""Commands: they run when their guards or inputs ask for it, and never otherwise."""

from waiting import holds, until

# Counts its runs and fails while /run/e2e-command-broken is there.
SCRIPT = """#!/bin/sh
test ! -e /run/e2e-command-broken || { echo 'it is broken' >&2; exit 3; }
echo "$(id -un) $PWD $WHO $(cat)" >>/var/tmp/e2e-command.runs
"""
RUNS = "/var/tmp/e2e-command.runs"


def resources(text: str = "one") -> dict:
    return {
        "file": {
            "/usr/local/bin/e2e-command": {"content": SCRIPT, "mode": "0755"},
            "/etc/plumb-e2e-input": {"content": f"{text}\n"},
        },
        "command": {
            "refreshed": {"run": ["/usr/local/bin/e2e-command"], "refreshOn": ["file:/etc/plumb-e2e-input"], "after": ["file:/usr/local/bin/e2e-command"],
                          "user": "games", "directory": "/usr/games", "environment": {"WHO": "plumb"}, "input": "typed"},
            "made": {"run": ["/usr/bin/touch", "/var/tmp/e2e-command.made"], "creates": "/var/tmp/e2e-command.made"},
            "never": {"run": ["/usr/bin/touch", "/var/tmp/e2e-command.never"], "unless": ["/bin/true"]},
        },
    }  # fmt: skip


def runs(on, name: str) -> list[str]:
    return on(name).run(f"cat {RUNS} 2>/dev/null").stdout.splitlines()


def test_command_runs_once_per_change_and_a_failed_one_stays_pending(fleet, on):
    for name in ("h1", "h2"):
        on(name).run(f"rm -f /run/e2e-command-broken; rm -f /var/tmp/e2e-command.*; touch {RUNS}; chmod 666 {RUNS}")
    fleet.profile("commands", resources(), on=["h1", "h2"])
    fleet.deploy("Commands")
    for name in ("h1", "h2"):
        assert runs(on, name) == ["games /usr/games plumb typed"], name
        assert on(name).file("/var/tmp/e2e-command.made").exists and not on(name).file("/var/tmp/e2e-command.never").exists
    assert all(not host["changes"] for host in fleet.plan("h1", "h2")["hosts"].values())
    fleet.controller.run("reconcile", check=True)
    holds(lambda: len(runs(on, "h1")) == 1, "nothing runs without a reason", 12)

    on("h1").run("rm /var/tmp/e2e-command.made")
    until(lambda: on("h1").file("/var/tmp/e2e-command.made").exists, "what it creates is made again", 40, fleet.controller.state)

    on("h2").run("touch /run/e2e-command-broken")
    fleet.profile("commands", resources("two"), on=["h1", "h2"])
    fleet.commit("Another input")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host("h2").status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "CommandFailed", "h2 says that its command failed", 60, fleet.controller.state)
    assert "exited with status 3" in ready()["message"] and "it is broken" in ready()["message"], ready()
    assert len(runs(on, "h2")) == 1
    on("h2").run("rm /run/e2e-command-broken")
    until(lambda: len(runs(on, "h2")) == 2, "the pending command runs", 90, fleet.controller.state)
    until(lambda: fleet.controller.host("h2").is_("Ready"), "h2 is ready again", 60, fleet.controller.state)
    until(lambda: len(runs(on, "h1")) == 2, "it ran on the other host as well", 60, fleet.controller.state)
