"""Each thing that can go wrong is said clearly, stops nobody else, loses nothing, and heals."""

import re
import time

import pytest
import yaml
from waiting import holds, until

SNAPSHOT = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log -o -path /var/tmp -o -path '/var/lib/systemd' \\) -prune"
    " -o -type f -printf '%p %s %T@ %m %u\\n' | grep -v '^/var/lib/plumb/' | sort; cat /etc/passwd /etc/group; dpkg -l | tail -n +6; systemctl list-units --no-legend --state=running --type=service --plain | grep -v -e session -e user@ -e run-"
)
OTHERS = ["h1", "h2", "h4", "h5", "h6", "h7", "h8"]


def marker(text: str) -> dict:
    return {"file": {"/etc/plumb-bad": {"content": text}}}


def says(fleet, name: str, *words: str, seconds: float = 40) -> str:
    """A host isn't ready, and its message has these words."""

    def message() -> str:
        view = fleet.controller.hosts().get(name)
        if view is None or view.is_("Ready") is True:
            return ""
        text = " ".join(one["reason"] + " " + one["message"] for one in view.conditions.values())
        return text if all(word.lower() in text.lower() for word in words) else ""

    return until(message, f"{name} says {words}", seconds, fleet.controller.state)


def test_a_full_disk_means_zero_changes(fleet, on, rig):
    rig.do("fill", "h3")
    try:
        before = on("h3").run(SNAPSHOT).stdout
        resources = marker("with room\n")
        resources["user"] = {"e2e-full": {}}
        resources["sysctl"] = {"net.ipv4.tcp_fin_timeout": {"value": "31"}}
        resources["package"] = {"plumb-test-tool": {}}
        fleet.profile("bad", resources)
        revision = fleet.commit("A change on a full disk")
        assert fleet.push().returncode == 0
        says(fleet, "h3", "space")
        fleet.controller.wait(revision, OTHERS, 60)
        holds(lambda: fleet.controller.host("h3").is_("Ready") is False, "h3 can't be ready", 12)
        assert on("h3").run(SNAPSHOT).stdout == before, "zero changes"
        assert on("h3").sysctl("net.ipv4.tcp_fin_timeout") != 31
    finally:
        rig.do("clear", "h3")
    fleet.controller.wait(revision, fleet.names, 90)
    assert on("h3").file("/etc/plumb-bad").content_string == "with room\n"


def test_a_wrong_host_key_is_refused(fleet, on):
    fleet.host("h3", hostKeys=[fleet.rig["hosts"]["h4"]["hostKey"]])
    fleet.profile("bad", marker("never on h3\n"))
    revision = fleet.commit("A wrong key")
    assert fleet.push().returncode == 0
    text = says(fleet, "h3", "key")
    assert re.search(r"enroll|pinned|hostKeys", text), text
    fleet.controller.wait(revision, OTHERS, 60)
    assert not on("h3").file("/etc/plumb-bad").exists
    assert fleet.controller.host("h3").is_("Reachable") is False
    fleet.host("h3")
    fleet.profile("bad", marker("on all\n"))
    fleet.deploy("The right key")


def test_a_host_that_is_off(fleet, on, rig):
    rig.do("stop", "h3")
    try:
        fleet.profile("bad", marker("while h3 is off\n"))
        revision = fleet.commit("While a host is off")
        assert fleet.push().returncode == 0
        fleet.controller.wait(revision, OTHERS, 60)
        says(fleet, "h3", "10.77.1.13")
        assert fleet.controller.host("h3").is_("Reachable") is False
    finally:
        rig.do("start", "h3")
    fleet.controller.wait(revision, fleet.names, 120)
    assert on("h3").file("/etc/plumb-bad").content_string == "while h3 is off\n"


