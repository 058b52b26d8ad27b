"""Services as systemd has them: settling, failing by itself, templates, aliases, masks, sockets, giving back."""

import re
import time
import urllib.request

import pytest
from waiting import holds, until

SLEEPER = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
HOST = "h1"


@pytest.fixture
def host(fleet, on):
    """A host whose units of a test are gone afterwards, whatever the test left."""
    host = on(HOST)
    yield host
    fleet.host(HOST)
    for file in (fleet.tree / "profiles").glob("svc*.yaml"):
        file.unlink()
    host.run(
        "cd /etc/systemd/system; for unit in $(systemctl list-units --all --plain --no-legend 'e2e-*' | cut -d' ' -f1); do systemctl stop $unit; done;"
        "rm -rf e2e-* *.wants/e2e-* service.d /usr/lib/systemd/system/e2e-* /etc/init.d/e2e-*; systemctl daemon-reload; systemctl reset-failed; rm -f /run/e2e-*"
    )


def want(fleet, name: str = "svc", **resources) -> None:
    fleet.profile(name, resources, on=[HOST])


def push(fleet, message: str) -> str:
    revision = fleet.commit(message)
    done = fleet.push()
    assert done.returncode == 0, done.stderr
    return revision


def go(fleet, message: str, seconds: float = 60) -> str:
    return fleet.deploy(message, names=[HOST], seconds=seconds)


def drop(fleet, message: str = "Drop it") -> str:
    fleet.host(HOST)
    for file in (fleet.tree / "profiles").glob("svc*.yaml"):
        file.unlink()
    return go(fleet, message)


def ready(fleet) -> dict:
    return fleet.controller.host(HOST).conditions.get("Ready", {})


def told(fleet, reason: str, seconds: float = 40) -> str:
    """The message, once the host is not ready for this reason."""
    until(lambda: ready(fleet).get("reason") == reason, f"{HOST} says {reason}", seconds, fleet.controller.state)
    return ready(fleet)["message"]


def changes(fleet) -> list[dict]:
    return fleet.plan(HOST)["hosts"][HOST]["changes"]


def events(fleet, reason: str, word: str = "") -> list[str]:
    """The host's events with this reason that speak of something, without their ages."""
    lines = fleet.controller.run("events", HOST).stdout.splitlines()
    return [line.split(None, 1)[1] for line in lines if reason in line and word in line]


def shown(host, unit: str, name: str) -> str:
    return host.run(f"systemctl show -P {name} {unit}").stdout.strip()


def unit(text: str) -> dict:
    return {"content": text}


def dying(word: str = "bad option", rest: str = "") -> dict:
    return unit(f"[Service]\nExecStart=/bin/sh -c 'sleep 0.3; echo {word} >&2; exit 2'\n{rest}[Install]\nWantedBy=multi-user.target\n")


@pytest.mark.parametrize("rest", ["", "Restart=always\n"])
def test_a_service_that_dies_after_its_start_is_a_failure_with_its_journal(fleet, host, rest):
    want(fleet, unit={"e2e-dies.service": dying(rest=rest)}, service={"e2e-dies": {"state": "started", "enabled": True}})
    push(fleet, "A service that dies")
    message = told(fleet, "CommandFailed")
    assert "e2e-dies.service" in message and "bad option" in message, message
    holds(lambda: ready(fleet).get("status") == "False", "it is never ready", 12)
    assert events(fleet, "DriftCorrected", "e2e-dies") == []
    # Mended, it is made at once.
    want(fleet, unit={"e2e-dies.service": unit(SLEEPER)}, service={"e2e-dies": {"state": "started", "enabled": True}})
    go(fleet, "It lives")
    assert host.service("e2e-dies").is_running
    drop(fleet)


def test_a_good_service_that_a_commit_breaks_has_failed_and_not_drifted(fleet, host):
    script = lambda body: {"/usr/local/bin/e2e-daemon": {"content": f"#!/bin/sh\n{body}\n", "mode": "0755"}}
    service = {"e2e-good": {"state": "started", "restartOn": ["file:/usr/local/bin/e2e-daemon"]}}
    text = {"e2e-good.service": unit("[Service]\nExecStart=/usr/local/bin/e2e-daemon\n")}
    want(fleet, file=script("exec sleep infinity"), unit=text, service=service)
    go(fleet, "A good daemon")
    want(fleet, file=script("sleep 0.3; echo no such flag >&2; exit 1"), unit=text, service=service)
    push(fleet, "It breaks")
    assert "no such flag" in told(fleet, "CommandFailed")
    assert not fleet.controller.host(HOST).is_("Drifted")
    drop(fleet)


