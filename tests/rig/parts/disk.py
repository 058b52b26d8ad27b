"""A host's own disk: an image in the rig's state, mounted over the Debian that all hosts share."""

import os
import shutil
import subprocess
import uuid
from pathlib import Path

from . import place, pool

GIGABYTES = 4  # sparse: room for packages, and small enough to be filled

# nspawn's /dev has /dev/net/tun. Loop devices are numbered machine-wide, so every host has all of them.
DEVICES = "c /dev/fuse 0666 - - - 10:229\nc /dev/loop-control 0660 - disk - 10:237\n" + "".join(
    f"b /dev/loop{number} 0660 - disk - 7:{number}\n" for number in range(128)
)

# Containers' layers are an overlay, which can't lie on another overlay: this folder is on the disk itself.
CONTAINERS = "containers"
# Hosts have no controllers of control groups, and podman limits the number of processes unless told not to.
CONTAINERS_CONF = "[containers]\npids_limit = 0\n"

DEVICES_UNIT = """[Unit]
Description=Device nodes that nspawn doesn't make
DefaultDependencies=no
Before=sysinit.target local-fs-pre.target
[Service]
Type=oneshot
ExecStart=systemd-tmpfiles --create /usr/lib/rig/devices.conf
"""


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def folder(name: str) -> Path:
    return place.state() / "hosts" / name


def make_key(name: str) -> None:
    """The host's SSH key; it outlives the host's disk, as a pinned key should."""
    key = place.state() / "keys" / name
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))


def mount(name: str, base: Path) -> None:
    """The shared Debian below, the host's own disk above."""
    here = folder(name)
    disk, root, image = here / "disk", here / "root", here / "disk.img"
    for made in (disk, root):
        made.mkdir(parents=True, exist_ok=True)
    if not image.exists():
        with open(image, "wb") as file:
            file.truncate(GIGABYTES << 30)
        options = "lazy_itable_init=1,lazy_journal_init=1"
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, str(image))
    _run("mount", "-o", "loop", str(image), str(disk))
    for part in ("upper", "work", CONTAINERS):
        (disk / part).mkdir(exist_ok=True)
    _run("mount", "-t", "overlay", "overlay", "-o",
         f"lowerdir={base},upperdir={disk}/upper,workdir={disk}/work", str(root))  # fmt: skip
    if not (root / "etc/rig-host").exists():
        _settle(name, root, base)


def _settle(name: str, root: Path, base: Path) -> None:
    """Writes what is this host's own."""
    make_key(name)
    keys = place.state() / "keys"
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    for suffix in ("", ".pub"):
        shutil.copy(keys / f"{name}{suffix}", root / f"etc/ssh/ssh_host_ed25519_key{suffix}")
    for home in ("root", "home/deploy", "srv/git"):
        authorize(root, home)
    pool.trust(root, base.name.split("-")[1])
    lib = root / "usr/lib"
    (lib / "rig").mkdir()
    (lib / "rig/devices.conf").write_text(DEVICES)
    (lib / "systemd/system/rig-devices.service").write_text(DEVICES_UNIT)
    (lib / "systemd/system/sysinit.target.wants/rig-devices.service").symlink_to("../rig-devices.service")
    conf = root / "etc/containers/containers.conf.d/rig.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(CONTAINERS_CONF)
    (root / "etc/rig-host").write_text(f"{name}\n")


def authorize(root: Path, home: str) -> None:
    """The rig's own key may log in as the owner of a home."""
    ssh = root / home / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(place.state() / "id.pub", ssh / "authorized_keys")
    owner = (root / home).stat()
    for path in (ssh, ssh / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)


def remove(name: str) -> None:
    """Throws the disk away; the host's SSH key stays."""
    here = folder(name)
    for mounted in (here / "root", here / "disk"):
        if os.path.ismount(mounted):
            _run("umount", "-l", str(mounted))
    shutil.rmtree(here, ignore_errors=True)
