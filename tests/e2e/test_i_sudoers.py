"""The composite `sudoers`: sudo takes it, and a mistake never reaches sudo."""

from waiting import until


def resources(commands: list[str]) -> dict:
    return {
        "user": {"e2e-sudo": {"shell": "/bin/sh"}},
        "sudoers": {"e2e": {"user": "e2e-sudo", "commands": commands, "noPassword": True}},
    }


def test_sudoers_grants_what_it_names_and_goes_again(fleet, on):
    host = on("h2")
    allowed = lambda command: host.run(f"runuser -u e2e-sudo -- sudo -n {command}").rc == 0
    fleet.profile("sudo", resources(["/usr/bin/id -u", "/usr/bin/env A=1,2 true"]), on=["h2"])
    plan = fleet.plan("h2")["hosts"]["h2"]["changes"]
    assert [change["from"] for change in plan if change["resource"] == "file:/etc/sudoers.d/e2e"] == ["sudoers:e2e"], plan
    fleet.deploy("Some commands")
    file = host.file("/etc/sudoers.d/e2e")
    assert (file.mode, file.user, file.group) == (0o440, "root", "root")
    assert host.run("visudo -c").rc == 0
    assert allowed("/usr/bin/id -u") and allowed("/usr/bin/env A=1,2 true")
    assert not allowed("/usr/bin/id -g") and not allowed("/usr/bin/env A=1 true")

    host.run("echo 'e2e-sudo ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/e2e")
    until(lambda: not allowed("/usr/bin/id -g"), "a right that somebody added is taken back", 60, fleet.controller.state)

    # One's own content wins over the part's; visudo refuses it, so the old file stays.
    mistake = {"file": {"/etc/sudoers.d/e2e": {"content": "e2e-sudo ALL=(ALL\n"}}}
    fleet.profile("sudo", {**resources(["/usr/bin/id -u"]), **mistake}, on=["h2"])
    fleet.commit("A mistake")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host("h2").status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "ValidateFailed", "h2 says that visudo refused it", 60, fleet.controller.state)
    assert "file:/etc/sudoers.d/e2e (from sudoers:e2e)" in ready()["message"], ready()
    assert allowed("/usr/bin/id -u") and host.run("visudo -c").rc == 0

    fleet.host("h2")
    fleet.remove("profiles/sudo.yaml")
    fleet.deploy("Nobody", seconds=120)
    assert not host.file("/etc/sudoers.d/e2e").exists
    assert host.run("visudo -c").rc == 0
