"""A host that moves by itself is put back, or someone is told; across restarts of both who tell."""

import time

from waiting import holds, until


def resources():
    return {"file": {"/etc/plumb-drift": {"content": "as git says\n", "mode": "0644"}}}


def test_drift_is_put_back(fleet, on):
    fleet.profile("drifting", resources(), on=["h1", "h2"])
    fleet.deploy("Something that can drift")
    for name in ("h1", "h2"):
        on(name).run("echo by hand >/etc/plumb-drift; chmod 600 /etc/plumb-drift")
    for name in ("h1", "h2"):
        until(lambda: on(name).file("/etc/plumb-drift").content_string == "as git says\n", f"{name} is put back", 30, fleet.controller.state)
        assert on(name).file("/etc/plumb-drift").mode == 0o644
    events = fleet.controller.ask("events", "h1")["items"]
    assert any("drift" in (event["reason"] + event["message"]).lower() for event in events), events


def test_the_plan_says_drift_intent_and_conflict(fleet, on):
    fleet.controller.stop()
    try:
        on("h3").run("echo moved >/etc/plumb-e2e-base")
        plan = fleet.plan("h3")
        assert [(c["resource"], c["op"], c["cause"]) for c in plan["hosts"]["h3"]["changes"]] == [("file:/etc/plumb-e2e-base", "update", "drift")]
        assert on("h3").file("/etc/plumb-e2e-base").content_string == "moved\n", "plan changes nothing"
    finally:
        fleet.controller.start()
    until(lambda: on("h3").file("/etc/plumb-e2e-base").content_string == "h3\n", "h3 is put back", 30)


def test_ignored_drift_is_left_alone_and_new_intent_applied(fleet, on):
    fleet.profile("drifting", resources(), on=["h4"])
    fleet.host("h4", profiles={"drifting": {}}, drift={"ignore": ["file:/etc/plumb-drift#content"]})
    fleet.deploy("Somebody else's file")
    on("h4").run("echo by hand >/etc/plumb-drift")
    fleet.controller.run("reconcile", "h4", check=True)
    holds(lambda: on("h4").file("/etc/plumb-drift").content_string == "by hand\n", "the drift is left alone", 12)
    assert fleet.controller.host("h4").is_("Drifted") is not True
    fleet.profile("drifting", {"file": {"/etc/plumb-drift": {"content": "git speaks again\n", "mode": "0644"}}}, on=["h4"])
    fleet.deploy("New intent")
    assert on("h4").file("/etc/plumb-drift").content_string == "git speaks again\n"


def test_an_alert_that_survives_and_resolves(fleet, on, rig, alertmanager):
    began = time.time()
    fleet.profile("drifting", resources(), on=["h7"])
    fleet.host("h7", profiles={"drifting": {}}, drift={"mode": "alert"})
    fleet.deploy("Tell, don't touch")
    on("h7").run("echo by hand >/etc/plumb-drift")
    find = lambda: alertmanager.alerts("PlumbHostDrifted", host="h7")
    first = until(find, "PlumbHostDrifted fires for h7", 40, fleet.controller.state)[0]
    assert first["labels"] == {"alertname": "PlumbHostDrifted", "severity": "warning", "host": "h7", "fleet": "e2e", "role": "db", "site": "rig", "number": "7"}
    assert "/etc/plumb-drift" in first["annotations"]["description"] + first["annotations"]["summary"]
    assert on("h7").file("/etc/plumb-drift").content_string == "by hand\n", "in mode alert nothing is touched"
    assert fleet.controller.host("h7").is_("Drifted") is True
    until(lambda: alertmanager.told("PlumbHostDrifted", "firing", began, host="h7"), "the receiver was told", 30)

    rig.do("stop", "alertmanager")
    rig.do("start", "alertmanager")
    assert find() == [], "an Alertmanager forgets its alerts at a restart"
    again = until(find, "the alert is sent again", 90, fleet.controller.tail)[0]
    assert again["startsAt"] == first["startsAt"] and again["labels"] == first["labels"]

    fleet.controller.stop()
    fleet.controller.start()
    holds(find, "the alert stays over a restart of plumb", 15)
    assert find()[0]["startsAt"] == first["startsAt"]

    on("h7").run("echo 'as git says' >/etc/plumb-drift")
    until(lambda: not find(), "the alert is resolved after the repair", 60, fleet.controller.state)
    until(lambda: alertmanager.told("PlumbHostDrifted", "resolved", began, host="h7"), "the receiver was told so", 30)
    assert fleet.controller.host("h7").is_("Drifted") is not True
