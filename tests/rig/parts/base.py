"""The Debians that hosts share, read-only: each unpacked once and cached."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from . import place

OLDER, NEWER = "bookworm", "trixie"  # Debian 12 and 13
PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev",
    "openssh-server", "sudo", "iproute2", "iputils-ping", "ca-certificates",
    "python3", "nftables", "cron", "git", "acl", "e2fsprogs", "procps",
]  # fmt: skip

# What would disturb a test: package locks taken by timers, consoles that nobody reads.
MASKED = [
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "fstrim.timer", "console-getty.service", "e2scrub_reap.service", "systemd-firstboot.service",
]  # fmt: skip

SSHD = "UseDNS no\nMaxStartups 200:30:400\nPrintMotd no\n"

# nspawn mounts /proc/sys read-only; a host with a network of its own may set that network's keys.
SYSCTL_UNIT = """[Unit]
Description=The host's own network settings can be written
DefaultDependencies=no
Before=sysinit.target systemd-sysctl.service
[Service]
Type=oneshot
ExecStart=/bin/mount --bind /proc/sys/net /proc/sys/net
ExecStart=/bin/mount -o remount,bind,rw /proc/sys/net
[Install]
WantedBy=sysinit.target
"""


def mirror() -> str:
    """The first Debian mirror that this machine uses."""
    candidates = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    for file in candidates:
        for line in file.read_text().splitlines() if file.exists() else []:
            words = line.split()
            for word in words:
                if word.startswith(("http://", "https://")) and words[0] in ("URIs:", "deb"):
                    return word
    return "http://deb.debian.org/debian"


def tree(suite: str) -> Path:
    """An unpacked Debian; made in about a minute when it isn't there."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    done = place.cache() / f"debian-{suite}-{recipe}"
    if done.exists():
        return done
    making = done.with_suffix(f".making-{os.getpid()}")
    making.parent.mkdir(parents=True, exist_ok=True)
    log = place.state() / "logs" / "debootstrap.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"rig: unpacking Debian {suite} (a minute, once)", flush=True)
    with open(log, "wb") as out:
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(making), mirror()],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True,
        )  # fmt: skip
    _settle(making)
    for old in place.cache().glob(f"debian-{suite}-*"):
        if old != making:
            shutil.rmtree(old, ignore_errors=True)
    making.rename(done)
    return done


def _settle(root: Path) -> None:
    """What all hosts have in common beyond Debian."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/ssh/sshd_config.d/rig.conf").write_text(SSHD)
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] http://{place.BRIDGE}:{place.APT_PORT}/ ./\n")
    (root / "etc/resolv.conf").write_text("")
    for file in (root / "var/cache/apt/archives").glob("*.deb"):
        file.unlink()
    (root / "etc/systemd/system/rig-sysctl.service").write_text(SYSCTL_UNIT)
    run = lambda *argv: subprocess.run(["chroot", str(root), *argv], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    run("systemctl", "enable", "rig-sysctl.service")
    run("systemctl", "mask", *MASKED)
    # A person's account on every host, and the git server's.
    run("useradd", "--create-home", "--shell", "/bin/bash", "deploy")
    run("useradd", "--system", "--create-home", "--home-dir", "/srv/git", "--shell", "/bin/bash", "git")
    sudoers = root / "etc/sudoers.d/deploy"
    sudoers.write_text("deploy ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    # Under nspawn systemd decides about the machine id; each host gets its own before it boots.
    (root / "etc/machine-id").write_text("")
