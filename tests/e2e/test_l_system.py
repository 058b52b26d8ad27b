"""Composites of the system itself, on Debian 12 and 13: what each writes is read by the program that it is for."""

import pytest
from waiting import until

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl john"


@pytest.fixture
def both(fleet):
    """A host of each release."""
    return [fleet.names[0], fleet.names[-1]]


def releases(fleet, both: list[str]) -> None:
    """The hosts with their release in the manifest, which some composites read."""
    fleet.host(both[0], os={"family": "debian", "release": "12"})
    fleet.host(both[1], os={"family": "debian", "release": "13"})


def in_sync(fleet, both: list[str]) -> None:
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan


def dropped(fleet, both: list[str], name: str) -> None:
    releases(fleet, both)
    fleet.remove(f"profiles/{name}.yaml")
    fleet.deploy(f"No {name} any more", seconds=120)


def test_environment_journal_and_tmpfiles_reach_those_who_read_them(fleet, on, both):
    before = {name: on(name).file("/etc/systemd/journald.conf.d").exists for name in both}
    releases(fleet, both)
    fleet.profile(
        "system",
        {
            "environment": {"E2E_EDITOR": {"value": "nvim"}, "E2E_PRICE": {"value": "5 $HOME 'x' \"y\""}},
            "journald": {"main": {"storage": "persistent", "maxUse": "64MiB", "rateLimit": "off"}},
            "tmpfiles": {"e2e": {"lines": ["d /run/e2e-tmpfiles 0750 root root -"]}},
        },
        on=both,
    )
    fleet.deploy("The system's own files", seconds=120)
    for name in both:
        host = on(name)
        shown = host.check_output("bash -lc 'echo \"$E2E_EDITOR|$E2E_PRICE\"'")
        assert shown == "nvim|5 $HOME 'x' \"y\"", shown
        user = host.check_output("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator | grep ^E2E_")
        assert "E2E_EDITOR=nvim" in user, user
        merged = host.check_output("systemd-analyze cat-config systemd/journald.conf")
        assert "SystemMaxUse=67108864" in merged and host.file("/var/log/journal").is_directory
        folder = host.file("/run/e2e-tmpfiles")
        assert folder.is_directory and folder.mode == 0o750
    in_sync(fleet, both)

    # A drop-in that changes restarts the journal's service, once.
    starts = {name: on(name).check_output("systemctl show -P ActiveEnterTimestampMonotonic systemd-journald") for name in both}
    fleet.profile("system", {"journald": {"main": {"storage": "persistent", "maxUse": "32MiB"}}}, on=both)
    fleet.deploy("A smaller journal", seconds=120)
    for name in both:
        host = on(name)
        assert host.check_output("systemctl show -P ActiveEnterTimestampMonotonic systemd-journald") != starts[name]
        assert not host.file("/etc/environment.d/90-plumb.conf").exists and not host.file("/etc/profile.d/plumb.sh").exists
    dropped(fleet, both, "system")
    for name in both:
        assert not on(name).file("/etc/systemd/journald.conf.d/90-main.conf").exists
        assert on(name).file("/etc/systemd/journald.conf.d").exists == before[name]


def test_hostname_and_locale_are_the_systems(fleet, on, both):
    # A container can't write kernel.hostname, so the hosts keep the names that they have.
    kept = {name: on(name).check_output("cat /etc/hostname") for name in both}
    zone = {name: on(name).check_output("readlink /etc/localtime") for name in both}
    releases(fleet, both)
    resources = {
        "hostname": {"system": {}},
        "locale": {"system": {"lang": "C.UTF-8", "timezone": "Europe/London", "keymap": "uk"}},
    }
    fleet.profile("names", resources, on=both)
    fleet.deploy("Names", seconds=120)
    for name in both:
        host = on(name)
        assert host.check_output("hostname") == host.check_output("cat /etc/hostname") == name
        assert "preserve_hostname: true" in host.check_output("cat /etc/cloud/cloud.cfg.d/90-plumb-hostname.cfg")
        assert host.check_output("date -d 2026-07-01T12:00:00Z +%Z") == "BST"
        assert "LANG=C.UTF-8" in host.check_output("cat /etc/default/locale")
        assert "XKBLAYOUT=gb" in host.check_output("cat /etc/default/keyboard")
        on(name).run("echo other >/etc/hostname")
        until(lambda: host.check_output("cat /etc/hostname") == name, "the name is put back", 60, fleet.controller.state)
    in_sync(fleet, both)
    dropped(fleet, both, "names")
    for name in both:
        assert on(name).check_output("cat /etc/hostname") == kept[name]
        assert on(name).check_output("readlink /etc/localtime") == zone[name]
        assert not on(name).file("/etc/default/keyboard").exists


