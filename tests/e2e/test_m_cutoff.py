"""Changes that cut the controller off are put back by the host, told, and not tried again by themselves."""

import subprocess

import pytest
from waiting import until

RULE = "/etc/sudoers.d/zz-e2e"
SSHD = "/etc/ssh/sshd_config.d/00-e2e.conf"
NFT = "/etc/nftables.conf"
UNIT = "/etc/systemd/system/plumb-dead-man.service"

# Each is right in itself: visudo and sshd accept it.
CUTS = {
    "sudoers": {"file": {RULE: {"content": "deploy ALL=(ALL) !ALL\n", "mode": "0440", "validate": ["/usr/sbin/visudo", "-cf", "%s"]}}},
    "sshd": {
        "file": {SSHD: {"content": "DenyUsers deploy\n", "mode": "0644"}},
        "service": {"ssh": {"state": "started", "restartOn": [f"file:{SSHD}"]}},
    },
    "firewall": {
        "file": {NFT: {"content": "flush ruleset\ntable inet e2e {\nchain input {\ntype filter hook input priority 0\ntcp dport 22 drop\n}\n}\n"}},
        "service": {"nftables": {"state": "started", "restartOn": [f"file:{NFT}"]}},
    },
    "keys": {"file": {"/home/deploy/.ssh/authorized_keys": {"content": "# nobody\n"}}},
}
GOOD = {
    "file": {RULE: {"content": "Defaults:deploy !lecture\n", "mode": "0440"}, SSHD: {"content": "MaxSessions 30\n", "mode": "0644"}},
    "service": {"ssh": {"state": "started", "restartOn": [f"file:{SSHD}"]}},
}


@pytest.fixture
def both(fleet):
    """A host of each release, driven as `deploy`, with a short timer. A failure stops no other host."""
    names = [fleet.names[0], fleet.names[-1]]
    spec = {"domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}}
    fleet.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"},
                               "spec": {**spec, "deadMan": {"confirm": "10s"}, "rollout": {"halt": {"failures": 9}}}})  # fmt: skip
    driven(fleet, names)
    return names


def driven(fleet, names: list[str]) -> None:
    """Their manifests without any profile of this test."""
    for name in names:
        fleet.host(name, connect=[{"user": "deploy", "address": fleet.rig["hosts"][name]["address"]}])


def logs_in(fleet, name: str) -> bool:
    """Whether `deploy` can log in and become root, by other means than Plumb's."""
    argv = ["ssh", "-F", fleet.rig["sshConfig"], "-o", "ControlPath=none", f"deploy@{name}", "sudo -n id -u"]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.strip() == "0"


def nothing_is_armed(host) -> bool:
    return not host.file(UNIT).exists and not host.file("/var/lib/plumb/dead-man").exists


def test_changes_that_cut_the_controller_off_are_put_back(fleet, on, both):
    keys = {name: on(name).file("/home/deploy/.ssh/authorized_keys").content for name in both}
    for name in both:
        on(name).check_output("nft flush ruleset")  # what other programs left there would go with the first such change
    rules = {name: on(name).check_output(f"cat {NFT}; nft list ruleset; systemctl is-active nftables || true") for name in both}
    cuts = list(CUTS)
    for turn in range(len(cuts)):
        driven(fleet, both)
        here = dict(zip(both, (cuts[turn], cuts[(turn + 1) % len(cuts)]), strict=True))
        for name, cut in here.items():
            fleet.profile(f"cut-{name}", CUTS[cut], on=[name])
        fleet.commit(f"{' and '.join(here.values())} cut us off")
        assert fleet.push().returncode == 0
        for name, cut in here.items():
            view = lambda name=name: fleet.controller.host(name)
            what = next(f"{kind}:{one}" for kind, named in CUTS[cut].items() for one in named)
            reverted = lambda: view().reason("Ready") == "Reverted" and what in view().message("Ready")
            until(reverted, f"{name} put {what} back", 90, fleet.controller.state)
            assert view().is_("Stalled"), view().item
            told = view().message("Ready")
            assert "the controller couldn't connect again within 10 s" in told and f"plumb reconcile {name}" in told, told
            host = on(name)
            assert nothing_is_armed(host) and logs_in(fleet, name)
            assert not host.file(RULE).exists and not host.file(SSHD).exists
            assert host.file("/home/deploy/.ssh/authorized_keys").content == keys[name]
            assert host.check_output(f"cat {NFT}; nft list ruleset; systemctl is-active nftables || true") == rules[name]
            assert host.run("visudo -c").rc == 0 and host.run("sshd -t").rc == 0
            described = fleet.controller.run("describe", "host", name, check=True).stdout
            assert "Reverted" in described and "put back" in described, described

    # The next commit drives both on, and such a change stays when the controller still comes in.
    driven(fleet, both)
    for name in both:
        fleet.profile(f"cut-{name}", GOOD, on=[name])
    fleet.deploy("A change that leaves us in", seconds=60)
    for name in both:
        host = on(name)
        assert nothing_is_armed(host) and logs_in(fleet, name)
        assert host.file(RULE).exists and "maxsessions 30" in host.check_output("sshd -T")
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan
    driven(fleet, both)
    for name in both:
        fleet.remove(f"profiles/cut-{name}.yaml")
    fleet.deploy("Nothing any more", seconds=60)
    for name in both:
        assert not on(name).file(RULE).exists and not on(name).file(SSHD).exists