def test_a_unit_that_starts_for_ever_is_waited_for_with_a_limit_and_blocks_nothing(fleet, host):
    never = {"e2e-never.service": unit("[Service]\nType=notify\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n")}
    want(fleet, unit=never, file={"/run/e2e-beside": {"content": "x\n"}}, service={"e2e-never": {"state": "started"}})
    push(fleet, "It never gets ready")
    message = told(fleet, "UnitPending")
    assert "e2e-never.service" in message and "activating (start)" in message and "at most 90 s" in message, message
    assert host.file("/run/e2e-beside").exists
    assert [change["resource"] for change in changes(fleet)] == ["service:e2e-never"]
    # Newer intent doesn't wait for it.
    begun = time.monotonic()
    want(fleet, unit={"e2e-never.service": unit(SLEEPER)}, service={"e2e-never": {"state": "started"}})
    go(fleet, "The mend", 30)
    assert time.monotonic() - begun < 25
    assert host.service("e2e-never").is_running
    drop(fleet)


def test_a_unit_that_never_gets_ready_is_told_steadily(fleet, host):
    slow = {"e2e-slow.service": unit("[Service]\nType=notify\nExecStart=/bin/sh -c 'echo looking for the licence; exec sleep infinity'\nTimeoutStartSec=8\nRestart=always\nRestartSec=1\n")}
    want(fleet, unit=slow, service={"e2e-slow": {"state": "started"}})
    push(fleet, "It never gets ready")
    assert "e2e-slow.service" in told(fleet, "UnitPending")
    assert "looking for the licence" in told(fleet, "CommandFailed")
    recovered = events(fleet, "Recovered")
    holds(lambda: ready(fleet).get("reason") == "CommandFailed", "it keeps its reason", 25)
    assert events(fleet, "Recovered") == recovered
    drop(fleet)


def test_instances_restart_once_with_their_template_and_drop_ins_of_every_level(fleet, host):
    def units(word: str, **more: str) -> dict:
        text = f"[Service]\nExecStart=/bin/sh -c 'echo {word}-%i-$A-$ALL >>/run/e2e-worker-%i; exec sleep infinity'\n[Install]\nWantedBy=multi-user.target\n"
        return {"e2e-worker@.service": unit(text), **{name: unit(f"[Service]\nEnvironment={value}\n") for name, value in more.items()}}

    services = {f"e2e-worker@{one}": {"state": "started", "enabled": True} for one in "ab"}
    runs = lambda one: host.file(f"/run/e2e-worker-{one}").content_string.split()
    only = "e2e-worker@a.service.d/only.conf"
    want(fleet, unit=units("one", **{only: "A=1"}), service=services)
    go(fleet, "Two workers")
    assert events(fleet, "PreconditionFailed", "e2e-worker") == []
    assert (runs("a"), runs("b")) == (["one-a-1-"], ["one-b--"])

    want(fleet, unit=units("two", **{only: "A=1"}), service=services)
    assert {change["resource"] for change in changes(fleet)} == {"unit:e2e-worker@.service", "service:e2e-worker@a", "service:e2e-worker@b"}
    go(fleet, "Their template changes")
    assert (runs("a")[1:], runs("b")[1:]) == (["two-a-1-"], ["two-b--"])

    every = {only: "A=1", "e2e-worker@.service.d/all.conf": "ALL=1"}
    want(fleet, unit=units("two", **every), service=services)
    go(fleet, "A drop-in of the template")
    assert (runs("a")[2:], runs("b")[2:]) == (["two-a-1-1"], ["two-b--1"])

    want(fleet, unit=units("two", **{**every, only: "A=2"}), service=services)
    go(fleet, "A drop-in of one instance")
    assert (runs("a")[3:], runs("b")[3:]) == (["two-a-2-1"], [])
    assert changes(fleet) == []

    drop(fleet)
    assert host.run("systemctl is-active e2e-worker@a e2e-worker@b").stdout.split() == ["inactive", "inactive"]
    assert host.run("ls /etc/systemd/system/*.wants/e2e-* 2>/dev/null").stdout == ""


