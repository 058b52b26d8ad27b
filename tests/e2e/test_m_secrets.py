"""Secrets on Debian 12 and 13: only the hosts get them, and nothing else ever has them."""

import subprocess
import uuid

import pytest
import yaml
from waiting import until

FILE = "/run/plumb/secrets/app-token"
UNIT = """[Service]
ExecStart=/bin/sh -c 'echo start >>/run/e2e-secret-starts; sha256sum <"$CREDENTIALS_DIRECTORY/token" >/run/e2e-secret-sum; exec sleep infinity'
"""
# The hash of no other test.
HASH = "$6$e2esecrets$ajxnLd7yRe2MEkIYAAK54mpOzVvtUQH.nhiJ23TmYWbKAWGWthiXsBhOKHFRY2mC7vuudME.nvERVk0SpBFxQ1"
RESOURCES = {
    "file": {"/etc/e2e-app.conf": {"content": {"template": "token={{ secret('app/token') }}\n"}, "group": "e2e-app", "mode": "0640"}},
    "user": {"e2e-app": {"system": True}, "e2e-john": {"password": {"secret": "app/hash"}}},
    "timer": {"e2e-credential": {
        "run": ["/bin/sh", "-c", "sha256sum <$CREDENTIALS_DIRECTORY/key >/run/e2e-credential-sum"],
        "schedule": {"calendar": "2099-01-01"}, "credentials": {"key": "secret:app/token"},
    }},
    "unit": {"e2e-secret.service": {"content": UNIT}},
    "service": {"e2e-secret": {"state": "started", "restartOn": ["secret:app/token"]}},
}


class Secrets:
    """The commands of an operator, and all that they print."""

    def __init__(self, fleet, folder):
        self.fleet, self.printed = fleet, b""
        self.env = {**fleet.alice.env, "PLUMB_AGE_IDENTITY": str(folder / "identity"), "NO_COLOR": "1"}

    def run(self, *words: str, value: str = "", code: int = 0) -> str:
        argv = [str(self.fleet.plumb), *words, "-C", str(self.fleet.tree)]
        done = subprocess.run(argv, env=self.env, input=value.encode(), capture_output=True)
        self.printed += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.decode()

    def set(self, name: str, value: str = "") -> str:
        """A new value, which is returned."""
        value = value or f"e2e-{uuid.uuid4()}"
        self.run("secret", "set", name, value=value)
        return value


@pytest.fixture
def both(fleet):
    """A host of each release."""
    return [fleet.names[0], fleet.names[-1]]


@pytest.fixture
def secrets(fleet, both, tmp_path):
    """An operator, and hosts whose keys are pinned."""
    made = Secrets(fleet, tmp_path)
    made.run("secret", "operator", "laptop")
    fleet.change_policy("Who reads secrets", lambda spec: None)
    fleet.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"}, "spec": {
        "domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}, "secrets": {"operators": ["laptop"]},
    }})  # fmt: skip
    for name in both:
        user = "root" if int(name[1:]) % 2 else "deploy"
        made.run("enroll", name, "--address", fleet.rig["hosts"][name]["address"], "--user", user, "--yes",
                 "--config", str(fleet.controller.folder / "controller.yaml"))  # fmt: skip
        assert "ageKey: age1" in (fleet.tree / f"hosts/{name}.yaml").read_text()
    return made


def starts(host) -> int:
    return int(host.check_output("wc -l </run/e2e-secret-starts"))


def found(value: str, *folders) -> str:
    """The files in which a value is, in clear or in base64."""
    grep = ["grep", "-rlaF", "--exclude-dir=.git", value, *map(str, folders)]
    return subprocess.run(grep, capture_output=True, text=True).stdout


