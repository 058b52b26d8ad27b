"""The composite `timer`: units that systemd accepts, that run as they say, and that go again."""

from waiting import until


def resources(word: str = "first") -> dict:
    return {
        "file": {"/usr/local/bin/e2e-job": {"content": "#!/bin/sh\ntest \"$1\" != fail || exit 1\necho \"$(id -un) $1 $WHO\" >>/srv/e2e-job.runs\n", "mode": "0755"}},
        "timer": {
            "e2e-job": {"run": ["/usr/local/bin/e2e-job", word], "user": "games", "environment": {"WHO": "a b%c$d"},
                        "schedule": {"onBoot": "1s", "every": "1h", "calendar": "Sat 02:00", "persistent": True}, "after": ["file:/usr/local/bin/e2e-job"]},
            "e2e-failing": {"run": ["/usr/local/bin/e2e-job", "fail"], "schedule": {"calendar": "2099-01-01"}, "onFailure": "e2e-rescue", "after": ["file:/usr/local/bin/e2e-job"]},
            "e2e-rescue": {"run": ["/usr/bin/touch", "/srv/e2e-job.rescued"], "schedule": {"calendar": "2099-01-01"}},
        },
    }  # fmt: skip


def test_timer_runs_its_program_and_goes_again(fleet, on):
    host = on("h3")
    host.run("rm -f /srv/e2e-job.*; touch /srv/e2e-job.runs; chmod 666 /srv/e2e-job.runs")
    fleet.profile("timers", resources(), on=["h3"])
    plan = fleet.plan("h3")
    shown = {change["resource"]: change.get("from") for change in plan["hosts"]["h3"]["changes"]}
    assert shown["unit:e2e-job.service"] == shown["service:e2e-job.timer"] == "timer:e2e-job", shown
    fleet.deploy("Timers")
    timer = host.service("e2e-job.timer")
    assert timer.is_running and timer.is_enabled
    assert host.run("systemd-analyze verify /etc/systemd/system/e2e-job.timer /etc/systemd/system/e2e-job.service").stderr == ""
    runs = lambda: host.file("/srv/e2e-job.runs").content_string.splitlines()
    # The machine started longer than a second ago, so it has run by now; $d of the value stays as it is.
    until(lambda: runs() == ["games first a b%c$d"], "the job ran as its user", 20, runs)
    assert host.run("systemctl show -P ProtectSystem,NoNewPrivileges e2e-job.service").stdout.split() == ["full", "yes"]

    assert host.run("systemctl start e2e-failing.service").rc != 0
    until(lambda: host.file("/srv/e2e-job.rescued").exists, "its failure starts the other one", 20)

    assert fleet.plan("h3")["hosts"]["h3"]["changes"] == []
    host.run("systemctl disable --now e2e-job.timer")
    until(lambda: host.service("e2e-job.timer").is_running, "a stopped timer is started again", 60, fleet.controller.state)

    explained = fleet.controller.run("explain", "h3", "unit:e2e-job.timer", "-C", str(fleet.tree), check=True).stdout
    assert "part of timer:e2e-job" in explained and "profiles/timers.yaml" in explained, explained

    fleet.host("h3")
    fleet.remove("profiles/timers.yaml")
    fleet.deploy("No timers")
    assert host.run("systemctl show -P LoadState e2e-job.timer e2e-job.service").stdout.split() == ["not-found", "not-found"]
    assert host.run("ls /etc/systemd/system/e2e-* /etc/systemd/system/timers.target.wants/e2e-* 2>/dev/null").stdout == ""


def test_unit_of_a_package_is_not_overridden(fleet, on):
    fleet.profile("timers", {"timer": {"apt-daily": {"run": ["/bin/true"], "schedule": {"calendar": "daily"}}}}, on=["h4"])
    fleet.commit("A name that is taken")
    assert fleet.push().returncode == 0
    ready = lambda: next(c for c in fleet.controller.host("h4").status["conditions"] if c["type"] == "Ready")
    until(lambda: ready()["reason"] == "Refused", "h4 refuses", 60, fleet.controller.state)
    assert "(from timer:apt-daily)" in ready()["message"] and "a package brings a unit of this name" in ready()["message"], ready()
    assert not on("h4").file("/etc/systemd/system/apt-daily.service").exists
