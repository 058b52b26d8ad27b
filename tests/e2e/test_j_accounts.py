"""Accounts that are half made, stale or in use, and give-backs that fail: with shadow's own tools."""

import pytest
from waiting import holds, until

UNIT = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"


def status(fleet, name: str) -> dict:
    return fleet.controller.host(name).status


def failing(fleet, name: str) -> dict[str, dict]:
    """The failures of a host, by their first resource."""
    return {one["resources"][0]: one for one in status(fleet, name).get("failing", [])}


def give_backs(fleet, name: str) -> dict[str, dict]:
    return {one["resource"]: one for one in status(fleet, name).get("giveBacks", [])}


def push(fleet, resources: dict) -> None:
    fleet.profile("accounts", resources, on=["h1"])
    fleet.commit("Accounts")
    assert fleet.push().returncode == 0


def run(on, script: str) -> str:
    done = on("h1").run(script)
    assert done.rc == 0, done.stderr
    return done.stdout


@pytest.fixture
def clean(fleet, on):
    yield
    on("h1").run("umount /srv/homes; pkill -KILL -u e2e-busy; systemctl unmask e2e-gone.service; rm -f /etc/systemd/system/e2e-*.service")


def test_stale_member_keeps_nobody_out_and_comes_back(fleet, on, clean):
    run(on, "groupadd -g 4300 e2e-app; useradd -M e2e-ghost; gpasswd -M e2e-ghost e2e-app; sed -i '/^e2e-ghost:/d' /etc/passwd; useradd -M e2e-alice")
    line = lambda: run(on, "grep ^e2e-app: /etc/group").strip()
    minimum = {"group": {"e2e-app": {"members": ["e2e-alice"]}}}
    fleet.profile("accounts", minimum, on=["h1"])
    fleet.deploy("Minimum", names=["h1"])
    assert line() == "e2e-app:x:4300:e2e-ghost,e2e-alice"
    inclusive = {"group": {"e2e-app": {"members": ["e2e-alice"], "membership": "inclusive"}}}
    fleet.profile("accounts", inclusive, on=["h1"])
    fleet.deploy("Inclusive", names=["h1"])
    assert line() == "e2e-app:x:4300:e2e-alice"
    push(fleet, {"group": {"e2e-app": {"members": ["e2e-alice", "e2e-nobody"]}}})
    until(lambda: "group:e2e-app" in failing(fleet, "h1"), "the unknown member is told", 60, fleet.controller.state)
    told = failing(fleet, "h1")["group:e2e-app"]
    assert told["reason"] == "NotFound" and "`e2e-nobody`" in told["message"] and "`e2e-app`" in told["message"]
    assert line() == "e2e-app:x:4300:e2e-alice"
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
    assert line() == "e2e-app:x:4300:e2e-ghost"
    run(on, "groupdel e2e-app; userdel e2e-alice")


def test_home_is_made_when_its_file_system_can_be_written(fleet, on, clean):
    run(on, "mkdir -p /srv/homes; mount -t tmpfs -o ro none /srv/homes")
    push(fleet, {"user": {"e2e-carol": {"home": "/srv/homes/carol", "createHome": True, "shell": "/bin/bash"}}})
    until(lambda: "user:e2e-carol" in failing(fleet, "h1"), "the home can't be made", 60, fleet.controller.state)
    told = failing(fleet, "h1")["user:e2e-carol"]
    assert told["reason"] == "ReadOnly" and "/srv/homes is mounted read-only" in told["message"]
    fleet.controller.run("reconcile", "h1", check=True)
    holds(lambda: "user:e2e-carol" in failing(fleet, "h1"), "it isn't forgotten", 8)
    run(on, "mount -o remount,rw /srv/homes")
    fleet.controller.run("reconcile", "h1", check=True)
    until(lambda: fleet.controller.host("h1").is_("Ready"), "h1 is ready", 60, fleet.controller.state)
    assert run(on, "stat -c '%U %G' /srv/homes/carol").strip() == "e2e-carol e2e-carol"
    assert run(on, "stat -c %U /srv/homes/carol/.profile").strip() == "e2e-carol"
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
    assert on("h1").run("id e2e-carol").rc != 0


def test_what_a_failed_run_enabled_is_disabled_again(fleet, on, clean):
    run(on, f"printf '{UNIT.encode('unicode_escape').decode()}' >/etc/systemd/system/e2e-bad.service; systemctl daemon-reload")
    push(fleet, {"service": {"e2e-bad": {"state": "started", "enabled": True}}})
    until(lambda: "service:e2e-bad" in failing(fleet, "h1"), "it doesn't start", 60, fleet.controller.state)
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
    assert on("h1").run("systemctl is-enabled e2e-bad").stdout.strip() == "disabled"


