"""The controller as packages ship it: a hardened unit under systemd, with a user of its own."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from fleet import REF, ROOT
from waiting import until

# What differs from a package's installation: /run/plumb of this machine is another controller's.
DROP_IN = "[Service]\nRuntimeDirectory=\nRuntimeDirectory=plumb-unit\n"

INSTALL = """
set -e
install -D -m 755 /opt/plumb/plumb /usr/bin/plumb
install -D -m 755 /opt/plumb/plumb-agent /usr/lib/plumb/agents/x86_64/plumb-agent
id plumb >/dev/null 2>&1 || useradd --system --home-dir /var/lib/plumb-controller --shell /usr/sbin/nologin plumb
install -d -m 700 -o plumb -g plumb /var/lib/plumb-controller /var/lib/plumb-controller/.ssh
install -m 644 /opt/plumb/plumb-controller.service /etc/systemd/system/plumb-controller.service
install -D -m 644 /opt/plumb/drop-in.conf /etc/systemd/system/plumb-controller.service.d/rig.conf
install -m 600 -o plumb -g plumb /opt/plumb/key /var/lib/plumb-controller/.ssh/id_ed25519
install -m 644 /opt/plumb/known_hosts /var/lib/plumb-controller/.ssh/known_hosts
install -D -m 640 -g plumb /opt/plumb/controller.yaml /etc/plumb/controller.yaml
rm /opt/plumb/key
systemctl daemon-reload
systemctl restart plumb-controller
"""


@pytest.fixture
def unit(fleet, on):
    """The unit on the git server's machine, following the same fleet."""
    shared = Path(fleet.rig["git"]["bin"])
    # `cargo agents` builds beside the profile's folder; there is one agent for this processor.
    shutil.copy2(fleet.plumb.parent.parent / "x86_64-unknown-linux-gnu/agent/plumb-agent", shared / "plumb-agent")
    shutil.copy(ROOT / "packaging/plumb-controller.service", shared)
    shutil.copy(fleet.rig["key"], shared / "key")
    git = fleet.rig["git"]
    (shared / "known_hosts").write_text(f"{git['address']} {git['hostKey']}\n")
    (shared / "drop-in.conf").write_text(DROP_IN)
    spec = {
        "source": {"url": git["url"], "ref": REF, "poll": "5s"},
        "introduction": {"commit": fleet.introduction},
        "socket": "/run/plumb-unit/plumb.sock",
        "ssh": {"key": "/var/lib/plumb-controller/.ssh/id_ed25519"},
        "resync": "10s",
    }
    (shared / "controller.yaml").write_text(yaml.safe_dump({"kind": "Controller", "spec": spec}))
    host = on("git")
    done = host.run(INSTALL)
    yield host, done
    host.run("systemctl stop plumb-controller; systemctl reset-failed plumb-controller; rm -rf /etc/systemd/system/plumb-controller.service*; systemctl daemon-reload")


def test_the_hardened_unit_runs_a_controller(fleet, unit):
    host, started = unit
    journal = lambda: host.run("journalctl -u plumb-controller --no-pager -n 40").stdout
    assert started.rc == 0, f"{started.stderr}\n{journal()}"

    def hosts() -> dict:
        done = host.run("plumb get hosts -o json --socket /run/plumb-unit/plumb.sock")
        return {item["metadata"]["name"]: str(item["status"]) for item in json.loads(done.stdout)["items"]} if done.rc == 0 else {}

    # It read the source, logged in to every host and ran the agent there, which told it whose they are.
    refused = lambda: len(hosts()) == len(fleet.names) and all("--take-over" in status for status in hosts().values())
    until(refused, "the unit's controller was refused by every host, as another drives them", 60, lambda: f"{hosts()}\n{journal()}")
    assert host.run("systemctl show -P NRestarts plumb-controller").stdout.strip() == "0"
    assert host.run("stat -c '%U %a' /var/lib/plumb-controller").stdout.strip() == "plumb 700"
    assert host.run("ps -o user= -p $(systemctl show -P MainPID plumb-controller)").stdout.strip() == "plumb"
    score = host.run("systemd-analyze security plumb-controller.service --no-pager | tail -1").stdout
    assert "OK" in score, score
    # The fleet's own controller was not disturbed.
    assert all(view.is_("Ready") for view in fleet.controller.hosts().values())
    done = host.run("timeout 30 systemctl stop plumb-controller")
    assert done.rc == 0 and host.run("systemctl is-failed plumb-controller").rc != 0, journal()
