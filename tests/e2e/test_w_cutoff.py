"""Power cuts and clock jumps around a change that could cut the controller off, on a machine with a power cord."""

import pytest
from waiting import until

HOST = "v1"
RULE = "/etc/sudoers.d/zz-vm"
SECOND = "/etc/sudoers.d/zz-vm2"
SLOW = "/usr/local/bin/vm-slow"
ARMED = "/var/lib/plumb/dead-man"
UNIT = "/etc/systemd/system/plumb-dead-man.service"

# A processor in software, on a machine that does other things too.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture
def machine(machines, on):
    """The machine, driven as `deploy`, and a validator that takes its time."""
    on(HOST).check_output(f"printf '#!/bin/sh\\nsleep 20\\n' >{SLOW} && chmod 755 {SLOW} && sync")
    begin(machines, "60s")
    yield machines
    on(HOST).run(f"rm -f {SLOW}")


def begin(machines, confirm: str) -> None:
    spec = {"domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}, "deadMan": {"confirm": confirm}}
    machines.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"}, "spec": spec})
    machines.host(HOST, connect=[{"user": "deploy", "address": machines.rig["hosts"][HOST]["address"]}])


def rules(first: str, slow: str | None = None) -> dict:
    files = {RULE: {"content": first, "mode": "0440"}}
    if slow is not None:
        files[SECOND] = {"content": slow, "mode": "0440", "after": [f"file:{RULE}"], "validate": [SLOW, "%s"]}
    return {"file": files}


def push(machines, resources: dict, message: str) -> str:
    machines.host(HOST, connect=[{"user": "deploy", "address": machines.rig["hosts"][HOST]["address"]}])
    machines.profile("cut", resources, on=[HOST])
    revision = machines.commit(message)
    assert machines.push().returncode == 0
    return revision


def power_cut(rig, on) -> None:
    rig.do("kill", HOST)
    rig.do("start", HOST)
    until(lambda: not on(HOST).file(UNIT).exists, "the unit decided after the boot", 120)


def is_as_before(host) -> bool:
    return not host.file(RULE).exists and not host.file(SECOND).exists and not host.file(ARMED).exists


def reverted(machines) -> None:
    view = lambda: machines.controller.host(HOST)
    until(lambda: view().reason("Ready") == "Reverted", "it says so", 240, machines.controller.state)
    assert "the machine restarted" in view().message("Ready"), view().message("Ready")


def test_power_cut_during_and_after_a_change_puts_it_back(machine, rig, on):
    # In the middle: the first rule is there, the second waits for its validator.
    push(machine, rules("# first\n", "# second\n"), "Cut in the middle")
    until(lambda: on(HOST).file(RULE).exists, "the first rule is there", 180, machine.controller.state)
    assert on(HOST).file(ARMED).exists and not on(HOST).file(SECOND).exists
    power_cut(rig, on)
    assert is_as_before(on(HOST))
    reverted(machine)

    # After all changes, before the confirmation, which can't come.
    push(machine, rules("deploy ALL=(ALL) !ALL\n"), "Cut while it waits")
    until(lambda: on(HOST).file(RULE).exists, "the rule is there", 180, machine.controller.state)
    power_cut(rig, on)
    assert is_as_before(on(HOST))
    reverted(machine)


def test_power_cut_before_and_behind_the_timer_changes_nothing(machine, rig, on):
    # Armed, and the only change waits for its validator.
    resources = {"file": {RULE: {"content": "# rule\n", "mode": "0440", "validate": [SLOW, "%s"]}}}
    revision = push(machine, resources, "Cut before the change")
    until(lambda: on(HOST).file(ARMED).exists, "the timer is armed", 180, machine.controller.state)
    assert not on(HOST).file(RULE).exists
    power_cut(rig, on)
    assert not on(HOST).file(ARMED).exists and not on(HOST).file(RULE).exists
    reverted(machine)

    # A person tries it again, and the confirmed change outlives the next power cut.
    machine.controller.run("reconcile", HOST, check=True)
    machine.controller.wait(revision, [HOST], 240)
    power_cut(rig, on)
    assert on(HOST).file(RULE).content_string == "# rule\n"
    machine.controller.wait(revision, [HOST], 240)


def test_clock_jumps_move_no_timer(machine, on):
    begin(machine, "30s")
    push(machine, rules("deploy ALL=(ALL) !ALL\n"), "With a clock that jumps")
    until(lambda: on(HOST).file(RULE).exists, "the rule is there", 180, machine.controller.state)
    before = float(on(HOST).check_output("cat /proc/uptime").split()[0])
    on(HOST).check_output("date -s '+1 day' && sleep 3")
    assert on(HOST).file(RULE).exists, "a clock that goes ahead ends no wait"
    on(HOST).check_output("date -s '-2 days'")
    until(lambda: is_as_before(on(HOST)), "it is put back", 120, machine.controller.state)
    assert float(on(HOST).check_output("cat /proc/uptime").split()[0]) - before < 90
    on(HOST).check_output("date -s '+1 day'")
