"""Where the rig keeps its things, and what it tells those who use it."""

import json
import os
from pathlib import Path

BRIDGE = "10.77.0.1"  # the controller's side: whatever `rig exec` runs
GIT = "10.77.0.5"
ALERTMANAGER_PORT = 9093
WEBHOOK_PORT = 9095
PROMETHEUS_PORT = 9090
APT_PORT = 8080

SOURCE = Path(__file__).resolve().parent.parent


def state() -> Path:
    """Scratch state: disks, logs, process ids. It goes with `down`."""
    return Path(os.environ.get("PLUMB_RIG_STATE") or f"/tmp/plumb-rig-{os.getuid()}")


def cache() -> Path:
    """What is worth keeping between runs: the unpacked Debian."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "plumb"


def address(name: str) -> str:
    """The address of `h1`, `h2`, … and `git`."""
    if name == "git":
        return GIT
    number = int(name.removeprefix("h"))
    return f"10.77.{number // 200 + 1}.{number % 200 + 10}"


def describe() -> dict:
    """The rig as `up` left it, empty when there is none."""
    try:
        return json.loads((state() / "rig.json").read_text())
    except FileNotFoundError:
        return {}


def write_description(hosts: dict[str, str]) -> dict:
    """Writes what tests need to know; each host has its Debian."""
    here = state()
    description = {
        "state": str(here),
        "key": str(here / "id"),
        "hosts": {
            name: {
                "address": address(name),
                "hostKey": (here / "keys" / f"{name}.pub").read_text().strip().rsplit(" ", 1)[0],
                "suite": suite,
            }
            for name, suite in hosts.items()
        },
        "git": {
            "address": GIT,
            "hostKey": (here / "keys" / "git.pub").read_text().strip().rsplit(" ", 1)[0],
            "path": "/srv/git/fleet.git",
            "url": f"ssh://git@{GIT}/srv/git/fleet.git",
            "bin": str(here / "bin"),
            "run": str(here / "run"),
        },
        "sshConfig": str(here / "ssh_config"),
        "alertmanager": f"http://127.0.0.1:{ALERTMANAGER_PORT}",
        "notifications": str(here / "notifications.jsonl"),
        "prometheus": f"http://127.0.0.1:{PROMETHEUS_PORT}",
        "apt": f"http://{BRIDGE}:{APT_PORT}",
    }
    (here / "rig.json").write_text(json.dumps(description, indent=1) + "\n")
    return description
