"""Killed at any moment, agent and controller converge, and no restart is lost."""

import random
import time

from waiting import until

KILLS = 10
HOSTS = ["h1", "h2"]


def resources(round_: int) -> dict:
    """A dozen changes in a row, the last of them restarting what reads the first."""
    files = {f"/etc/plumb-kills/{number}": {"content": f"round {round_}, file {number}\n"} for number in range(10)}
    files["/etc/plumb-test-daemon.conf"] = {"content": f"round={round_}\n", "after": ["package:plumb-test-daemon"]}
    return {
        "package": {"plumb-test-daemon": {}, "plumb-test-tool": {"version": ["1.0", "1.1"][round_ % 2], "allowDowngrade": True}},
        "file": files,
        "unit": {"plumb-test-daemon.service.d/round.conf": {"content": f"[Service]\nEnvironment=ROUND={round_ // 3}\n"}},
        "user": {"e2e-kills": {"comment": f"round {round_}"}},
        "service": {"plumb-test-daemon": {"state": "started", "enabled": True, "restartOn": ["file:/etc/plumb-test-daemon.conf"]}},
    }


def is_whole(host, round_: int) -> None:
    """Everything of the round is there, and the daemon runs with it."""
    for number in range(10):
        assert host.file(f"/etc/plumb-kills/{number}").content_string == f"round {round_}, file {number}\n"
    assert host.user("e2e-kills").gecos == f"round {round_}"
    assert host.package("plumb-test-tool").version == ["1.0", "1.1"][round_ % 2]
    assert host.run("dpkg --audit").stdout == ""
    assert host.service("plumb-test-daemon").is_running
    # What it runs with is what is there: no restart was lost.
    config = host.run("sha256sum </etc/plumb-test-daemon.conf | cut -d' ' -f1").stdout
    assert host.file("/run/plumb-test-daemon/config").content_string == config
    assert host.run("systemctl show -P Environment plumb-test-daemon").stdout.strip() == f"ROUND={round_ // 3}"
    # The process itself was started after its drop-in was written.
    assert f"ROUND={round_ // 3}" in host.run("tr '\\0' '\\n' </proc/$(systemctl show -P MainPID plumb-test-daemon)/environ").stdout
    # Temporary files are not left in others' directories.
    assert host.run("find /etc/plumb-kills -type f | wc -l").stdout.strip() == "10"


def prepare(fleet, on) -> float:
    """The first round, undisturbed; how long a round takes."""
    fleet.profile("killing", resources(0), on=HOSTS)
    fleet.deploy("Round 0", names=HOSTS)
    for name in HOSTS:
        is_whole(on(name), 0)
    begun = time.monotonic()
    fleet.profile("killing", resources(1), on=HOSTS)
    fleet.deploy("Round 1", names=HOSTS)
    return time.monotonic() - begun


def test_the_agent_is_killed_at_ten_random_moments(fleet, on):
    took = prepare(fleet, on)
    chance = random.Random(20)
    killed = 0
    for round_ in range(2, 2 + KILLS):
        fleet.profile("killing", resources(round_), on=HOSTS)
        revision = fleet.commit(f"Round {round_}")
        assert fleet.push().returncode == 0
        time.sleep(chance.uniform(0, took))
        for name in HOSTS:
            killed += on(name).run("pkill -9 -f '^/var/lib/plumb/'").rc == 0
        fleet.controller.wait(revision, HOSTS, 90)
        for name in HOSTS:
            is_whole(on(name), round_)
    assert killed > 0, "no kill met a running agent: the moments are wrong"


def test_the_controller_is_killed_at_ten_random_moments(fleet, on):
    took = prepare(fleet, on)
    chance = random.Random(21)
    for round_ in range(2, 2 + KILLS):
        fleet.profile("killing", resources(round_), on=HOSTS)
        revision = fleet.commit(f"Round {round_}")
        assert fleet.push().returncode == 0
        time.sleep(chance.uniform(0, took))
        fleet.controller.kill()
        fleet.controller.start()
        fleet.controller.wait(revision, HOSTS, 90)
        for name in HOSTS:
            is_whole(on(name), round_)


def test_a_package_transaction_outlives_agent_and_controller(fleet, on):
    """apt runs in a unit of its own: killing all of ours never leaves half a package."""
    host = on("h6")
    gone = host.run("apt-get -qq purge -y plumb-test-slow && rm -rf /var/lib/plumb-test-slow")
    assert gone.rc == 0, gone.stderr
    fleet.profile("slow", {"package": {"plumb-test-slow": {}}}, on=["h6"])
    revision = fleet.commit("A slow package")
    assert fleet.push().returncode == 0
    until(lambda: host.file("/var/lib/plumb-test-slow/log").exists, "the installation began", 30, fleet.controller.state)
    fleet.controller.kill()
    host.run("pkill -9 -f '^/var/lib/plumb/'")
    until(lambda: "ended" in host.file("/var/lib/plumb-test-slow/log").content_string, "it goes on without us", 30)
    fleet.controller.start()
    fleet.controller.wait(revision, ["h6"], 60)
    assert host.file("/var/lib/plumb-test-slow/log").content_string.splitlines() == ["began", "ended"], "it was run once"
    assert host.run("dpkg --audit").stdout == ""


def test_a_host_that_loses_power_converges(fleet, on, rig):
    took = prepare(fleet, on)
    fleet.profile("killing", resources(2), on=HOSTS)
    revision = fleet.commit("Round 2")
    assert fleet.push().returncode == 0
    time.sleep(took / 2)
    rig.do("kill", "h1")
    rig.do("start", "h1")
    fleet.controller.wait(revision, HOSTS, 120)
    is_whole(on("h1"), 2)
