"""Attacks on a running controller: each leaves every host where it was, and somebody is told at once."""

import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from fleet import REF
from people import Person
from waiting import holds, until

FILE = "/etc/plumb-attacked"


@pytest.fixture
def people(fleet, tmp_path_factory):
    """Makes further people of the fleet, and takes them out of the policy again."""
    made = []

    def join(name: str, kind: str = "openpgp", key: dict | None = None, **how) -> Person:
        ssh = fleet.alice.env["GIT_SSH_COMMAND"]
        # gpg's sockets need a short path.
        person = Person(name, kind, fleet.folder / f"p{len(list(fleet.folder.glob('p[0-9]*')))}", ssh, **how)
        made.append(person)
        fleet.write(*person.key_file())

        def add(spec: dict) -> None:
            spec["identities"][name] = {"keys": [{**person.identity()["keys"][0], **(key or {})}]}
            spec["groups"]["ops"].append(name)

        fleet.change_policy(f"{name} joins", add)
        return person

    yield join
    fleet.baseline()
    gone = [person for person in made if (fleet.tree / person.key_file()[0]).exists()]
    if gone:
        retire(fleet, *gone)
    for person in made:
        person.leave()


def retire(fleet, *people: Person) -> str:
    def remove(spec: dict) -> None:
        for person in people:
            spec["identities"].pop(person.name)
            spec["groups"]["ops"].remove(person.name)

    for person in people:
        fleet.remove(person.key_file()[0])
    return fleet.change_policy("They leave", remove)


@pytest.fixture
def straight(fleet):
    """Pushes go straight into the bare repository."""
    fleet.hooks(False)
    yield
    fleet.hooks(True)


def change(fleet, text: str) -> None:
    fleet.profile("attacked", {"file": {FILE: {"content": text}}}, on=["h1", "h2", "h6"])


def attack(fleet, commit: str) -> None:
    pushed = fleet.push("--force", "origin", f"{commit}:{REF}")
    assert pushed.returncode == 0, pushed.stderr
    fleet.controller.run("notify", check=True)


def is_repelled(fleet, on, alertmanager, bad: str, accepted: str, codes: set[str], verdicts: set[str]) -> None:
    """Nothing moved on any host, and the critical alert says which commit."""
    until(lambda: fleet.controller.verdict(bad), f"a verdict on {bad[:10]}", 30, fleet.controller.state)
    said = next(one for one in fleet.controller.revisions() if one["commit"] == bad)
    assert said["verdict"] in verdicts, said
    alert = until(lambda: alertmanager.alerts("PlumbCommitVerificationFailed"), "the alert fires", 30, fleet.controller.state)[0]
    assert alert["labels"]["severity"] == "critical"
    assert bad[:7] in " ".join(alert["annotations"].values()), alert
    why = fleet.controller.run("verify", "--git-dir", str(fleet.tree / ".git"), "--floor", accepted, "--head", bad, "-o", "json")
    assert why.returncode in (3, 4), why.stderr
    assert codes & {code for code in codes if f'"{code}"' in why.stdout}, why.stdout
    for name in ("h1", "h2", "h6"):
        holds(lambda: on(name).file(FILE).content_string == "accepted\n", f"{name} stays as it is accepted", 2)
    assert {view.status["revision"] for view in fleet.controller.hosts().values()} == {accepted}
    fleet.git(fleet.alice, "checkout", "--quiet", "--force", "-B", "main", accepted)
    fleet.force(accepted)
    until(lambda: not alertmanager.alerts("PlumbCommitVerificationFailed"), "the alert is resolved by the reset", 40, fleet.controller.state)


