"""Real Debian packages for hosts that reach no mirror: a signed repository for each release, cached.

The index names only what hosts may want and what that needs beyond the rig's Debian, so that
`apt-get update` takes no longer than without it."""

import gzip
import hashlib
import os
import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

from . import base, place

WANTED = """
nginx nginx-light apache2-utils dnsmasq openssh-server cloud-init
postgresql
busybox-static
prometheus prometheus-alertmanager prometheus-node-exporter prometheus-nginx-exporter
prometheus-postgres-exporter prometheus-blackbox-exporter prometheus-process-exporter
restic rclone lego age openssl curl rsync
podman crun netavark aardvark-dns slirp4netns uidmap fuse-overlayfs catatonit docker-compose podman-compose
nftables wireguard-tools wireguard-go wpasupplicant ifupdown iptables bridge-utils ethtool conntrack
git zstd unzip zip xz-utils bzip2 lz4 tar
locales console-setup tzdata zram-tools systemd-zram-generator systemd-resolved systemd-timesyncd
smartmontools kmod udev acl attr e2fsprogs xfsprogs dosfstools btrfs-progs parted lvm2 cryptsetup-bin
cron rsyslog logrotate sudo bash-completion vim-tiny less
""".split()

MEGABYTES = 400  # the most that one release's pool may take
KEYRING = "/etc/apt/keyrings/rig.gpg"


def folder(suite: str) -> Path:
    """One release's repository; downloaded in a few minutes when it isn't there."""
    return place.cached(f"pool-{suite}", Path(__file__).read_bytes() + base.tree(suite).name.encode(), lambda making: _make(suite, making))


def _make(suite: str, making: Path) -> None:
    print(f"rig: downloading packages of Debian {suite} (some minutes, once)", flush=True)
    _download(suite, making)
    _sign(suite, making)


def serve(suites: set[str]) -> None:
    """Puts the pools beside the rig's own packages, where the same server finds them."""
    for suite in suites:
        (place.state() / "apt" / suite).symlink_to(folder(suite))


def trust(root: Path, suite: str) -> None:
    """A host's apt knows the pool of its release."""
    keyring = root / KEYRING.lstrip("/")
    keyring.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place.state() / "apt" / suite / "key.gpg", keyring)
    (root / "etc/apt/sources.list.d/debian.sources").write_text(sources(suite))


def sources(suite: str) -> str:
    """The pool as apt is told of it."""
    return (
        f"Types: deb\nURIs: http://{place.BRIDGE}:{place.APT_PORT}/{suite}\nSuites: {suite}\n"
        f"Components: main\nSigned-By: {KEYRING}\n"
    )


class Apt:
    """apt as a host of this release would run it, on this machine's way to the mirror."""

    def __init__(self, suite: str, here: Path):
        self.here = here
        for part in ("lists/partial", "cache/archives/partial", "etc"):
            (here / part).mkdir(parents=True)
        shutil.copyfile(base.tree(suite) / "var/lib/dpkg/status", here / "status")
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (here / "etc/sources.list").write_text(f"deb [signed-by={keyring}] {base.mirror()} {suite} main\n")
        # Of this machine's configuration its proxies alone; its hooks and languages are its own.
        dump = subprocess.run(["apt-config", "dump", "Acquire::http"], check=True, capture_output=True, text=True).stdout
        dump += subprocess.run(["apt-config", "dump", "Acquire::https"], check=True, capture_output=True, text=True).stdout
        config = {
            "Dir::Etc::main": "/dev/null", "Dir::Etc::parts": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::sourcelist": f"{here}/etc/sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": f"{here}/lists", "Dir::State::status": f"{here}/status", "Dir::State": str(here),
            "Dir::Cache": f"{here}/cache", "Acquire::Languages": "none", "Acquire::Check-Date": "false",
            "Acquire::Retries": "3", "APT::Sandbox::User": "root", "APT::Install-Recommends": "false",
        }  # fmt: skip
        (here / "apt.conf").write_text(dump + "".join(f'{key} "{value}";\n' for key, value in config.items()))

    def run(self, *argv: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            argv, env={**os.environ, "APT_CONFIG": str(self.here / "apt.conf"), "LC_ALL": "C.UTF-8"},
            capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"rig: {' '.join(argv[:6])}: {done.stderr.strip()}")
        return done.stdout

    def needed(self, package: str) -> set[str]:
        """The archives that a host installs for a package, this one included if it has it already."""
        argv = ["apt-get", "install", "--print-uris", "-qq", "--yes", "--reinstall", "--allow-downgrades", package]
        return {shlex.split(line)[0] for line in self.run(*argv).splitlines() if line.startswith("'")}