def test_drop_ins_of_a_prefix_and_of_all_services_restart_what_reads_them(fleet, host):
    text = {"e2e-foo-bar.service": unit("[Service]\nExecStart=/bin/sh -c 'echo $V >>/run/e2e-foo; exec sleep infinity'\n")}
    service = {"e2e-foo-bar": {"state": "started"}}
    runs = lambda: host.file("/run/e2e-foo").content_string.split("\n")[:-1]
    for value, name in (("1", "e2e-foo-.service.d/v.conf"), ("2", "e2e-foo-.service.d/v.conf"), ("3", "service.d/e2e.conf")):
        want(fleet, unit={**text, name: unit(f"[Service]\nEnvironment=V={value}\n")}, service=service)
        go(fleet, f"V={value}")
    assert runs() == ["1", "2", "3"]
    drop(fleet)


def vendor(host, name: str, text: str) -> None:
    host.run(f"cat >/usr/lib/systemd/system/{name} <<'END'\n{text}END\nsystemctl daemon-reload")


def test_an_alias_is_its_unit(fleet, host):
    vendor(host, "e2e-maria.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\nAlias=e2e-mysql.service\n")
    service = {"e2e-mysql": {"state": "started", "enabled": True}}
    want(fleet, service=service)
    go(fleet, "Named by its alias")
    assert host.service("e2e-maria").is_running and host.service("e2e-maria").is_enabled
    assert changes(fleet) == []

    drop_in = lambda value: {"e2e-maria.service.d/x.conf": unit(f"[Service]\nEnvironment=X={value}\n")}
    environment = lambda: host.run("tr '\\0' '\\n' </proc/$(systemctl show -P MainPID e2e-maria)/environ | grep ^X=").stdout.strip()
    for value in "12":
        want(fleet, unit=drop_in(value), service=service)
        if value == "2":
            assert [change["resource"] for change in changes(fleet)] == ["unit:e2e-maria.service.d/x.conf", "service:e2e-mysql"]
        go(fleet, f"X={value}")
        assert environment() == f"X={value}"

    want(fleet, unit=drop_in("2"), service={"e2e-mysql": {"state": "started", "enabled": False}})
    go(fleet, "Not at boot")
    assert host.service("e2e-maria").is_running and not host.service("e2e-maria").is_enabled
    assert changes(fleet) == []

    want(fleet, service={"e2e-mysql": {"state": "stopped"}, "e2e-maria": {"state": "started"}})
    push(fleet, "Two names of one unit")
    message = told(fleet, "Refused")
    assert "service:e2e-maria" in message and "service:e2e-mysql" in message, message
    started = shown(host, "e2e-maria", "ExecMainStartTimestampMonotonic")
    holds(lambda: shown(host, "e2e-maria", "ExecMainStartTimestampMonotonic") == started, "it doesn't flap", 12)
    drop(fleet)
    assert not host.service("e2e-maria").is_running and not host.service("e2e-maria").is_enabled


def test_from_masked_to_managed_and_back(fleet, host):
    masked = {"e2e-sleeper": {"masked": True}}
    started = {"e2e-sleeper": {"state": "started", "enabled": True}}
    for later in (started, {"e2e-sleeper": {"masked": False, **started["e2e-sleeper"]}}):
        want(fleet, service=masked)
        go(fleet, "Masked")
        assert host.file("/etc/systemd/system/e2e-sleeper.service").linked_to == "/dev/null"
        want(fleet, unit={"e2e-sleeper.service": unit(SLEEPER)}, service=later)
        before = events(fleet, "Refused")
        go(fleet, "Managed")
        assert host.service("e2e-sleeper").is_running and host.service("e2e-sleeper").is_enabled
        assert events(fleet, "Refused") == before
        drop(fleet)
        assert not host.file("/etc/systemd/system/e2e-sleeper.service").exists
        assert host.run("ls /etc/systemd/system/*.wants/e2e-* 2>/dev/null").stdout == ""


def test_a_mask_of_the_host_is_kept_and_given_back(fleet, host):
    host.run("ln -s /dev/null /etc/systemd/system/e2e-theirs.service; systemctl daemon-reload")
    want(fleet, unit={"e2e-theirs.service": unit(SLEEPER)}, service={"e2e-theirs": {"state": "started", "masked": False}})
    go(fleet, "Unmasked")
    assert host.service("e2e-theirs").is_running
    drop(fleet)
    assert host.file("/etc/systemd/system/e2e-theirs.service").linked_to == "/dev/null"
    assert shown(host, "e2e-theirs", "LoadState") == "masked"