def test_a_merge_that_brings_an_old_policy_back(fleet, on, alertmanager, people, straight):
    """The stale parent: who was retired merges the branch with the commit where they still counted."""
    fleet.hooks(True)
    dave = people("dave")
    member = fleet.head()
    retire(fleet, dave)
    change(fleet, "accepted\n")
    accepted = fleet.deploy("After dave")
    fleet.hooks(False)

    def merge(first: str, second: str, restore: bool) -> str:
        fleet.git(dave, "checkout", "--quiet", "--detach", member)
        change(fleet, "dave's\n")
        side = fleet.commit("On the side", by=dave)
        names = {"TIP": accepted, "SIDE": side}
        fleet.git(dave, "checkout", "--quiet", "--detach", accepted)
        if restore:
            fleet.git(dave, "checkout", side, "--", "trust")
        change(fleet, "dave's\n")
        fleet.git(dave, "add", "--all")
        tree = fleet.git(dave, "write-tree")
        text = f"Merge\n\nDeploy-Ref: {fleet.repository} {REF}\n"
        return fleet.git(dave, "commit-tree", "-S", "-p", names[first], "-p", names[second], "-m", text, tree)

    for first, second, restore in (("TIP", "SIDE", True), ("TIP", "SIDE", False), ("SIDE", "TIP", True)):
        bad = merge(first, second, restore)
        attack(fleet, bad)
        codes = {"policy-serial", "policy-not-isolated", "uncovered", "unknown-key", "not-descendant"}
        is_repelled(fleet, on, alertmanager, bad, accepted, codes, {"pending", "pendingAlarm", "reject"})


def test_a_stolen_openpgp_key_that_has_ended_signs_for_days_gone_by(fleet, on, alertmanager, people, straight):
    fleet.hooks(True)
    now = datetime.now(UTC)
    # It was made twelve days ago, lived three days, and was never taken out of the policy.
    erin = people("erin", at=now - timedelta(days=12), lives="3d")
    change(fleet, "accepted\n")
    accepted = fleet.deploy("While erin's key lies around")
    fleet.hooks(False)
    erin.clock(now - timedelta(days=10))
    change(fleet, "stolen\n")
    attack(fleet, bad := fleet.commit("As if ten days ago", by=erin))
    is_repelled(fleet, on, alertmanager, bad, accepted, {"backdated"}, {"pendingAlarm"})
    # Not faked at all: the key has ended.
    (erin.home / "g" / "gpg.conf").write_text(f"faked-system-time {now - timedelta(days=10):%Y%m%dT%H%M%S}!\n")
    erin.env.pop("GIT_COMMITTER_DATE"), erin.env.pop("GIT_AUTHOR_DATE")
    change(fleet, "stolen\n")
    attack(fleet, bad := fleet.commit("The commit says now, the signature says then", by=erin))
    is_repelled(fleet, on, alertmanager, bad, accepted, {"backdated", "key-expired"}, {"pendingAlarm"})


def test_a_stolen_ssh_key_past_its_end_takes_the_committers_date(fleet, on, alertmanager, people, straight):
    fleet.hooks(True)
    ended = datetime.now(UTC) - timedelta(days=5)
    frank = people("frank", kind="ssh", key={"validBefore": f"{ended:%Y-%m-%dT%H:%M:%SZ}"})
    change(fleet, "accepted\n")
    accepted = fleet.deploy("While frank's key lies around")
    fleet.hooks(False)
    for date in (ended - timedelta(days=1), None):
        if date is not None:
            frank.env["GIT_COMMITTER_DATE"] = f"{date:%Y-%m-%dT%H:%M:%S+00:00}"
        else:
            frank.env.pop("GIT_COMMITTER_DATE")
        change(fleet, "stolen\n")
        attack(fleet, bad := fleet.commit("By the thief", by=frank))
        is_repelled(fleet, on, alertmanager, bad, accepted, {"backdated", "key-expired"}, {"pendingAlarm"})