def test_a_host_whose_cable_is_pulled(fleet, on, rig):
    rig.do("cut", "h3")
    try:
        fleet.profile("bad", marker("while h3 is cut off\n"))
        revision = fleet.commit("While a host is cut off")
        assert fleet.push().returncode == 0
        fleet.controller.wait(revision, OTHERS, 60)
        until(lambda: fleet.controller.host("h3").is_("Reachable") is False, "h3 is unreachable", 60, fleet.controller.state)
    finally:
        rig.do("mend", "h3")
    fleet.controller.wait(revision, fleet.names, 120)


BROKEN = {
    "unparsable": ("kind: Host\nmetadata: {name: h3\nspec:\n  - what\n", ("hosts/h3.yaml",)),
    "unknown-field": (None, ("hosts/h3.yaml", "resurces")),
    "missing-reference": (None, ("hosts/h3.yaml", "nowhere")),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_bad_manifest_holds_only_the_hosts_that_it_concerns(fleet, on, kind):
    text, words = BROKEN[kind]
    fleet.profile("bad", marker("before\n"))
    fleet.deploy("Before the bad manifest")
    fleet.profile("bad", marker("after\n"))
    good = (fleet.tree / "hosts/h3.yaml").read_text()
    if text is None:
        manifest = yaml.safe_load(good)
        if kind == "unknown-field":
            manifest["spec"]["resurces"] = {}
        else:
            manifest["spec"]["profiles"]["nowhere"] = {}
        text = yaml.safe_dump(manifest)
    fleet.write("hosts/h3.yaml", text)
    check = fleet.controller.run("check", str(fleet.tree), "-o", "json")
    assert check.returncode == 1
    assert "hosts/h3.yaml" in check.stdout
    revision = fleet.commit("A bad manifest")
    assert fleet.push().returncode == 0
    fleet.controller.wait(revision, OTHERS, 60)
    assert on("h4").file("/etc/plumb-bad").content_string == "after\n"
    until(lambda: any(word in str(fleet.controller.host("h3").conditions) for word in words), "h3 says why it is held", 30, fleet.controller.state)
    assert on("h3").file("/etc/plumb-bad").content_string == "before\n", "a held host keeps its last desired state"
    on("h3").run("echo drift >/etc/plumb-bad")
    until(lambda: on("h3").file("/etc/plumb-bad").content_string == "before\n", "drift is corrected to it", 30, fleet.controller.state)
    fleet.write("hosts/h3.yaml", good)
    fleet.deploy("Mended")
    assert on("h3").file("/etc/plumb-bad").content_string == "after\n"


def test_alertmanager_off_loses_no_alert(fleet, on, rig, alertmanager):
    fleet.profile("bad", marker("as git says\n"), on=["h3"])
    fleet.host("h3", profiles={"bad": {}}, drift={"mode": "alert"})
    fleet.deploy("Tell when it moves")
    rig.do("stop", "alertmanager")
    try:
        on("h3").run("echo by hand >/etc/plumb-bad")
        until(lambda: fleet.controller.host("h3").is_("Drifted") is True, "the drift is seen", 30, fleet.controller.state)
        assert fleet.controller.host("h4").is_("Ready") is True
    finally:
        rig.do("start", "alertmanager")
    until(lambda: alertmanager.alerts("PlumbHostDrifted", host="h3"), "the alert arrives when Alertmanager is back", 90, fleet.controller.tail)
    on("h3").run("echo 'as git says' >/etc/plumb-bad")
    until(lambda: not alertmanager.alerts("PlumbHostDrifted", host="h3"), "it resolves", 60, fleet.controller.state)


def test_the_git_server_off_is_a_condition(fleet, on, rig):
    rig.do("stop", "git")
    try:
        time.sleep(8)
        source = fleet.controller.ask("get", "hosts")
        assert source["items"], "hosts are still known"
        on("h3").run("echo drift >/etc/plumb-e2e-base")
        until(lambda: on("h3").file("/etc/plumb-e2e-base").content_string == "h3\n", "drift is still corrected", 30, fleet.controller.state)
    finally:
        rig.do("start", "git")
    fleet.profile("bad", marker("after the server's return\n"))
    fleet.deploy("The server is back")


def test_a_ledger_whose_newest_generation_is_half_written(fleet, on):
    """The agent was cut off in the middle of writing: the generation before holds."""
    fleet.profile("bad", marker("before the tear\n"), on=["h3"])
    fleet.deploy("Before the tear")
    files = on("h3").run("ls -t $(find /var/lib/plumb -type f -name 'ledger*')").stdout.split()
    assert files, on("h3").run("find /var/lib/plumb").stdout
    on("h3").run(f"truncate -s $(( $(stat -c %s {files[0]}) / 2 )) {files[0]}")
    fleet.profile("bad", marker("after the tear\n"), on=["h3"])
    revision = fleet.commit("After the tear")
    assert fleet.push().returncode == 0
    until(lambda: fleet.controller.converged(revision, ["h3"]) or "ledger" in str(fleet.controller.host("h3").conditions).lower(),
          "it goes on from the generation before, or says that its ledger is lost", 60, fleet.controller.state)  # fmt: skip
    fleet.controller.wait(revision, ["h3"], 60)
    assert on("h3").file("/etc/plumb-bad").content_string == "after the tear\n"


def test_a_lost_ledger_means_observing_only(fleet, on, rig):
    fleet.profile("bad", marker("before the loss\n"), on=["h3"])
    fleet.deploy("Before the loss")
    on("h3").run("for f in $(find /var/lib/plumb -type f -name 'ledger*'); do echo rubbish >$f; done")
    fleet.profile("bad", marker("after the loss\n"))
    revision = fleet.commit("After the loss")
    assert fleet.push().returncode == 0
    says(fleet, "h3", "ledger")
    fleet.controller.wait(revision, OTHERS, 60)
    assert on("h3").file("/etc/plumb-bad").content_string == "before the loss\n"
    # The disk is replaced: a host from nothing, with the same key.
    rig.do("wipe", "h3")


def test_a_store_that_is_half_written(fleet, on):
    """The controller's store is rubbish: it says so and names the way out; it never starts from nothing in silence."""
    fleet.controller.stop()
    state = fleet.controller.folder / "state"
    stores = [file for file in state.rglob("*.redb")]
    assert stores, list(state.rglob("*"))
    kept = stores[0].read_bytes()
    stores[0].write_bytes(kept[: len(kept) // 2])
    fleet.controller.start(wait=False)
    code = fleet.controller.process.wait(30)
    fleet.controller.process = None
    said = fleet.controller.tail(20)
    stores[0].write_bytes(kept)
    assert code != 0 and stores[0].name in said, said
    fleet.controller.start()
    fleet.controller.wait(fleet.head(), fleet.names, 60)


def test_one_failing_change_fails_one_host(fleet, on, alertmanager):
    fleet.profile("bad", {"package": {"plumb-test-broken": {}}, **marker("beside the broken package\n")}, on=["h3"])
    fleet.commit("A package whose script fails")
    assert fleet.push().returncode == 0
    text = says(fleet, "h3", "plumb-test-broken", seconds=60)
    assert "in a hurry" in text or "exit" in text or "plumb-test-broken" in text
    assert on("h3").file("/etc/plumb-bad").content_string == "beside the broken package\n", "what doesn't depend on it is done"
    until(lambda: alertmanager.alerts("PlumbHostReconcileFailing", host="h3"), "PlumbHostReconcileFailing fires", 120, fleet.controller.state)
    fleet.host("h3")
    fleet.remove("profiles/bad.yaml")
    fleet.deploy("Without it", seconds=120)
    until(lambda: not alertmanager.alerts("PlumbHostReconcileFailing", host="h3"), "it resolves", 60, fleet.controller.state)
    assert on("h3").run("dpkg --audit").stdout == ""
