"""A virtual machine: for what containers can't show. It has a kernel, disks and a power cord of its own.

qemu emulates the processor, so a boot takes a minute; the clean machine is saved as it runs and resumes in
seconds. Everything here runs inside the holder's namespaces."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import base, disk, host, image, place, pool, process

SUITES = dict(zip(place.MACHINES, (base.OLDER, base.NEWER), strict=True))

MEMORY = 1024  # MiB
EXTRA = 1  # GiB of the second disk, /dev/vdb, which is empty
BOOT = 600  # seconds of patience, on a busy machine

# Once, in the first boot of an image: the boot loader as Debian installs it, and nothing left to settle.
FIRST = """set -e
grub-install /dev/vda
update-grub
systemctl is-system-running --wait || true
sync
echo 3 >/proc/sys/vm/drop_caches
"""

# After each resumption: the time that passed, and who may log in to this rig's hosts.
RESUMED = """set -e
date --set @{now} >/dev/null
for home in /root /home/deploy; do
  mkdir -p -m 700 $home/.ssh
  echo '{key}' >>$home/.ssh/authorized_keys
  chown -R --reference=$home $home/.ssh
done
mkdir -p /etc/apt/keyrings
base64 -d >{keyring} <<'KEY'
{pool}
KEY
cat >/etc/apt/sources.list.d/debian.sources <<'SOURCES'
{sources}SOURCES
apt-get update -qq
sync
"""


def start(name: str) -> None:
    """Boots a machine from its disk; one that has no disk yet is the clean one."""
    if process.pid(name):
        return
    here = disk.folder(name)
    if (here / "disk.qcow2").exists():
        _run(name, here)
        _booted(name)
        return
    try:
        _clean(name, here)
    except BaseException:
        wipe(name)  # no half-made disk is taken for one that was used
        raise


def _clean(name: str, here: Path) -> None:
    """Resumes the clean machine."""
    clean = image.folder(name, SUITES[name])
    saved = clean / f"booted-{_version(name)}"
    if not saved.exists():
        _save(name, here, clean, saved)
    here.mkdir(parents=True, exist_ok=True)
    _overlay(saved / "disk.qcow2", here / "disk.qcow2")
    _extra(here)
    _run(name, here, "-incoming", f"exec:cat {saved}/memory")
    _resume(name, here)
    host.wait(name)
    _greet(name, clean)


def _booted(name: str) -> None:
    """Until the machine has started everything: its sshd answers long before a login is quick."""
    host.wait(name, BOOT)
    until = time.monotonic() + BOOT
    while time.monotonic() < until:
        done = subprocess.run(host.ssh(name, "systemctl is-system-running --wait"), stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 255:
            return
        time.sleep(1)
    raise SystemExit(f"rig: {name} can't be logged in to; see {place.state()}/logs/{name}.log")


def _version(name: str) -> str:
    """A saved machine resumes only under the qemu and the hardware that it was saved with."""
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True).stdout
    return hashlib.sha256(json.dumps([qemu, FIRST, _hardware(name, Path())]).encode()).hexdigest()[:12]


def _save(name: str, here: Path, clean: Path, saved: Path) -> None:
    """Boots a new image for the first time, and saves it as it runs."""
    print(f"rig: booting {name} for the first time (two minutes, once)", flush=True)
    here.mkdir(parents=True, exist_ok=True)
    _overlay(clean / "disk.img", here / "disk.qcow2", "raw")
    _extra(here)
    _run(name, here)
    host.wait(name, BOOT)
    _on(name, clean, FIRST)
    monitor = Monitor(here)
    monitor.ask("stop")
    monitor.ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    monitor.ask("migrate", uri=f"exec:cat >{here}/memory")
    monitor.until("query-migrate", "completed")
    monitor.ask("quit")
    process.stop(name)
    making = saved.with_suffix(f".making-{os.getpid()}")
    making.mkdir()
    for file in ("disk.qcow2", "memory"):
        shutil.move(here / file, making / file)
    shutil.rmtree(here)
    for old in clean.glob("booted-*"):
        if old != making:
            shutil.rmtree(old, ignore_errors=True)
    try:
        making.rename(saved)
    except OSError:  # another rig was faster
        shutil.rmtree(making)


def _overlay(below: Path, above: Path, form: str = "qcow2") -> None:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(below), str(above)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _extra(here: Path) -> None:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(here / "extra.qcow2"), f"{EXTRA}G"]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _run(name: str, here: Path, *more: str) -> None:
    cable = f"v-{name}"
    if subprocess.run(["ip", "link", "show", cable], capture_output=True).returncode != 0:
        for argv in (["tuntap", "add", "dev", cable, "mode", "tap"], ["link", "set", cable, "master", "rig0", "up"]):
            subprocess.run(["ip", *argv], check=True, stdin=subprocess.DEVNULL)
    process.start(name, ["qemu-system-x86_64", *_hardware(name, here), *more])


def _hardware(name: str, here: Path) -> list[str]:
    return [
        "-name", f"rig-{name}", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY), "-smp", "2",
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-qmp", f"unix:{here}/monitor,server=on,wait=off",
        "-drive", f"file={here}/disk.qcow2,if=virtio", "-drive", f"file={here}/extra.qcow2,if=virtio",
        "-netdev", f"tap,id=net,ifname=v-{name},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:77:00:{place.MACHINES.index(name):02x},romfile=",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


def _resume(name: str, here: Path) -> None:
    until = time.monotonic() + 60
    while process.pid(name) and time.monotonic() < until:
        try:
            monitor = Monitor(here)
            break
        except OSError:
            time.sleep(0.05)
    else:
        raise SystemExit(f"rig: {name} doesn't resume; see {place.state()}/logs/{name}.log")
    monitor.until("query-status", "paused", "running")
    monitor.ask("cont")


class Monitor:
    """qemu's control socket."""

    def __init__(self, here: Path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(here / "monitor"))
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> dict:
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self.lines:
            answer = json.loads(line)
            if "error" in answer:
                raise SystemExit(f"rig: qemu refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise SystemExit(f"rig: qemu ended at {command}")

    def until(self, command: str, *states: str) -> None:
        for _ in range(1200):
            answer = self.ask(command)
            if answer.get("status") in states:
                return
            if answer.get("status") == "failed":
                raise SystemExit(f"rig: {command}: {answer}")
            time.sleep(0.05)
        raise SystemExit(f"rig: {command} doesn't become {' or '.join(states)}")


def _on(name: str, clean: Path, script: str) -> None:
    """Runs a script on a clean machine, with the key of its image."""
    known = place.state() / "known_hosts"
    argv = ["ssh", "-F", "none", "-i", str(clean / "id"), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
            "-o", f"UserKnownHostsFile={known}", f"root@{place.address(name)}", "sh"]  # fmt: skip
    done = subprocess.run(argv, input=script, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"rig: {name}: {done.stderr.strip()}")


def _greet(name: str, clean: Path) -> None:
    served = place.state() / "apt" / SUITES[name] / "key.gpg"
    encoded = subprocess.run(["base64", str(served)], check=True, capture_output=True, text=True).stdout.strip()
    key = (place.state() / "id.pub").read_text().strip()
    words = {"now": int(time.time()), "key": key, "keyring": pool.KEYRING, "pool": encoded, "sources": pool.sources(SUITES[name])}
    _on(name, clean, RESUMED.format(**words))


def stop(name: str) -> None:
    """An orderly power-off."""
    subprocess.run(host.ssh(name, "systemctl poweroff"), stdin=subprocess.DEVNULL, capture_output=True)
    until = time.monotonic() + 120
    while process.pid(name) and time.monotonic() < until:
        time.sleep(0.1)
    process.stop(name, signal.SIGKILL)


def kill(name: str) -> None:
    """A power cut: what the machine didn't flush is lost."""
    process.stop(name, signal.SIGKILL)


def wipe(name: str) -> None:
    """Throws the disks away; the next start resumes the clean machine."""
    kill(name)
    shutil.rmtree(disk.folder(name), ignore_errors=True)
