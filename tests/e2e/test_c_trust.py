"""Only what the policy accepts changes hosts, however it came into the repository."""

import subprocess
import time

import pytest
from waiting import holds, until

FILE = "/etc/plumb-trust"


def change(fleet, text: str) -> None:
    fleet.profile("trusting", {"file": {FILE: {"content": text}}}, on=["h1", "h5"])


@pytest.fixture
def accepted(fleet):
    change(fleet, "accepted\n")
    return fleet.deploy("What is accepted")


def is_held(fleet, on, alertmanager, bad: str, accepted: str, code: str) -> None:
    """The bad commit is held with an alert, and the fleet is where it was."""
    until(lambda: fleet.controller.verdict(bad), f"a verdict on {bad[:10]}", 30, fleet.controller.state)
    revision = next(one for one in fleet.controller.revisions() if one["commit"] == bad)
    assert revision["verdict"] != "accept"
    assert revision["reasons"], "it says why"
    find = lambda: alertmanager.alerts("PlumbCommitVerificationFailed")
    alert = until(find, "PlumbCommitVerificationFailed fires", 30, fleet.controller.state)[0]
    assert alert["labels"]["severity"] == "critical"
    said = " ".join(alert["annotations"].values())
    assert bad[:7] in said, "the alert names the commit"
    holds(lambda: on("h1").file(FILE).content_string == "accepted\n", "the fleet stays at the last accepted commit", 6)
    assert all(view.runs(accepted) or view.status["revision"] == accepted for view in fleet.controller.hosts().values())


def is_cured(fleet, on, alertmanager, accepted: str, since: float) -> None:
    """The branch goes back to the accepted commit: the alert resolves and work goes on."""
    fleet.git(fleet.alice, "reset", "--quiet", "--hard", accepted)
    pushed = fleet.push("--force", "origin", "HEAD:refs/heads/main")
    assert pushed.returncode == 0, pushed.stderr
    until(lambda: not alertmanager.alerts("PlumbCommitVerificationFailed"), "the alert is resolved", 40, fleet.controller.state)
    until(lambda: alertmanager.told("PlumbCommitVerificationFailed", "resolved", since), "the receiver was told so", 30)
    change(fleet, "after the cure\n")
    fleet.deploy("Work goes on")
    assert on("h1").file(FILE).content_string == "after the cure\n"


def test_an_unsigned_commit_is_refused_by_the_hook(fleet, accepted):
    change(fleet, "unsigned\n")
    fleet.commit("Unsigned", signed=False)
    pushed = fleet.push()
    assert pushed.returncode != 0
    assert "sign" in pushed.stderr, pushed.stderr
    assert fleet.on_git("git -C {path} rev-parse main").strip() == accepted


def test_an_unsigned_commit_past_the_hook_is_held_and_not_laundered(fleet, on, alertmanager, accepted):
    since = time.time()
    fleet.hooks(False)
    change(fleet, "unsigned\n")
    bad = fleet.commit("Unsigned", signed=False)
    assert fleet.push().returncode == 0
    fleet.controller.run("notify", check=True)
    is_held(fleet, on, alertmanager, bad, accepted, "uncovered")
    change(fleet, "good on top of bad\n")
    good = fleet.commit("A good commit on top")
    assert fleet.push().returncode == 0
    fleet.controller.run("notify", check=True)
    until(lambda: fleet.controller.verdict(good), "a verdict on the good commit", 30, fleet.controller.state)
    assert fleet.controller.verdict(good) != "accept"
    holds(lambda: on("h5").file(FILE).content_string == "accepted\n", "a good commit on top doesn't launder", 6)
    fleet.hooks(True)
    is_cured(fleet, on, alertmanager, accepted, since)


