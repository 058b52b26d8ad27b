"""Clocks that differ: alerts arrive all the same, once, and are over when they are over."""

import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from waiting import holds, until

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def age(alert: dict) -> float:
    """How many seconds ago an alert began, by our own clock."""
    began = datetime.fromisoformat(alert["startsAt"].replace("Z", "+00:00"))
    return (datetime.now(timezone.utc) - began).total_seconds()


@pytest.mark.parametrize("skew", ["-8m", "+8m"], ids=["behind", "ahead"])
def test_an_alert_arrives_once_under_a_skewed_clock(fleet, on, alertmanager, skew):
    assert LIBRARY, "libfaketime isn't installed"
    began = time.time()
    file = {"/etc/plumb-clock": {"content": "as git says\n"}}
    fleet.profile("clocks", {"file": file}, on=["h1"])
    fleet.host("h1", profiles={"clocks": {}}, drift={"mode": "alert"})
    fleet.deploy("Tell, don't touch")
    find = lambda: alertmanager.alerts("PlumbHostDrifted", host="h1")
    controller, right = fleet.controller, dict(fleet.controller.env)
    controller.stop()
    controller.env = {**right, "LD_PRELOAD": str(LIBRARY), "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    try:
        controller.start()
        on("h1").run("echo by hand >/etc/plumb-clock")
        first = until(find, "the alert arrives", 40, controller.state)[0]
        assert -5 < age(first) < 60, first
        until(lambda: alertmanager.told("PlumbHostDrifted", "firing", began, host="h1"), "the receiver is told", 20)
        # It is said that the clocks differ.
        until(lambda: any(event["reason"] == "ClockSkewed" for event in controller.ask("events")["items"]), "the skew is told", 30, controller.state)
    finally:
        controller.stop()
        controller.env = right
        controller.start()
    # Right again, the clock neither ends the alert nor begins it anew.
    holds(find, "the alert stays", 8)
    assert -5 < age(find()[0]) < 660
    on("h1").run("echo 'as git says' >/etc/plumb-clock")
    until(lambda: not find(), "the alert is over", 40, controller.state)
    until(lambda: alertmanager.told("PlumbHostDrifted", "resolved", began, host="h1"), "the receiver is told so", 20)
    fired = alertmanager.told("PlumbHostDrifted", "firing", began, host="h1")
    assert len(fired) == 1, fired