def test_user_with_processes_waits_and_holds_nothing_up(fleet, on, clean):
    fleet.profile("accounts", {"user": {"e2e-busy": {"groups": ["games"], "createHome": False}}}, on=["h1"])
    fleet.deploy("A user", names=["h1"])
    run(on, "setsid runuser -u e2e-busy -- sleep 600 >/dev/null 2>&1 </dev/null &")
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
    told = give_backs(fleet, "h1")["user:e2e-busy"]
    assert told["reason"] == "InUse" and "sleep (" in told["message"], told
    assert fleet.controller.host("h1").is_("Ready") and on("h1").run("id e2e-busy").rc == 0
    events = fleet.controller.ask("events", "h1")["items"]
    assert not [one for one in events if "e2e-busy" in one["message"] and one["reason"].startswith("Drift")]
    shown = fleet.controller.run("describe", "host", "h1", check=True).stdout
    assert "NOT GIVEN BACK" in shown and "plumb forget h1 user:e2e-busy" in shown, shown
    run(on, "pkill -KILL -u e2e-busy; sleep 1")
    fleet.controller.run("reconcile", "h1", check=True)
    until(lambda: not give_backs(fleet, "h1"), "it is gone", 60, fleet.controller.state)
    assert on("h1").run("id e2e-busy").rc != 0


def test_give_back_without_its_unit_is_dropped_on_request(fleet, on, clean):
    run(on, "printf '[Service]\\nExecStart=/bin/sleep 9999\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/e2e-gone.service; systemctl daemon-reload; systemctl enable --now e2e-gone")
    fleet.profile("accounts", {"service": {"e2e-gone": {"state": "stopped", "enabled": False}}}, on=["h1"])
    fleet.deploy("Stopped", names=["h1"])
    run(on, "rm /etc/systemd/system/e2e-gone.service; systemctl daemon-reload")
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
    assert "service:e2e-gone" in give_backs(fleet, "h1")
    refused = fleet.controller.run("forget", "h1", "service:other")
    assert refused.returncode != 0 and "waits to be restored" in refused.stderr
    fleet.controller.run("forget", "h1", "service:e2e-gone", check=True)
    until(lambda: not give_backs(fleet, "h1"), "it is dropped", 60, fleet.controller.state)
    assert fleet.controller.host("h1").is_("Ready")


def test_group_of_a_removed_users_name_stays(fleet, on, clean):
    both = {"user": {"e2e-dual": {"createHome": False}}, "group": {"e2e-dual": {"gid": 4310}}}
    fleet.profile("accounts", both, on=["h1"])
    fleet.deploy("Both", names=["h1"])
    fleet.profile("accounts", {"group": both["group"]}, on=["h1"])
    fleet.deploy("The group alone", names=["h1"])
    assert run(on, "grep ^e2e-dual: /etc/group").strip() == "e2e-dual:x:4310:"
    assert not any(host["changes"] for host in fleet.plan("h1")["hosts"].values())
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
    assert on("h1").run("getent group e2e-dual").rc != 0


def test_removed_user_comes_back_with_the_group_of_its_name(fleet, on, clean):
    run(on, "useradd --uid 4321 --user-group e2e-back && usermod -aG adm e2e-back")
    try:
        fleet.profile("accounts", {"user": {"e2e-back": {"state": "absent"}}}, on=["h1"])
        fleet.deploy("Nobody", names=["h1"])
        assert on("h1").run("getent group e2e-back").rc != 0, "userdel takes it along"
        fleet.profile("accounts", {}, on=["h1"])
        fleet.deploy("Somebody", names=["h1"])
        assert run(on, "id e2e-back").strip() == "uid=4321(e2e-back) gid=4321(e2e-back) groups=4321(e2e-back),4(adm)"
        assert give_backs(fleet, "h1") == {}
    finally:
        on("h1").run("userdel e2e-back")


def test_user_who_leaves_a_group_in_git_leaves_it_on_the_host(fleet, on, clean):
    both = {"user": {"e2e-left": {"createHome": False, "groups": ["adm", "games"]}}}
    fleet.profile("accounts", both, on=["h1"])
    fleet.deploy("Two groups", names=["h1"])
    run(on, "usermod -aG users e2e-left")
    one = {"user": {"e2e-left": {"createHome": False, "groups": ["adm"]}}}
    fleet.profile("accounts", one, on=["h1"])
    fleet.deploy("One group", names=["h1"])
    groups = set(run(on, "id -nG e2e-left").split())
    assert groups == {"e2e-left", "adm", "users"}, "what somebody else added stays"
    fleet.profile("accounts", {}, on=["h1"])
    fleet.deploy("Nothing", names=["h1"])
