"""A second controller with a newer epoch stops the first between two changes."""

import time

from waiting import until

# A validator that takes its time, and writes down on whose behalf it runs.
SLOW = "#!/bin/sh\necho $PPID >>/var/log/e2e-fence\nsleep 0.7\n"


def test_a_newer_epoch_stops_the_first_between_two_changes(fleet, on):
    host = on("h8")
    host.run(f"rm -f /var/log/e2e-fence; printf '%s' '{SLOW}' >/usr/local/bin/e2e-slow; chmod 755 /usr/local/bin/e2e-slow")
    paths = [f"/etc/plumb-fence-{number}" for number in range(12)]
    resources = {"file": {}}
    for number, path in enumerate(paths):
        resources["file"][path] = {"content": f"{number}\n", "validate": ["/usr/local/bin/e2e-slow", "%s"]}
        if number:
            resources["file"][path]["after"] = [f"file:{paths[number - 1]}"]
    fleet.profile("fenced", resources, on=["h8"])
    revision = fleet.commit("Slow changes, one after the other")
    assert fleet.push().returncode == 0
    written = lambda: host.run("cat /var/log/e2e-fence 2>/dev/null").stdout.split()
    until(lambda: len(written()) >= 2, "the first controller is in the middle", 60, fleet.controller.state)
    assert len(written()) < 10, "it must still have some to do"

    second = fleet.make_controller("second")
    second.start("--take-over")
    try:
        second.wait(revision, ["h8"], 90)
        who = written()
        assert len(set(who)) == 2, f"two agents worked: {who}"
        first_agent = who[0]
        last = max(index for index, pid in enumerate(who) if pid == first_agent)
        assert all(pid == first_agent for pid in who[: last + 1]), f"the first stopped for good when the second began: {who}"
        for number, path in enumerate(paths):
            assert host.file(path).content_string == f"{number}\n"

        # The first says so, and leaves the host alone.
        until(lambda: "supersed" in (fleet.controller.host("h8").message("Ready") + fleet.controller.host("h8").reason("Ready")).lower(),
              "the first says that it was superseded", 40, fleet.controller.state)  # fmt: skip
        second.stop()
        host.run(f"echo moved >{paths[0]}")
        time.sleep(12)
        assert host.file(paths[0]).content_string == "moved\n", "a superseded controller changes nothing"
    finally:
        second.kill()

    # An unknown controller needs to be told; ours takes its hosts back the same way.
    fleet.controller.stop()
    third = fleet.make_controller("third")
    try:
        third.start()
        until(lambda: "--take-over" in third.host("h8").message("Ready"), "an unknown controller is refused, with the way out", 40, third.state)
        assert host.file(paths[0]).content_string == "moved\n"
    finally:
        third.kill()
        fleet.controller.start("--take-over")
    until(lambda: host.file(paths[0]).content_string == "0\n", "the first took over again", 60, fleet.controller.state)
    fleet.controller.wait(revision, fleet.names, 60)