def test_a_repository_and_its_package_are_one_commit(fleet, on, both):
    build = (
        "mkdir -p /srv/e2e-repo && cd /srv/e2e-repo && t=$(mktemp -d) && mkdir -p $t/DEBIAN && "
        "printf 'Package: e2e-new\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@x.example>\\nDescription: new\\n' >$t/DEBIAN/control && "
        "dpkg-deb --root-owner-group -b $t e2e-new.deb >/dev/null && { cat $t/DEBIAN/control; echo 'Filename: ./e2e-new.deb'; "
        "echo \"Size: $(stat -c %s e2e-new.deb)\"; echo \"SHA256: $(sha256sum <e2e-new.deb | cut -d' ' -f1)\"; echo; } >Packages && rm -rf $t; "
        "echo 'APT::Get::AllowUnauthenticated \"true\"; Acquire::AllowInsecureRepositories \"true\";' >/etc/apt/apt.conf.d/99e2e"
    )
    for name in both:
        assert on(name).run(build).rc == 0
    try:
        releases(fleet, both)
        source = {"e2e": {"uris": ["file:/srv/e2e-repo"], "suites": ["./"]}}
        fleet.profile("source", {"repository": source, "package": {"e2e-new": {}}}, on=both)
        fleet.deploy("A repository with its package", seconds=120)
        for name in both:
            assert on(name).package("e2e-new").is_installed
            assert "file:/srv/e2e-repo" in on(name).check_output("apt-cache policy")
        in_sync(fleet, both)
        dropped(fleet, both, "source")
        for name in both:
            assert not on(name).package("e2e-new").is_installed
            assert not on(name).file("/etc/apt/sources.list.d/e2e.sources").exists
    finally:
        for name in both:
            on(name).run("rm -rf /srv/e2e-repo /etc/apt/apt.conf.d/99e2e; apt-get update -q")


def test_sshd_and_authorized_keys_are_what_sshd_reads(fleet, on, both):
    releases(fleet, both)
    resources = {
        "user": {"e2e-john": {"shell": "/bin/sh"}},
        "authorizedKeys": {"e2e-john": {"keys": [{"key": KEY, "options": ["restrict"]}], "exclusive": True}},
        "sshd": {"main": {"passwords": False, "settings": {"MaxSessions": 20}, "match": [{"user": "e2e-john", "settings": {"MaxSessions": 3}}]}},
        "knownHosts": {"fleet": {}},
    }
    fleet.profile("ssh", resources, on=both)
    fleet.deploy("Who may log in", seconds=120)
    for name in both:
        host = on(name)
        assert host.run("sshd -t").rc == 0
        everyone = host.check_output("sshd -T")
        assert "passwordauthentication no" in everyone and "maxsessions 20" in everyone
        john = host.check_output("sshd -T -C user=e2e-john,host=x,addr=192.0.2.1")
        assert "maxsessions 3" in john and "authorizedkeysfile /etc/ssh/authorized_keys.d/%u" in john, john
        root = host.check_output("sshd -T -C user=root,host=x,addr=192.0.2.1")
        assert "authorizedkeysfile .ssh/authorized_keys" in root
        keys = host.file("/etc/ssh/authorized_keys.d/e2e-john")
        assert (keys.user, keys.mode) == ("root", 0o644) and f"restrict {KEY}" in keys.content_string
        assert host.run(f"ssh-keygen -l -f {keys.path}").rc == 0
        known = host.check_output(f"ssh-keygen -F {both[0]} -f /etc/ssh/ssh_known_hosts")
        assert fleet.rig["hosts"][both[0]]["hostKey"].split()[1] in known
    in_sync(fleet, both)

    # What sshd refuses never reaches it.
    broken = {**resources, "sshd": {"main": {"settings": {"NoSuchSetting": "x"}}}}
    fleet.profile("ssh", broken, on=both)
    fleet.commit("A mistake")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host(both[0]).status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "ValidateFailed", "sshd refuses it", 60, fleet.controller.state)
    assert on(both[0]).run("sshd -t").rc == 0
    dropped(fleet, both, "ssh")
    for name in both:
        host = on(name)
        assert not host.file("/etc/ssh/sshd_config.d/10-plumb-main.conf").exists
        assert not host.file("/etc/ssh/authorized_keys.d").exists or not host.file("/etc/ssh/authorized_keys.d/e2e-john").exists
        assert host.run("sshd -t").rc == 0 and not host.user("e2e-john").exists