def test_a_stolen_key_is_revoked_by_tags_at_once(fleet, on, alertmanager, people, straight):
    """No commit is needed, and nothing that is pending or frozen holds it up."""
    fleet.hooks(True)
    grace = people("grace")
    change(fleet, "accepted\n")
    accepted = fleet.deploy("Grace is one of us")
    for person in (fleet.alice, fleet.bob, fleet.carol):
        tag = f"revoke/{grace.fingerprint.lower()}/{person.name}"
        fleet.git(person, "tag", "--sign", "--message", "The key is stolen\n", tag, accepted)
        pushed = fleet.push("origin", f"refs/tags/{tag}", by=person)
        assert pushed.returncode == 0, pushed.stderr
    fleet.hooks(False)
    told = lambda: fleet.controller.run("get", "revisions").stdout
    until(lambda: f"revoked by signed revoke/ tags: {grace.fingerprint}" in told(), "the controller says so", 30, told)
    assert "KeyRevoked" in fleet.controller.run("events").stdout
    # Nor does it help to delete what took the key's authority away.
    assert fleet.push("--delete", "origin", f"refs/tags/{tag}").returncode == 0
    fleet.controller.run("notify", check=True)
    until(lambda: "RevokeTagGone" in fleet.controller.run("events").stdout, "the lost tag is told of", 30, told)
    change(fleet, "stolen\n")
    attack(fleet, bad := fleet.commit("By the thief", by=grace))
    until(lambda: fleet.controller.verdict(bad), "a verdict", 30, fleet.controller.state)
    assert "By the thief" in told()
    is_repelled(fleet, on, alertmanager, bad, accepted, {"key-revoked"}, {"pendingAlarm"})


def test_a_branch_set_back_is_refused_even_where_each_commit_was_accepted(fleet, on, alertmanager, straight):
    since = time.time()
    fleet.hooks(True)
    change(fleet, "older\n")
    older = fleet.deploy("Older")
    change(fleet, "accepted\n")
    accepted = fleet.deploy("What is accepted")
    refused = fleet.push("--force", "origin", f"{older}:{REF}")
    assert refused.returncode != 0, "the hook refuses what lies below the accepted commit"
    fleet.hooks(False)
    attack(fleet, older)
    until(lambda: alertmanager.alerts("PlumbCommitVerificationFailed"), "the alert fires", 30, fleet.controller.state)
    holds(lambda: on("h1").file(FILE).content_string == "accepted\n", "nothing goes back", 6)
    # The controller loses its mirror and starts again: the floor and the hosts still know.
    fleet.controller.stop()
    subprocess.run(["rm", "-rf", str(fleet.controller.folder / "state" / "mirror")], check=True)
    fleet.controller.start()
    holds(lambda: on("h2").file(FILE).content_string == "accepted\n", "nothing goes back after a restart", 6)
    assert {view.status["revision"] for view in fleet.controller.hosts().values()} == {accepted}
    fleet.force(accepted)
    until(lambda: not alertmanager.alerts("PlumbCommitVerificationFailed"), "the alert is resolved", 40, fleet.controller.state)
    until(lambda: alertmanager.told("PlumbCommitVerificationFailed", "resolved", since), "the receiver was told so", 30)


def test_a_controller_that_lost_its_state_and_a_server_that_shows_an_older_branch(fleet, on, alertmanager, straight):
    """All that remembers the newer commit are the hosts, and they are enough."""
    fleet.hooks(True)
    change(fleet, "older\n")
    older = fleet.deploy("Older")
    change(fleet, "accepted\n")
    accepted = fleet.deploy("What is accepted")
    fleet.hooks(False)
    fleet.controller.stop()
    subprocess.run(["rm", "-rf", str(fleet.controller.folder / "state")], check=True)
    fleet.on_git(f"runuser -u git -- git -C {{path}} update-ref {REF} {older}")
    fleet.controller.start("--take-over")
    until(lambda: alertmanager.alerts("PlumbHostOffVerifiedChain", host="h1"), "the alert fires", 60, fleet.controller.state)
    for name in ("h1", "h2", "h6"):
        holds(lambda: on(name).file(FILE).content_string == "accepted\n", f"{name} doesn't go back", 5)
    fleet.force(accepted)
    fleet.controller.wait(accepted, fleet.names, 90)
    until(lambda: not alertmanager.alerts("PlumbHostOffVerifiedChain"), "the alert is resolved", 60, fleet.controller.state)
    assert on("h1").file(FILE).content_string == "accepted\n"
