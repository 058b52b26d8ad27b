"""One host: a whole Debian with systemd as PID 1, a disk and a network of its own.

Everything here runs inside the holder's namespaces."""

import os
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

from . import disk, place, process

# nspawn ends with 133 when the host wants a reboot; anything else is the host's end.
KEEPER = """
trap 'kill -TERM $nspawn' TERM
while :; do
  "$@" & nspawn=$!
  while kill -0 $nspawn 2>/dev/null; do wait $nspawn; status=$?; done
  [ "$status" = 133 ] || exit "$status"
done
"""


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def network() -> None:
    """The bridge that hosts hang on; `rig exec` runs on it."""
    if Path("/sys/class/net/rig0").exists():
        return
    # nspawn refuses to tidy up its folder on a disk, and so to reboot a host.
    for folder in ("/run/netns", "/run/systemd/nspawn"):
        os.makedirs(folder, exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", folder)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "rig0", "type", "bridge")
    _run("ip", "addr", "add", f"{place.BRIDGE}/16", "dev", "rig0")
    _run("ip", "link", "set", "rig0", "up")


def start(name: str, base: Path, binds: list[str] = ()) -> None:
    """Boots a host; a disk that it had stays."""
    if process.pid(name):
        return
    root = disk.folder(name) / "root"
    if not os.path.ismount(root):
        disk.mount(name, base)
    _join(name)
    process.start(
        name,
        [
            "/bin/sh", "-c", KEEPER, "sh", "systemd-nspawn", "--quiet", "--boot", "-D", str(root), "-M", f"rig-{name}",
            f"--network-namespace-path=/run/netns/{name}", "--register=no", "--keep-unit",
            "--console=pipe", "--kill-signal=SIGRTMIN+3", "--resolv-conf=off", "--timezone=off",
            "--capability=CAP_NET_ADMIN,CAP_SYS_ADMIN", "--system-call-filter=@keyring bpf",
            f"--bind={root.parent}/disk/{disk.CONTAINERS}:/var/lib/containers", *(f"--bind={bind}" for bind in binds),
        ],
        _cgroups(name),
        # Debian 13's systemd boots on the unified hierarchy alone.
        {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"} if base.name.startswith("debian-trixie") else {},
    )  # fmt: skip


def _join(name: str) -> None:
    """A network namespace for the host, on the bridge."""
    if Path(f"/run/netns/{name}").exists():
        return
    _run("ip", "netns", "add", name)
    _run("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
    _run("ip", "link", "set", f"v-{name}", "master", "rig0", "up")
    _run("ip", "-n", name, "addr", "add", f"{place.address(name)}/16", "dev", "eth0")
    _run("ip", "-n", name, "link", "set", "eth0", "up")
    _run("ip", "-n", name, "link", "set", "lo", "up")
    _run("ip", "-n", name, "route", "add", "default", "via", place.BRIDGE)


def cgroup_roots() -> list[Path]:
    """Where the rig's control groups lie, in each hierarchy that systemd uses."""
    mine = f"plumb-rig-{uuid.uuid5(uuid.NAMESPACE_URL, str(place.state())).hex[:8]}"
    top = Path("/sys/fs/cgroup")
    hierarchies = [top] if (top / "cgroup.controllers").exists() else [top / "systemd", top / "unified"]
    return [hierarchy / mine for hierarchy in hierarchies if hierarchy.is_dir()]


def _cgroups(name: str) -> list[str]:
    """One per host: without it all hosts' systemds would manage one and the same group."""
    folders = [root / name for root in cgroup_roots()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return [str(folder) for folder in folders]


def wait(name: str, patience: float = 90) -> None:
    """Until the host's sshd answers."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            with socket.create_connection((place.address(name), 22), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if process.pid(name) is None:
            raise SystemExit(f"rig: {name} ended while booting; see {place.state()}/logs/{name}.log")
        time.sleep(0.1)
    raise SystemExit(f"rig: {name} didn't come up in {patience:.0f} s; see {place.state()}/logs/{name}.log")


def stop(name: str) -> None:
    """An orderly power-off."""
    process.stop(name, signal.SIGTERM, patience=30)


def kill(name: str) -> None:
    """The plug pulled: what wasn't on the disk is lost to the host's processes, not to the disk."""
    process.stop(name, signal.SIGKILL)
    groups = [Path(group) for group in _cgroups(name)]
    for _ in range(100):
        alive = {int(line) for group in groups for file in group.rglob("cgroup.procs") for line in _lines(file)}
        if not alive:
            return
        for pid in alive - {0}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    raise SystemExit(f"rig: processes of {name} can't be ended")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def wipe(name: str) -> None:
    """Stops a host and throws its disk away; its SSH key stays."""
    kill(name)
    disk.remove(name)


def link(name: str, state: str) -> None:
    """Plugs the network cable (`up`) or pulls it (`down`)."""
    _run("ip", "link", "set", f"v-{name}", state)


def ssh(name: str, *command: str, user: str = "root") -> list[str]:
    """The command line that runs something on a host."""
    return ["ssh", "-F", str(place.state() / "ssh_config"), "-l", user, name, *command]


def write_ssh_config(names: list[str]) -> None:
    """What ssh needs to reach hosts by name: nothing of the user's own is read."""
    here = place.state()
    known = here / "known_hosts"
    known.write_text(
        "".join(f"{name},{place.address(name)} {(here / 'keys' / f'{name}.pub').read_text()}" for name in names)
    )
    text = "".join(f"Host {name}\n  HostName {place.address(name)}\n" for name in names)
    text += (
        f"Host *\n  IdentityFile {here}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
        "  StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n  ConnectTimeout 5\n"
    )
    (here / "ssh_config").write_text(text)
