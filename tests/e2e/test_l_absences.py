"""What the host lacks is told, what goes takes along what it started, and a retired host keeps nothing."""

from waiting import until

NEVER = {"calendar": "2099-01-01"}


def told(fleet, name: str, *words: str) -> str:
    """Waits until the host's status has all these words."""

    def text() -> str:
        status = str(fleet.controller.host(name).status)
        return status if all(word in status for word in words) else ""

    return until(text, f"{name} says {words}", 60, fleet.controller.state)


def push(fleet, name: str, resources: dict) -> None:
    fleet.profile("absences", resources, on=[name])
    fleet.commit("Absences")
    assert fleet.push().returncode == 0


def test_shell_program_and_user_that_the_host_lacks_are_told(fleet, on):
    name = fleet.names[0]
    host = on(name)
    timer = {"run": ["/usr/local/bin/e2e-gone"], "schedule": NEVER}
    cron = {"run": ["/bin/true"], "user": "e2e-nobody", "schedule": "@yearly"}
    user = {"shell": "/usr/bin/e2e-shell"}
    lacking = {"timer": {"e2e-gone": timer}, "cron": {"e2e-cron": cron}, "user": {"e2e-user": user}}
    push(fleet, name, lacking)
    problems = {one["resource"] for one in fleet.plan(name)["hosts"][name]["problems"]}
    assert "user:e2e-user" in problems, problems
    told(
        fleet,
        name,
        "the program /usr/local/bin/e2e-gone isn't on the host",
        "the host doesn't have the user e2e-nobody, who is to run /bin/true",
        "the host doesn't have the shell /usr/bin/e2e-shell of the user e2e-user",
    )
    assert not host.user("e2e-user").exists

    script = {"content": "#!/bin/sh\n", "mode": "0755"}
    files = {"/usr/local/bin/e2e-gone": script, "/usr/bin/e2e-shell": script}
    complete = lacking | {"file": files, "user": {"e2e-user": user, "e2e-nobody": {}}}
    fleet.profile("absences", complete, on=[name])
    fleet.deploy("Everything is there")
    assert host.user("e2e-user").shell == "/usr/bin/e2e-shell"
    assert fleet.plan(name)["hosts"][name]["changes"] == []
    host.run("rm /usr/local/bin/e2e-gone")
    until(lambda: host.file("/usr/local/bin/e2e-gone").exists, "the program is put back", 60, fleet.controller.state)

    fleet.host(name)
    fleet.remove("profiles/absences.yaml")
    fleet.deploy("No absences")
    assert not host.user("e2e-user").exists and not host.file("/etc/cron.d/e2e-cron").exists


def test_unit_that_another_one_started_stops_with_its_file(fleet, on):
    name = fleet.names[-1]
    host = on(name)
    service = "[Service]\nExecStart=/bin/sleep 48813\n"
    units = {
        "e2e-wanted.service": {"content": service},
        "e2e-wanting.service": {"content": f"[Unit]\nWants=e2e-wanted.service e2e-many@a.service\n{service}"},
        "e2e-many@.service": {"content": service},
    }
    fleet.profile("absences", {"unit": units, "service": {"e2e-wanting": {"state": "started"}}}, on=[name])
    fleet.deploy("Units that start each other")
    for unit in ("e2e-wanted", "e2e-wanting", "e2e-many@a"):
        assert host.service(unit).is_running, unit
    fleet.host(name)
    fleet.remove("profiles/absences.yaml")
    shown = fleet.plan(name)["hosts"][name]["changes"]
    losses = {str(effect) for change in shown for effect in change["consequences"]}
    assert any("e2e-wanted.service" in loss for loss in losses), shown
    fleet.deploy("None of them")
    assert host.run("pgrep -f '^/bin/sleep 48813'").stdout == ""
    assert host.check_output("systemctl list-units --all --plain --no-legend 'e2e-*'") == ""
    assert fleet.plan(name)["hosts"][name]["changes"] == []


def test_package_that_dpkg_keeps_stops_no_other_removal(fleet, on):
    name = fleet.names[0]
    host = on(name)
    build = (
        "set -e; for n in e2e-other e2e-held; do t=$(mktemp -d); mkdir $t/DEBIAN; "
        "printf 'Package: %s\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@x.example>\\nDescription: x\\n' $n >$t/DEBIAN/control; "
        "dpkg-deb --root-owner-group -b $t $t.deb >/dev/null; dpkg -i $t.deb; rm -rf $t $t.deb; done; apt-mark hold e2e-held"
    )
    assert host.run(build).rc == 0
    try:
        absent = {"state": "absent"}
        push(fleet, name, {"package": {"dpkg": absent, "e2e-other": absent, "e2e-held": {"version": "2.0"}}})
        problems = {one["resource"] for one in fleet.plan(name)["hosts"][name]["problems"]}
        assert "package:e2e-held" in problems, problems
        until(lambda: not host.package("e2e-other").is_installed, "the other package goes", 60, fleet.controller.state)
        told(fleet, name, "package:dpkg")
        assert host.package("dpkg").is_installed
        assert host.package("e2e-held").version == "1.0"
    finally:
        fleet.baseline()
        host.run("dpkg --purge e2e-other e2e-held")
    # No repository has it, so it can't be given back.
    let_go = lambda: fleet.controller.run("forget", name, "package:e2e-other").returncode == 0
    until(let_go, "it is let go", 60, fleet.controller.state)


def test_retired_host_keeps_nothing_after_a_plan_either(fleet, on):
    name = fleet.names[-1]
    host = on(name)
    fleet.host(name, state="retired")
    fleet.commit("A host retires")
    assert fleet.push().returncode == 0
    left = lambda: not host.file("/var/lib/plumb").exists
    until(left, "the agent leaves", 90, fleet.controller.state)
    assert fleet.plan(name)["hosts"][name]["changes"] == []
    assert left(), host.run("find /var/lib/plumb").stdout
    fleet.baseline()