def test_drift_is_still_corrected_to_the_accepted_commit_while_another_is_held(fleet, on, alertmanager, accepted):
    fleet.hooks(False)
    change(fleet, "unsigned\n")
    bad = fleet.commit("Unsigned", signed=False)
    assert fleet.push().returncode == 0
    fleet.controller.run("notify", check=True)
    until(lambda: fleet.controller.verdict(bad), "a verdict", 30, fleet.controller.state)
    on("h5").run(f"echo drift >{FILE}")
    until(lambda: on("h5").file(FILE).content_string == "accepted\n", "drift is corrected to the accepted commit", 30)


def test_a_strangers_signature_is_held(fleet, on, alertmanager, accepted):
    since = time.time()
    fleet.hooks(False)
    change(fleet, "stranger\n")
    bad = fleet.commit("By a stranger", by=fleet.mallory)
    assert fleet.push().returncode == 0
    fleet.controller.run("notify", check=True)
    is_held(fleet, on, alertmanager, bad, accepted, "unknown-key")
    fleet.hooks(True)
    is_cured(fleet, on, alertmanager, accepted, since)


def test_a_signature_of_another_commit_is_rejected(fleet, on, alertmanager, accepted):
    since = time.time()
    fleet.hooks(False)
    change(fleet, "stolen signature\n")
    good = fleet.commit("Mine")
    raw = subprocess.run(["git", "-C", fleet.tree, "cat-file", "commit", good], env=fleet.alice.env, capture_output=True, check=True).stdout
    forged = raw.replace(b"\n\nMine\n", b"\n\nNot mine\n")
    assert forged != raw
    bad = subprocess.run(["git", "-C", fleet.tree, "hash-object", "-t", "commit", "-w", "--stdin"], input=forged, env=fleet.alice.env, capture_output=True, check=True).stdout.decode().strip()
    assert fleet.push("origin", f"{bad}:refs/heads/main").returncode == 0
    fleet.controller.run("notify", check=True)
    is_held(fleet, on, alertmanager, bad, accepted, "bad-signature")
    assert next(one for one in fleet.controller.revisions() if one["commit"] == bad)["verdict"] == "reject"
    fleet.hooks(True)
    is_cured(fleet, on, alertmanager, accepted, since)


def test_a_rewound_branch_is_refused(fleet, on, alertmanager, accepted):
    since = time.time()
    change(fleet, "newer\n")
    newer = fleet.deploy("Newer")
    fleet.hooks(False)
    assert fleet.push("--force", "origin", f"{accepted}:refs/heads/main").returncode == 0
    fleet.controller.run("notify", check=True)
    until(lambda: alertmanager.alerts("PlumbCommitVerificationFailed"), "the alert fires", 30, fleet.controller.state)
    holds(lambda: on("h1").file(FILE).content_string == "newer\n", "nothing goes back", 6)
    fleet.hooks(True)
    is_cured(fleet, on, alertmanager, newer, since)


def test_a_two_person_path_waits_for_the_second(fleet, on):
    fleet.profile("guarded", {"file": {"/etc/plumb-guarded": {"content": "two people\n"}}}, on=[])
    guarded = fleet.commit("Alice alone")
    pushed = fleet.push()
    assert pushed.returncode == 0, f"what merely waits is let through: {pushed.stderr}"
    until(lambda: fleet.controller.verdict(guarded) == "pending", "it waits", 30, fleet.controller.state)
    assert any("ops" in reason for reason in next(one for one in fleet.controller.revisions() if one["commit"] == guarded)["reasons"])
    fleet.approve("main", fleet.bob)
    fleet.controller.wait(guarded, fleet.names, 60)


def test_verify_says_the_same_offline(fleet, accepted):
    change(fleet, "unsigned\n")
    bad = fleet.commit("Unsigned", signed=False)
    done = fleet.controller.run("verify", "--git-dir", str(fleet.tree / ".git"), "--floor", accepted, "--head", bad, "-o", "json")
    assert done.returncode == 3, done.stderr
    import json

    said = json.loads(done.stdout)
    assert said["accepted"] == accepted and said["steps"][-1]["commit"] == bad
    assert said["steps"][-1]["reasons"][0]["code"] == "uncovered"