def test_a_mask_and_a_unit_file_at_one_path_are_an_error_of_check(fleet):
    def checked(text: str, **service) -> str:
        fleet.profile("svc", {"unit": {"e2e-sleeper.service": unit(text)}, "service": {"e2e-sleeper": service}}, on=[HOST])
        done = fleet.controller.run("check", str(fleet.tree))
        assert done.returncode != 0, done.stdout
        # Without the frame and the line breaks of a terminal.
        return " ".join((done.stdout + done.stderr).replace("│", " ").split())

    assert "drop the `unit`, or write `state: stopped, enabled: false`" in checked(SLEEPER, masked=True)
    assert "an empty unit file masks the unit" in checked("", masked=False)
    fleet.host(HOST)
    fleet.remove("profiles/svc.yaml")


def test_a_service_is_given_back_while_its_drop_in_changes(fleet, host):
    vendor(host, "e2e-plain.service", SLEEPER)
    host.run("systemctl start e2e-plain")
    drop_in = lambda value: {"e2e-plain.service.d/x.conf": unit(f"[Service]\nEnvironment=X={value}\n")}
    want(fleet, unit=drop_in(1), service={"e2e-plain": {"state": "started", "enabled": True}})
    go(fleet, "Managed")
    want(fleet, unit=drop_in(2))
    go(fleet, "Only its drop-in")
    assert host.service("e2e-plain").is_running and not host.service("e2e-plain").is_enabled
    drop(fleet)
    assert host.service("e2e-plain").is_running


