"""Rollouts on real hosts: what a failing host holds back, and what it doesn't."""

import json
import socket
import time

import pytest
from waiting import holds, until

FLAGS = "/run/e2e-roll"


@pytest.fixture
def pair(on):
    """Two hosts without any flag of a test, before and after it."""
    hosts = on("h1"), on("h2")
    for host in hosts:
        host.run(f"rm -f {FLAGS}-*")
    yield hosts
    for host in hosts:
        host.run(f"rm -f {FLAGS}-*")


def command(script: str) -> dict:
    """A command that is run until the flag `done` is there."""
    return {"command": {"e2e-roll": {"run": ["/bin/sh", "-c", script], "creates": f"{FLAGS}-done"}}}


WANTS_OK = command(f"test -e {FLAGS}-ok || {{ echo not yet >&2; exit 1; }}; touch {FLAGS}-done")


def push(fleet, message: str) -> str:
    revision = fleet.commit(message)
    done = fleet.push()
    assert done.returncode == 0, done.stderr
    return revision


def halted(fleet) -> bool:
    with socket.socket(socket.AF_UNIX) as controller:
        controller.connect(f"{fleet.rig['git']['run']}/plumb.sock")
        controller.sendall(b"GET /api/v1/fleet HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = controller.makefile("rb").read()
    return any(rollout["halted"] for rollout in json.loads(answer.split(b"\r\n\r\n", 1)[1])["rollouts"])


def told(fleet) -> bool:
    """The alert about halts fires."""
    alerts = fleet.controller.ask("get", "alerts")["items"]
    return any(alert["labels"]["alertname"] == "PlumbRolloutHalted" for alert in alerts)


def test_halt_of_one_host_does_not_hold_back_a_later_commit_for_another(fleet, pair):
    h1, h2 = pair
    fleet.profile("roll-failing", WANTS_OK, on=["h1"])
    push(fleet, "A command that fails on h1")
    until(lambda: halted(fleet), "the rollout is halted", 30, fleet.controller.state)
    fleet.profile("roll-other", {"file": {f"{FLAGS}-other": {"content": "other\n"}}}, on=["h2"])
    begun = time.monotonic()
    fleet.deploy("Something else for h2", names=["h2"], seconds=20)
    assert h2.file(f"{FLAGS}-other").exists and time.monotonic() - begun < 15
    assert halted(fleet), "another commit ends no halt"
    assert not told(fleet), "no other host waits, and h1 has its own alert"
    # It goes on once the failed host comes through.
    h1.run(f"touch {FLAGS}-ok")
    fleet.controller.run("reconcile", "h1")
    until(lambda: not halted(fleet), "the halt ends", 30, fleet.controller.state)
    fleet.controller.wait(fleet.head(), ["h1", "h2"], 30)


def test_signed_trailer_resumes_a_halted_rollout(fleet, pair):
    h1, h2 = pair
    h2.run(f"touch {FLAGS}-ok")
    fleet.profile("roll-failing", WANTS_OK, on=["h1", "h2"])
    bad = push(fleet, "A command that fails on h1, which is first")
    until(lambda: told(fleet), "the halt is told", 30, fleet.controller.state)
    assert not h2.file(f"{FLAGS}-done").exists
    fleet.commit("Go on without h1", trailer=f"Rollout-Resume: {bad[:12]}\n")
    assert fleet.push().returncode == 0
    until(lambda: h2.file(f"{FLAGS}-done").exists, "h2 gets the change", 30, fleet.controller.state)
    until(lambda: not told(fleet), "the alert ends", 10, fleet.controller.state)
    assert "RolloutResumed" in fleet.controller.run("events").stdout
    h1.run(f"touch {FLAGS}-ok")
    fleet.controller.run("reconcile", "h1")
    fleet.controller.wait(fleet.head(), ["h1", "h2"], 30)


def test_failure_that_heals_at_the_retry_halts_and_alarms_nobody(fleet, pair):
    fails_once = f"test -e {FLAGS}-tried || {{ touch {FLAGS}-tried; echo not yet >&2; exit 1; }}; touch {FLAGS}-done"
    fleet.profile("roll-once", command(fails_once), on=["h1", "h2"])
    before = len([line for line in fleet.controller.run("events").stdout.splitlines() if "AlertFires" in line])
    fleet.deploy("A command that fails once on each host", names=["h1", "h2"], seconds=40)
    assert all(host.file(f"{FLAGS}-tried").exists and host.file(f"{FLAGS}-done").exists for host in pair)
    time.sleep(1)
    lines = fleet.controller.run("events").stdout.splitlines()
    assert any("CommandFailed" in line and "h1" in line for line in lines), "the failure itself is told"
    assert len([line for line in lines if "AlertFires" in line]) == before
    assert not halted(fleet)


def test_failures_is_the_number_of_failed_hosts_that_halts(fleet, pair):
    h1, h2 = pair
    h2.run(f"touch {FLAGS}-ok")
    fleet.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"}, "spec": {
        "domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}, "rollout": {"halt": {"failures": 2}}}})  # fmt: skip
    fleet.profile("roll-failing", WANTS_OK, on=["h1", "h2"])
    # One of two fails: the other one gets the change all the same.
    fleet.deploy("It fails on h1 alone", names=["h2"], seconds=30)
    assert h2.file(f"{FLAGS}-done").exists and not h1.file(f"{FLAGS}-done").exists
    holds(lambda: not halted(fleet), "one failure of two halts nothing", 5)
    # Both fail: halted.
    h2.run(f"rm -f {FLAGS}-*")
    again = command(f"test -e {FLAGS}-ok || {{ echo not yet again >&2; exit 1; }}; touch {FLAGS}-done")
    fleet.profile("roll-failing", again, on=["h1", "h2"])
    push(fleet, "It fails on both")
    until(lambda: halted(fleet), "two failures halt", 30, fleet.controller.state)
    for host in pair:
        host.run(f"touch {FLAGS}-ok")
    fleet.controller.run("reconcile", "h1", "h2")
    fleet.controller.wait(fleet.head(), ["h1", "h2"], 30)
