"""Signed commits that use every resource type change ten hosts, and give everything back."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from everything import BEFORE, FILES, resources
from waiting import until

TRACES = "find /etc/plumb-e2e /srv/e2e /srv/e2e-was /etc/plumb-e2e-link /etc/systemd/system /etc/sysctl.d -xdev -printf '%p %i %T@ %C@\\n' | sort"


def give(fleet, **how):
    """The profile with every type, on all hosts."""
    for path, text in FILES.items():
        fleet.write(path, text)
    fleet.profile("everything", resources(**how))


@pytest.fixture(scope="module")
def everywhere(session_fleet, on):
    """All hosts with everything, pushed once for the tests of this module."""
    fleet = session_fleet
    fleet.baseline()
    with ThreadPoolExecutor(8) as pool:
        for name, done in zip(fleet.names, pool.map(lambda name: on(name).run(BEFORE), fleet.names)):
            assert done.rc == 0, f"{name}: {done.stderr}"
    give(fleet)
    fleet.deploy("Everything", by=fleet.bob, seconds=180)
    yield fleet


def all_hosts(fleet, on):
    return [(name, on(name)) for name in fleet.names]


def test_files_in_four_forms(everywhere, on):
    for name, host in all_hosts(everywhere, on):
        at = lambda path: host.file(f"/etc/plumb-e2e/{path}")
        assert at("literal").content_string == "not {{ rendered }}\n"
        assert (at("literal").mode, at("literal").user, at("literal").group) == (0o640, "root", "e2e-ops")
        assert at("template").content_string == f"I am {name} of rig.example.\n"
        assert (at("plain").content_string, at("plain").user) == ("from the repository\n", "e2e-person")
        peers = [line for line in at("peers").content_string.splitlines() if line]
        assert peers == ["peer h1", "peer h2", "peer h3", "peer h4"]
        assert at("validated").content_string == "good\n"
        assert not at("gone").exists
        assert (at("was-here").content_string, at("was-here").mode, at("was-here").user) == ("plumb's now\n", 0o644, "root")


def test_directories_and_links(everywhere, on):
    for _, host in all_hosts(everywhere, on):
        folder = host.file("/srv/e2e")
        assert folder.is_directory and (folder.user, folder.group, folder.mode) == ("e2e-person", "e2e-ops", 0o2750)
        assert host.file("/srv/e2e/deep/er").mode == 0o700
        assert host.file("/srv/e2e/deep").mode == 0o755
        assert host.file("/srv/e2e-was").mode == 0o755
        assert host.run("readlink /srv/e2e/current").stdout.strip() == "deep/er"
        assert host.run("readlink /etc/plumb-e2e-link").stdout.strip() == "/opt/after"


def test_packages(everywhere, on):
    for _, host in all_hosts(everywhere, on):
        assert host.package("plumb-test-daemon").is_installed
        assert host.package("plumb-test-tool").version == "1.0"
        assert "plumb-test-tool" in host.run("apt-mark showhold").stdout.split()
        assert host.package("plumb-test-config").version == "1.1"
        assert host.package("plumb-test-suite").is_installed
        assert host.run("dpkg -l plumb-test-slow 2>/dev/null | grep -E '^(ii|rc)'").rc != 0


def test_units_and_services(everywhere, on):
    for _, host in all_hosts(everywhere, on):
        for service in ("e2e-hello", "e2e-reloader", "plumb-test-daemon"):
            assert host.service(service).is_running and host.service(service).is_enabled, service
        assert host.run("systemctl show -P Environment plumb-test-daemon").stdout.strip() == "E2E=yes"
        assert host.run("systemctl show -P NeedDaemonReload e2e-hello").stdout.strip() == "no"
        assert not host.service("cron").is_running and not host.service("cron").is_enabled
        assert host.run("systemctl is-enabled apt-daily.service").stdout.strip() == "masked"
        # Installed, configured, then started: once, with the managed configuration.
        assert host.file("/var/lib/plumb-test-daemon/starts").content_string.splitlines() == ["start"]
        assert host.run("sha256sum </etc/plumb-test-daemon.conf | cut -d' ' -f1").stdout == host.file("/run/plumb-test-daemon/config").content_string


def test_users_groups_and_sysctls(everywhere, on):
    for _, host in all_hosts(everywhere, on):
        person = host.user("e2e-person")
        assert (person.uid, person.group, person.home, person.shell, person.gecos) == (4242, "e2e-ops", "/home/e2e-person", "/bin/bash", "A person")
        assert "audio" in person.groups
        assert host.file("/home/e2e-person").is_directory and host.file("/home/e2e-person").user == "e2e-person"
        assert host.user("e2e-system").uid < 1000
        assert host.user("games").gecos == "managed now"
        assert host.group("e2e-ops").gid == 4200 and "deploy" in host.group("e2e-ops").members
        assert host.group("e2e-system-group").gid < 1000
        assert "games" in host.group("audio").members
        assert host.sysctl("net.ipv4.tcp_keepalive_time") == 700
        assert host.sysctl("net.core.somaxconn") == 511
        assert "net.ipv4.tcp_keepalive_time" in host.run("cat /etc/sysctl.d/*plumb*").stdout


def test_a_second_run_plans_and_does_nothing(everywhere, on):
    fleet = everywhere
    before = {name: host.run(TRACES).stdout for name, host in all_hosts(fleet, on)}
    plan = fleet.plan()
    assert set(plan["hosts"]) == set(fleet.names)
    assert {name: host["changes"] for name, host in plan["hosts"].items()} == {name: [] for name in fleet.names}
    seen = {name: view.status["lastSeen"] for name, view in fleet.controller.hosts().items()}
    fleet.controller.run("reconcile", check=True)
    until(lambda: all(view.status["lastSeen"] > seen[name] for name, view in fleet.controller.hosts().items()), "all hosts were looked at", 30)
    for name, host in all_hosts(fleet, on):
        assert host.run(TRACES).stdout == before[name], name
        assert host.file("/run/e2e-hello.starts").content_string.splitlines() == ["start"], name


def test_a_change_restarts_and_reloads_what_depends_on_it(everywhere, on):
    fleet = everywhere
    give(fleet, hello="two", reload="two", daemon="changed", tool="1.1")
    fleet.deploy("Another configuration", by=fleet.alice, seconds=120)
    for name, host in all_hosts(fleet, on):
        assert host.file("/run/e2e-hello.config").content_string == "hello two\n"
        assert host.file("/run/e2e-hello.starts").content_string.splitlines() == ["start"] * 2, name
        assert host.file("/run/e2e-reloader.log").content_string.splitlines() == ["start", "reload"], name
        assert host.run("sha256sum </etc/plumb-test-daemon.conf | cut -d' ' -f1").stdout == host.file("/run/plumb-test-daemon/config").content_string
        assert host.package("plumb-test-tool").version == "1.1"


def test_explain_says_where_a_value_comes_from(everywhere):
    done = everywhere.controller.run("explain", "h3", "file:/etc/plumb-e2e/template#content", "-C", str(everywhere.tree), check=True)
    assert "profiles/everything.yaml" in done.stdout


def test_removal_gives_back_what_was_there(everywhere, on):
    fleet = everywhere
    for name in fleet.names:
        fleet.host(name)
    fleet.remove("profiles/everything.yaml")
    fleet.deploy("Nothing of it", seconds=180)
    for name, host in all_hosts(fleet, on):
        at = lambda path: host.file(f"/etc/plumb-e2e/{path}")
        for path in ("literal", "template", "plain", "peers", "validated", "hello", "reload"):
            assert not at(path).exists, f"{name} {path}"
        was = at("was-here")
        assert (was.content_string, was.mode, was.user, was.group) == ("ours before\n", 0o600, "games", "games"), name
        assert at("gone").content_string == "unwanted\n"
        assert not host.file("/srv/e2e").exists
        assert host.file("/srv/e2e-was").is_directory and host.file("/srv/e2e-was").mode == 0o700
        assert host.run("readlink /etc/plumb-e2e-link").stdout.strip() == "/opt/before"
        for package in ("plumb-test-daemon", "plumb-test-tool", "plumb-test-config", "plumb-test-suite"):
            assert not host.package(package).is_installed, f"{name} {package}"
        assert "plumb-test-tool" not in host.run("apt-mark showhold").stdout.split()
        assert host.package("plumb-test-slow").version == "1.0", "what was purged was there before"
        assert not host.file("/etc/systemd/system/e2e-hello.service").exists
        assert host.run("systemctl show -P LoadState e2e-hello").stdout.strip() == "not-found"
        assert host.run("pgrep -cx sleep").stdout.strip() == "0", name
        assert "Description=before" in host.file("/etc/systemd/system/e2e-was.service").content_string
        assert host.service("cron").is_running and host.service("cron").is_enabled
        assert host.run("systemctl is-enabled apt-daily.service").stdout.strip() != "masked"
        assert not host.user("e2e-person").exists and not host.user("e2e-system").exists
        assert host.file("/home/e2e-person").is_directory, "a home is never removed"
        assert host.user("games").gecos == "played before"
        assert not host.group("e2e-ops").exists and not host.group("e2e-system-group").exists
        assert "games" not in host.group("audio").members
        assert host.sysctl("net.ipv4.tcp_keepalive_time") == 7200
        assert host.run("cat /etc/sysctl.d/80-plumb-* 2>/dev/null").stdout == ""
        host.run("rm -rf /home/e2e-person /etc/plumb-e2e /etc/plumb-e2e-link /srv/e2e-was /etc/systemd/system/e2e-was.service; systemctl daemon-reload")