def test_person_may_try_a_reverted_change_again(fleet, on, both):
    name = both[0]
    fleet.profile("cut", CUTS["sudoers"], on=[name])
    fleet.commit("Forbidden")
    assert fleet.push().returncode == 0
    reason = lambda: fleet.controller.host(name).reason("Ready")
    until(lambda: reason() == "Reverted", "it is put back", 60, fleet.controller.state)
    seen = lambda: on(name).check_output("stat -c %Z /var/lib/plumb/reverted")
    before = seen()
    fleet.controller.settle(12)
    assert seen() == before, "resyncs don't try it again"
    fleet.controller.run("reconcile", name, check=True)
    until(lambda: seen() != before, "it was tried again", 60, fleet.controller.state)
    until(lambda: reason() == "Reverted" and nothing_is_armed(on(name)), "it is put back again", 60, fleet.controller.state)


def test_host_puts_back_what_a_dead_controller_left(fleet, on, both):
    name = both[1]
    fleet.profile("cut", GOOD, on=[name])
    fleet.commit("The controller dies")
    assert fleet.push().returncode == 0
    until(lambda: on(name).file(RULE).exists, "the change is made", 60, fleet.controller.state)
    fleet.controller.kill()
    # A confirmation may have come first; then the change stays, whole.
    armed = not nothing_is_armed(on(name))
    if armed:
        until(lambda: nothing_is_armed(on(name)), "the host decided", 30, fleet.controller.tail)
        assert not on(name).file(RULE).exists and not on(name).file(SSHD).exists
    fleet.controller.start()
    assert logs_in(fleet, name)


# The moment of the power cut: one of two changes made, or all made and not confirmed.
SLOW = "/usr/local/bin/e2e-slow-rule"
FIRST = {"content": "# first\n", "mode": "0440"}
SLOWLY = {"content": "# second\n", "mode": "0440", "validate": [SLOW, "%s"], "after": [f"file:{RULE}"]}
MOMENTS = {
    "changing": {RULE: FIRST, f"{RULE}2": SLOWLY},
    "waiting": {RULE: {"content": "deploy ALL=(ALL) !ALL\n", "mode": "0440"}},
}


@pytest.mark.parametrize(("moment", "release"), [("changing", 0), ("waiting", 1)])
def test_host_that_loses_power_puts_back_what_was_unconfirmed(fleet, rig, on, both, moment, release):
    name = both[release]
    on(name).check_output(f"printf '#!/bin/sh\\nsleep 8\\n' >{SLOW} && chmod 755 {SLOW} && sync")
    fleet.profile("cut", {"file": MOMENTS[moment]}, on=[name])
    fleet.commit(f"A power cut, {moment}")
    assert fleet.push().returncode == 0
    until(lambda: on(name).file(RULE).exists, f"the host is {moment}", 60, fleet.controller.state)
    assert on(name).file(UNIT).exists and not on(name).file(f"{RULE}2").exists
    rig.do("kill", name)
    rig.do("start", name)
    until(lambda: nothing_is_armed(on(name)), "the unit decided after the boot", 60)
    assert not on(name).file(RULE).exists and not on(name).file(f"{RULE}2").exists
    view = lambda: fleet.controller.host(name)
    until(lambda: view().reason("Ready") == "Reverted", "it says so", 60, fleet.controller.state)
    assert "the machine restarted before" in view().message("Ready"), view().message("Ready")


def test_own_user_is_not_removed_while_it_is_logged_in(fleet, on, both):
    for name in both:
        fleet.profile(f"cut-{name}", {"user": {"deploy": {"state": "absent"}}}, on=[name])
    fleet.commit("Without our user")
    assert fleet.push().returncode == 0
    for name in both:
        until(lambda name=name: fleet.controller.host(name).reason("Ready") == "InUse", f"{name} keeps it", 60, fleet.controller.state)
        assert logs_in(fleet, name)