def _download(suite: str, making: Path) -> None:
    apt = Apt(suite, making / "apt")
    apt.run("apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any")
    known = set(apt.run("apt-cache", "pkgnames").split())
    missing = [name for name in WANTED if name not in known]
    if missing:
        raise SystemExit(f"rig: Debian {suite} has no {', '.join(missing)}; {__file__} wants them")
    with ThreadPoolExecutor(2) as pool:
        archives = set().union(*pool.map(apt.needed, WANTED))
    stanzas = _stanzas(apt, archives)
    size = sum(int(stanza["Size"]) for stanza, _ in stanzas) >> 20
    print(f"rig: {len(stanzas)} packages of Debian {suite}, {size} of at most {MEGABYTES} MB", flush=True)
    if size > MEGABYTES:
        raise SystemExit(f"rig: the pool of {suite} would take {size} MB; {__file__} allows {MEGABYTES}")
    # apt-get compares each archive with the mirror's signed index.
    (making / "pool").mkdir()
    names = [f"{stanza['Package']}:{stanza['Architecture']}={stanza['Version']}" for stanza, _ in stanzas]
    names = [name.replace(":all=", "=") for name in names]
    apt.run("apt-get", "download", "-qq", *names, cwd=making / "pool")
    index = making / "dists" / suite / "main/binary-amd64"
    index.mkdir(parents=True)
    text = "".join(text for _, text in stanzas)
    (index / "Packages").write_text(text)
    (index / "Packages.gz").write_bytes(gzip.compress(text.encode()))
    shutil.rmtree(making / "apt")


def _stanzas(apt: Apt, archives: set[str]) -> list[tuple[dict[str, str], str]]:
    """What the mirror's index says of these archives, with their place in the pool."""
    files = {unquote(uri).removeprefix(base.mirror().rstrip("/") + "/") for uri in archives}
    found = {}
    for text in apt.run("apt-cache", "dumpavail").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Filename") in files:
            version = fields["Version"].replace(":", "%3a")
            name = f"pool/{fields['Package']}_{version}_{fields['Architecture']}.deb"
            found[fields["Filename"]] = fields, text.replace(f"Filename: {fields['Filename']}", f"Filename: {name}") + "\n\n"
    if found.keys() != files:
        raise SystemExit(f"rig: the mirror's index lacks {', '.join(sorted(files - found.keys())[:5])}")
    return sorted(found.values(), key=lambda one: one[0]["Package"])


def _sign(suite: str, making: Path) -> None:
    """The release file, signed by a key that is thrown away."""
    dist = making / "dists" / suite
    release = (
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S UTC', time.gmtime())}\nOrigin: Debian\nLabel: Debian\n"
        f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\nSHA256:\n"
    )
    for file in sorted(dist.glob("main/binary-amd64/*")):
        data = file.read_bytes()
        release += f" {hashlib.sha256(data).hexdigest()} {len(data)} {file.relative_to(dist)}\n"
    (dist / "Release").write_text(release)
    home = Path(f"/tmp/rig-gpg-{os.getpid()}")  # gpg's sockets need a short path
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    try:
        subprocess.run([*gpg, "--quick-generate-key", "The rig <rig@example.invalid>", "rsa3072", "sign", "never"], check=True)
        subprocess.run([*gpg, "--output", str(making / "key.gpg"), "--export"], check=True)
        subprocess.run([*gpg, "--clearsign", "--output", str(dist / "InRelease"), str(dist / "Release")], check=True)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)
