"""The rig's own apt repository: a few tiny packages, so that no test needs a mirror."""

import gzip
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

from . import place

DAEMON = """#!/bin/sh
# Says at each start with which configuration: a lost restart shows as a difference.
mkdir -p /run/plumb-test-daemon
sha256sum </etc/plumb-test-daemon.conf | cut -d' ' -f1 >/run/plumb-test-daemon/config
echo start >>/var/lib/plumb-test-daemon/starts
trap 'sha256sum </etc/plumb-test-daemon.conf | cut -d" " -f1 >/run/plumb-test-daemon/config; echo reload >>/var/lib/plumb-test-daemon/reloads' HUP
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""

DAEMON_UNIT = """[Unit]
Description=A daemon that tells how often it was started
[Service]
ExecStart=/usr/sbin/plumb-test-daemon
ExecReload=/bin/kill -HUP $MAINPID
[Install]
WantedBy=multi-user.target
"""

# What debhelper writes for a package with a service.
DAEMON_POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
  mkdir -p /var/lib/plumb-test-daemon
  deb-systemd-helper unmask plumb-test-daemon.service >/dev/null || true
  deb-systemd-helper enable plumb-test-daemon.service >/dev/null || true
  if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
    if [ -n "$2" ]; then action=restart; else action=start; fi
    deb-systemd-invoke $action plumb-test-daemon.service >/dev/null || true
  fi
fi
"""

DAEMON_PRERM = """#!/bin/sh
set -e
if [ -d /run/systemd/system ] && [ "$1" = remove ]; then deb-systemd-invoke stop plumb-test-daemon.service >/dev/null || true; fi
"""

DAEMON_POSTRM = """#!/bin/sh
set -e
if [ "$1" = purge ]; then rm -rf /var/lib/plumb-test-daemon; deb-systemd-helper purge plumb-test-daemon.service >/dev/null || true; fi
if [ -d /run/systemd/system ]; then systemctl --system daemon-reload >/dev/null || true; fi
"""


def _tool(version: str) -> dict:
    return {
        "name": "plumb-test-tool",
        "version": version,
        "files": {"usr/bin/plumb-test-tool": ("#!/bin/sh\necho " + version + "\n", 0o755)},
    }


PACKAGES = [
    {
        "name": "plumb-test-daemon",
        "version": "1.0",
        "files": {
            "usr/sbin/plumb-test-daemon": (DAEMON, 0o755),
            "lib/systemd/system/plumb-test-daemon.service": (DAEMON_UNIT, 0o644),
            "etc/plumb-test-daemon.conf": ("level=packaged\n", 0o644),
        },
        "conffiles": ["/etc/plumb-test-daemon.conf"],
        "scripts": {"postinst": DAEMON_POSTINST, "prerm": DAEMON_PRERM, "postrm": DAEMON_POSTRM},
    },
    _tool("1.0"),
    _tool("1.1"),
    {
        "name": "plumb-test-config",
        "version": "1.0",
        "files": {"etc/plumb-test.conf": ("packaged = 1.0\n", 0o644)},
        "conffiles": ["/etc/plumb-test.conf"],
    },
    {
        "name": "plumb-test-config",
        "version": "1.1",
        "files": {"etc/plumb-test.conf": ("packaged = 1.1\n", 0o644)},
        "conffiles": ["/etc/plumb-test.conf"],
    },
    {
        "name": "plumb-test-slow",
        "version": "1.0",
        "files": {"usr/share/plumb-test-slow/here": ("yes\n", 0o644)},
        "scripts": {
            "postinst": "#!/bin/sh\nset -e\nmkdir -p /var/lib/plumb-test-slow\n"
            "echo began >>/var/lib/plumb-test-slow/log\nsleep 10\necho ended >>/var/lib/plumb-test-slow/log\n"
        },
    },
    {
        "name": "plumb-test-broken",
        "version": "1.0",
        "files": {"usr/share/plumb-test-broken/here": ("yes\n", 0o644)},
        "scripts": {"postinst": "#!/bin/sh\necho 'the maintainer was in a hurry' >&2\nexit 1\n"},
    },
    {
        "name": "plumb-test-suite",
        "version": "1.0",
        "files": {"usr/share/plumb-test-suite/here": ("yes\n", 0o644)},
        "fields": {"Depends": "plumb-test-tool", "Recommends": "plumb-test-config"},
    },
]


def build() -> Path:
    """Builds all packages and the repository's index."""
    folder = place.state() / "apt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index = ""
    for package in PACKAGES:
        index += _build(folder, package)
    (folder / "Packages").write_text(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    release = f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S UTC', time.gmtime())}\nOrigin: rig\nLabel: rig\nSuite: stable\nCodename: rig\nArchitectures: all amd64\nSHA256:\n"
    for name in ("Packages", "Packages.gz"):
        data = (folder / name).read_bytes()
        release += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
    (folder / "Release").write_text(release)
    return folder


def _build(folder: Path, package: dict) -> str:
    name, version = package["name"], package["version"]
    root = folder / "build" / f"{name}-{version}"
    for path, (text, mode) in package["files"].items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nSection: misc\nPriority: optional\n"
        + "".join(f"{field}: {value}\n" for field, value in package.get("fields", {}).items())
        + f"Maintainer: The rig <rig@example.invalid>\nDescription: part of the rig's own repository\n"
    )
    meta = root / "DEBIAN"
    meta.mkdir(parents=True)
    (meta / "control").write_text(control)
    if "conffiles" in package:
        (meta / "conffiles").write_text("".join(f"{path}\n" for path in package["conffiles"]))
    for script, text in package.get("scripts", {}).items():
        (meta / script).write_text(text)
        (meta / script).chmod(0o755)
    deb = folder / f"{name}_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(deb)], check=True, capture_output=True
    )
    shutil.rmtree(folder / "build")
    data = deb.read_bytes()
    return (
        control
        + f"Filename: ./{deb.name}\nSize: {len(data)}\n"
        + f"MD5sum: {hashlib.md5(data).hexdigest()}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    )