def test_secrets_reach_their_hosts_alone(fleet, on, both, secrets, alertmanager):
    fleet.profile("app", RESOURCES, on=both)
    fleet.write("secrets/app.yaml", {"kind": "Secret", "metadata": {"name": "app"}, "spec": {
        "hosts": both,
        "deliver": [{"key": "token", "path": FILE, "owner": "e2e-app", "mode": "0400"}, {"key": "token", "unit": "e2e-secret"}],
    }})  # fmt: skip
    first = secrets.set("app/token")
    secrets.set("app/hash", HASH)
    assert "reads it" in secrets.run("secret", "who-can-read", "app")
    secrets.run("secret", "check")
    one = (fleet.tree / "secrets/app.yaml").read_text()
    fleet.deploy("A token", seconds=120)
    for name in both:
        host = on(name)
        assert host.check_output(f"cat {FILE}") == first
        assert (host.file(FILE).user, host.file(FILE).group, host.file(FILE).mode) == ("e2e-app", "root", 0o400)
        assert host.check_output(f"stat -f -c %T {FILE}") == "tmpfs"
        filled = host.file("/etc/e2e-app.conf")
        assert (filled.content_string, filled.group, filled.mode) == (f"token={first}\n", "e2e-app", 0o640)
        key = host.file("/var/lib/plumb/age-key")
        assert (key.user, key.mode) == ("root", 0o600)
        assert host.check_output(f"sha256sum <{FILE}") == host.check_output("cat /run/e2e-secret-sum"), "the unit's credential"
        assert host.run("systemd-analyze verify --man=no e2e-secret.service e2e-credential.service").rc == 0
        assert host.check_output("getent shadow e2e-john").split(":")[1] == HASH
        host.check_output("systemctl start e2e-credential")
        assert host.check_output("cat /run/e2e-credential-sum") == host.check_output("cat /run/e2e-secret-sum"), "the job's credential"
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan

    # A new value restarts its reader once; a new encryption of the same value doesn't.
    before = {name: starts(on(name)) for name in both}
    second = secrets.set("app/token")
    fleet.deploy("A new token", seconds=120)
    for name in both:
        assert on(name).check_output(f"cat {FILE}") == second
        assert on(name).check_output("cat /etc/e2e-app.conf") == f"token={second}"
        assert starts(on(name)) == before[name] + 1
        assert on(name).check_output(f"sha256sum <{FILE}") == on(name).check_output("cat /run/e2e-secret-sum")
    secrets.run("secret", "rekey", "--all")
    fleet.deploy("The same token, encrypted again", seconds=120)
    assert all(starts(on(name)) == before[name] + 1 for name in both)
    good = (fleet.tree / "secrets/app.yaml").read_text()

    # What goes missing, as after a boot, comes back.
    for name in both:
        on(name).check_output(f"mv {FILE} {FILE}.gone && systemctl start plumb-secrets && cmp {FILE} {FILE}.gone && rm {FILE}.gone")
        assert on(name).check_output(f"stat -c '%U %a' {FILE}") == "e2e-app 400"
        assert on(name).service("plumb-secrets").is_enabled
        on(name).check_output("rm -r /run/plumb/secrets")
    for name in both:
        until(lambda name=name: on(name).file(FILE).exists, "the file comes back", 60, fleet.controller.state)

    # A ciphertext in the place of another, and an old one, are refused, and what was there stays.
    third = secrets.set("app/other")
    moved = yaml.safe_load((fleet.tree / "secrets/app.yaml").read_text())
    moved["spec"]["values"]["token"] = moved["spec"]["values"]["other"]
    fleet.write("secrets/app.yaml", moved)
    for text, says in ((None, "another key of the secret"), (one, "has had version")):
        if text:
            fleet.write("secrets/app.yaml", text)
        fleet.commit("By somebody who may commit")
        assert fleet.push().returncode == 0
        # The first host that refuses it halts the rollout.
        until(lambda says=says: any(says in alert["annotations"]["description"] for alert in alertmanager.alerts("PlumbSecretDecryptFailed")),
              f"the alert says `{says}`", 60, fleet.controller.state)  # fmt: skip
        assert [on(name).check_output(f"cat {FILE}") for name in both] == [second, second]
    plan = fleet.plan(*both)
    fleet.write("secrets/app.yaml", good)
    fleet.deploy("As it was", seconds=120)
    until(lambda: not alertmanager.alerts("PlumbSecretDecryptFailed"), "the alert is resolved", 60, fleet.controller.state)

    fleet.remove("secrets/app.yaml")
    fleet.remove("profiles/app.yaml")
    for name in both:
        manifest = yaml.safe_load((fleet.tree / f"hosts/{name}.yaml").read_text())
        del manifest["spec"]["profiles"]["app"]
        fleet.write(f"hosts/{name}.yaml", manifest)
    fleet.deploy("No secrets any more", seconds=120)
    for name in both:
        host = on(name)
        assert not host.file("/etc/systemd/system/plumb-secrets.service").exists
        assert not host.file("/run/plumb").exists and not host.file("/etc/e2e-app.conf").exists
        assert not host.file("/etc/systemd/system/e2e-secret.service.d").exists
        assert not host.user("e2e-john").exists and not host.file("/etc/plumb").exists

    # Nothing that was printed, logged, sent or stored has a value.
    for value in (first, second, third, HASH):
        assert value.encode() not in secrets.printed
        assert value not in str(plan) and value not in str(alertmanager.alerts())
        assert not found(value, fleet.folder, fleet.controller.folder)
        assert not fleet.git(fleet.alice, "log", "--all", "--oneline", f"-S{value}")
        for name in both:
            host = on(name)
            # The account tools keep the file of hashes before their last change.
            kept = "--exclude=shadow-" if value == HASH else ""
            assert host.run(f"grep -rlaF {kept} '{value}' /var/lib/plumb /etc /var/log /run/systemd /var/lib/systemd").stdout == ""
            assert host.run(f"journalctl --no-pager -o cat | grep -F '{value}'").stdout == ""