def test_what_a_failed_service_changed_is_given_back(fleet, host):
    vendor(host, "e2e-bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
    want(fleet, service={"e2e-bad": {"state": "started", "enabled": True}})
    push(fleet, "It fails")
    assert "e2e-bad.service" in told(fleet, "CommandFailed")
    drop(fleet)
    assert host.run("systemctl is-enabled e2e-bad").stdout.strip() == "disabled"


def test_a_socket_restarts_what_it_triggers(fleet, host):
    socket = "[Socket]\nListenStream=/run/e2e-echo.sock\n[Install]\nWantedBy=sockets.target\n"
    text = lambda word: {"e2e-echo.socket": unit(socket), "e2e-echo.service": unit(f"[Service]\nExecStart=/bin/sh -c 'echo {word} >>/run/e2e-echo; exec sleep infinity'\n")}
    runs = lambda: host.file("/run/e2e-echo").content_string.split()
    want(fleet, unit=text("one"), service={"e2e-echo.socket": {"state": "started"}})
    go(fleet, "A socket")
    host.run("systemctl start e2e-echo.service")
    want(fleet, unit=text("two"), service={"e2e-echo.socket": {"state": "started"}})
    go(fleet, "What it triggers changes")
    assert runs() == ["one", "two"]
    assert host.service("e2e-echo.socket").is_running
    drop(fleet)


def test_a_file_in_the_folder_of_units_restarts_its_service(fleet, host):
    text = lambda word: {"/etc/systemd/system/e2e-file.service": {"content": f"[Service]\nExecStart=/bin/sh -c 'echo {word} >>/run/e2e-file; exec sleep infinity'\n"}}
    for word in ("one", "two"):
        want(fleet, file=text(word), service={"e2e-file": {"state": "started"}})
        go(fleet, word)
    assert host.file("/run/e2e-file").content_string.split() == ["one", "two"]
    drop(fleet)
    assert not host.file("/etc/systemd/system/e2e-file.service").exists


def test_a_start_script_is_enabled(fleet, host):
    script = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: e2e-old\n# Required-Start: $remote_fs\n# Required-Stop: $remote_fs\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\nexit 0\n"
    host.run(f"cat >/etc/init.d/e2e-old <<'END'\n{script}END\nchmod 755 /etc/init.d/e2e-old; systemctl daemon-reload")
    want(fleet, service={"e2e-old": {"enabled": True}})
    go(fleet, "At boot")
    assert host.run("ls /etc/rc3.d | grep -c 'S..e2e-old'").stdout.strip() == "1"
    assert changes(fleet) == []
    drop(fleet)
    assert host.run("ls /etc/rc3.d | grep -c 'S..e2e-old'").stdout.strip() == "0"


def test_a_unit_whose_condition_is_not_met_says_so(fleet, host):
    want(fleet, unit={"e2e-cond.service": unit("[Unit]\nConditionPathExists=/no/such\n" + SLEEPER)}, service={"e2e-cond": {"state": "started"}})
    push(fleet, "A condition")
    assert "ConditionPathExists=/no/such" in told(fleet, "CommandFailed")
    drop(fleet)


def settling() -> tuple[float, float]:
    """The runs that waited for services to settle, and their time together."""
    with urllib.request.urlopen("http://127.0.0.1:9180/metrics") as answer:
        text = answer.read().decode()

    def value(name: str) -> float:
        found = re.search(rf'^plumb_reconcile_duration_seconds_{name}{{[^}}]*phase="settle"[^}}]*}} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    return value("count"), value("sum")


def test_settling_is_reported_apart_and_once_for_all(fleet, host):
    names = [f"e2e-many{number}" for number in range(5)]
    want(fleet, unit={f"{name}.service": unit(SLEEPER) for name in names}, service={name: {"state": "started"} for name in names})
    before = settling()
    go(fleet, "Five")
    runs, seconds = (now - then for now, then in zip(settling(), before))
    assert runs >= 1 and seconds < 1.5 * runs, "five services settle in the time of one"
    drop(fleet)


def test_a_packages_alias_is_masked_without_its_unit(fleet, host):
    want(fleet, service={"ctrl-alt-del.target": {"masked": True}})
    go(fleet, "No Ctrl-Alt-Del")
    assert shown(host, "ctrl-alt-del.target", "LoadState") == "masked"
    assert shown(host, "reboot.target", "LoadState") == "loaded"
    assert changes(fleet) == []
    drop(fleet)
    assert shown(host, "ctrl-alt-del.target", "Id") == "reboot.target"


def test_a_unit_that_cannot_be_enabled_runs_all_the_same(fleet, host):
    want(
        fleet,
        unit={"e2e-static.service": unit("[Service]\nExecStart=/bin/sleep infinity\n")},
        service={"e2e-static": {"state": "started", "enabled": True}},
    )
    push(fleet, "Enable a unit without an [Install] section")
    assert "[Install]" in told(fleet, "Unsupported")
    assert shown(host, "e2e-static", "ActiveState") == "active"
    begun = shown(host, "e2e-static", "ExecMainStartTimestampMonotonic")
    refused = fleet.plan(HOST)["hosts"][HOST]
    assert refused["changes"] == [], refused
    fleet.controller.run("reconcile", HOST)
    time.sleep(3)
    assert shown(host, "e2e-static", "ExecMainStartTimestampMonotonic") == begun, "it was started once"
    drop(fleet)
    assert shown(host, "e2e-static", "LoadState") == "not-found"


def test_two_units_that_exclude_each_other_are_refused_and_do_not_take_turns(fleet, host):
    want(
        fleet,
        unit={
            "e2e-one.service": unit(SLEEPER),
            "e2e-two.service": unit("[Unit]\nConflicts=e2e-one.service\n" + SLEEPER),
        },
        service={"e2e-one": {"state": "started"}, "e2e-two": {"state": "started"}},
    )
    push(fleet, "Two units that exclude each other")
    message = told(fleet, "Refused")
    assert "e2e-one" in message and "e2e-two" in message and "Conflicts=" in message, message
    drop(fleet)


def test_what_fails_beside_a_oneshot_says_why_and_the_oneshot_ran_once(fleet, host):
    counter = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >>/run/e2e-ran'\n"
    loop = "[Service]\nExecStart=/bin/sh -c 'exit 7'\nRestart=always\nRestartSec=1\n"
    want(
        fleet,
        unit={
            "e2e-once.service": unit(counter),
            "e2e-loop.service": unit(loop),
            "e2e-bad.service": unit("[Service]\nExecStartPre=/bin/sh -c 'sleep 3; exit 3'\nExecStart=/bin/sleep infinity\n"),
        },
        service={name: {"state": "started"} for name in ("e2e-once", "e2e-loop", "e2e-bad")},
    )
    push(fleet, "A oneshot beside two units that fail")
    told(fleet, "CommandFailed")
    said = fleet.controller.run("describe", "host", HOST).stdout
    assert "e2e-loop.service doesn't stay up" in said, said
    assert "service:e2e-once  " not in said, said
    assert host.run("cat /run/e2e-ran").stdout == "ran\n"
    drop(fleet)
    listed = host.run("systemctl list-units --all --plain --no-legend 'e2e-*'").stdout
    assert listed == "", "a removed unit isn't listed as failed"
