"""SSH servers that are hardened: what works, works each time; what can't, is told with its own words."""

import json
from contextlib import contextmanager

import pytest
from waiting import until

CASE = "/etc/ssh/sshd_config.d/00-plumb-e2e.conf"
SUDOERS = "/etc/sudoers.d/deploy"


@contextmanager
def configured(host, settings: str):
    """The host's sshd with these settings. The connection of the tests themselves is older, and stays."""
    written = host.run(f"printf '%s\\n' '{settings}' >{CASE} && sshd -t && systemctl reload ssh")
    assert written.rc == 0, written.stderr
    try:
        yield
    finally:
        host.run(f"rm -f {CASE}; systemctl reload ssh")


def planned(fleet, name: str) -> dict:
    """What `plumb plan` says of a host, over a connection of its own."""
    config = fleet.controller.folder / "controller.yaml"
    done = fleet.controller.run("plan", str(fleet.tree), name, "--config", str(config), "-o", "json")
    return json.loads(done.stdout)["hosts"][name]


def refused(fleet, name: str, reason: str) -> str:
    """The words of a refusal, which has this reason."""
    said = planned(fleet, name).get("refused") or {}
    assert said.get("reason") == reason, said
    return f"{said['message']}; {said.get('hint', '')}"


@pytest.mark.parametrize(
    "settings",
    [
        "KexAlgorithms ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521",
        "Ciphers aes128-gcm@openssh.com",
        "Ciphers aes256-ctr\nMACs hmac-sha2-512",
    ],
    ids=["nist-kex", "aes128-gcm", "hmac-sha2-512"],
)
def test_a_baselines_only_algorithm_is_offered(fleet, on, settings):
    with configured(on("h1"), settings):
        assert planned(fleet, "h1")["changes"] == []
        scan = fleet.controller.run("enroll", "h1", "--address", fleet.rig["hosts"]["h1"]["address"], "--repo", str(fleet.tree), "--yes", "--config", str(fleet.controller.folder / "controller.yaml"))
        assert "no common" not in scan.stderr and "no host key" not in scan.stderr, scan.stderr


def test_a_server_without_a_common_algorithm_is_stalled_with_both_lists(fleet, on):
    on("h1").run("test -e /etc/ssh/ssh_host_rsa_key || ssh-keygen -q -t rsa -N '' -f /etc/ssh/ssh_host_rsa_key")
    with configured(on("h1"), "HostKey /etc/ssh/ssh_host_rsa_key\nHostKeyAlgorithms rsa-sha2-512"):
        fleet.controller.stop()
        fleet.controller.start()
        stalled = lambda: fleet.controller.host("h1").is_("Stalled")
        until(stalled, "h1 is stalled", 40, fleet.controller.state)
        host = fleet.controller.host("h1")
        assert host.reason("Reachable") == "NoCommonAlgorithm", host.conditions
        said = host.message("Reachable")
        assert "the server offers rsa-sha2-512" in said and "Plumb offers ssh-ed25519" in said, said
        assert "HostKeyAlgorithms" in said and "is up" not in said, said
    fleet.controller.run("reconcile", "h1", check=True)
    until(lambda: fleet.controller.host("h1").is_("Ready"), "h1 is back", 40, fleet.controller.state)


def test_one_session_at_a_time_is_enough_each_time(fleet, on):
    host = on("h2")
    with configured(host, "Match User deploy\n  MaxSessions 1"):
        for attempt in range(10):
            # The first contact needs two sessions, one after the other: the agent is uploaded.
            host.run("rm -rf /var/lib/plumb/agents")
            found = planned(fleet, "h2")
            assert found.get("refused") is None and found["changes"] == [], (attempt, found)


def test_no_session_at_all_is_told(fleet, on):
    with configured(on("h2"), "Match User deploy\n  MaxSessions 0"):
        said = refused(fleet, "h2", "NoSession")
        assert "MaxSessions" in said and "authorized_keys" not in said, said


@pytest.mark.parametrize(
    ("rules", "words", "hint"),
    [
        ("deploy ALL=(root) NOPASSWD: ALL, !/bin/sh", "its sudoers doesn't allow it to run /bin/sh", "deploy ALL=(root) NOPASSWD: ALL"),
        ("deploy ALL=(root) ALL", "a password is required", "deploy ALL=(root) NOPASSWD: ALL"),
        ("deploy ALL=(root) NOPASSWD: /usr/bin/true", "no rule of its sudoers allows /bin/sh without one", "deploy ALL=(root) NOPASSWD: ALL"),
        ("Defaults:deploy requiretty\ndeploy ALL=(root) NOPASSWD: ALL", "requires a terminal (requiretty)", "Defaults:deploy !requiretty"),
    ],
    ids=["not-allowed", "password", "another-command", "requiretty"],
)
def test_each_refusal_of_sudo_has_its_own_words(fleet, on, rules, words, hint):
    host = on("h2")
    before = host.file(SUDOERS).content_string
    host.run(f"printf '%s\\n' '{rules}' >{SUDOERS} && visudo -c")
    try:
        said = refused(fleet, "h2", "SudoDenied")
    finally:
        host.run(f"printf '%s' '{before}' >{SUDOERS}")
    assert words in said and hint in said and "authorized_keys" not in said, said


def test_a_key_that_the_host_does_not_know_is_told(fleet, on):
    host = on("h2")
    host.run("mv /home/deploy/.ssh/authorized_keys /home/deploy/.ssh/away")
    try:
        said = refused(fleet, "h2", "AccessDenied")
    finally:
        host.run("mv /home/deploy/.ssh/away /home/deploy/.ssh/authorized_keys")
    assert "was rejected" in said and "the authorized_keys of deploy" in said and "sudo" not in said, said
