"""Where the rig keeps its things, and what it tells those who use it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

BRIDGE = "10.77.0.1"  # the controller's side: whatever `rig exec` runs
GIT = "10.77.0.5"
ALERTMANAGER_PORT = 9093
WEBHOOK_PORT = 9095
PROMETHEUS_PORT = 9090
APT_PORT = 8080
ACME_DIRECTORY = f"https://{BRIDGE}:14000/dir"
ACME_DNS = f"{BRIDGE}:8053"
ACME_CHALLENGES = f"http://{BRIDGE}:8055"
MACHINES = ("v1", "v2")  # virtual machines of Debian 12 and 13

SOURCE = Path(__file__).resolve().parent.parent


def state() -> Path:
    """Scratch state: disks, logs, process ids. It goes with `down`."""
    return Path(os.environ.get("PLUMB_RIG_STATE") or f"/tmp/plumb-rig-{os.getuid()}")


def cache() -> Path:
    """What is worth keeping between runs: the unpacked Debian."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "plumb"


def cached(name: str, recipe: bytes, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made when there is none of this recipe; those of older recipes go."""
    done = cache() / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if done.exists():
        return done
    making = done.with_suffix(f".making-{os.getpid()}")
    making.mkdir(parents=True)
    make(making)
    for old in cache().glob(f"{name}-*"):
        maker = old.suffix.removeprefix(".making-")
        if old != making and not (maker.isdigit() and Path("/proc", maker).exists()):
            shutil.rmtree(old, ignore_errors=True)
    making.rename(done)
    return done


def address(name: str) -> str:
    """The address of `h1`, `h2`, …, of `git`, and of the virtual machines `v1` and `v2`."""
    if name == "git":
        return GIT
    if name in MACHINES:
        return f"10.77.0.{name.removeprefix('v')}0"
    number = int(name.removeprefix("h"))
    return f"10.77.{number // 200 + 1}.{number % 200 + 10}"


def describe() -> dict:
    """The rig as `up` left it, empty when there is none."""
    try:
        return json.loads((state() / "rig.json").read_text())
    except FileNotFoundError:
        return {}


def _host(name: str, suite: str) -> dict:
    return {"address": address(name), "hostKey": host_key(name), "suite": suite}


def host_key(name: str) -> str:
    """A host's public key, without the comment."""
    return (state() / "keys" / f"{name}.pub").read_text().strip().rsplit(" ", 1)[0]


def write_description(hosts: dict[str, str], machines: dict[str, str]) -> None:
    """Writes what tests need to know; each host and virtual machine has its Debian."""
    here = state()
    description = {
        "state": str(here),
        "key": str(here / "id"),
        "hosts": {name: _host(name, suite) for name, suite in hosts.items()},
        "machines": {name: _host(name, suite) for name, suite in machines.items()},
        "git": {
            "address": GIT,
            "hostKey": host_key("git"),
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
        "acme": {
            "directory": ACME_DIRECTORY,
            "authority": str(here / "acme/tls.pem"),
            "dns": ACME_DNS,
            "challenges": ACME_CHALLENGES,
        },
    }
    (here / "rig.json").write_text(json.dumps(description, indent=1) + "\n")
