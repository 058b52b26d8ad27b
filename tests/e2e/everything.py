"""Manifests that use every resource type, and what a host had of them before."""

import io
import tarfile

# What stands on each host before plumb comes: it must come back.
BEFORE = r"""
set -e
mkdir -p /etc/plumb-e2e
printf 'ours before\n' >/etc/plumb-e2e/was-here; chmod 600 /etc/plumb-e2e/was-here; chown games:games /etc/plumb-e2e/was-here
printf 'unwanted\n' >/etc/plumb-e2e/gone
ln -sfn /opt/before /etc/plumb-e2e-link
mkdir -p /srv/e2e-was; chmod 700 /srv/e2e-was
usermod --comment 'played before' games
gpasswd --quiet --delete games audio 2>/dev/null || true
sysctl -qw net.ipv4.tcp_keepalive_time=7200
systemctl --quiet unmask apt-daily.service
systemctl --quiet enable --now cron
apt-get -qq install -y plumb-test-slow=1.0 >/dev/null 2>&1 &
printf '[Unit]\nDescription=before\n[Service]\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/e2e-was.service
systemctl daemon-reload
rm -rf /srv/e2e-up && git init -q /srv/e2e-up && cd /srv/e2e-up && echo page >index && git add index
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git -c user.name=e -c user.email=e@example commit -qm one
wait
"""

# The commit that this makes.
COMMIT = "08b0acfdb4229b1b5c6286626d3caeff0a999a64"

HELLO = """[Unit]
Description=hello
[Service]
ExecStart=/bin/sh -c 'echo start >>/run/e2e-hello.starts; cat /etc/plumb-e2e/hello >/run/e2e-hello.config; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""

# Reads its configuration at start and at each reload, and counts both.
RELOADER = """[Unit]
Description=reloads
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo start >>/run/e2e-reloader.log'
ExecReload=/bin/sh -c 'echo reload >>/run/e2e-reloader.log'
[Install]
WantedBy=multi-user.target
"""



def tar(files: dict[str, bytes]) -> str:
    """A tar file as text, which it is if its files are."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue().decode()


FILES = {
    "files/tool.tar": tar({"tool-1/bin/run": b"run\n", "tool-1/doc": b"doc\n"}),
    "files/plain.txt": "from the repository\n",
    "files/peers.j2": "{% for peer in fleet.hosts('role=web') %}\npeer {{ peer.name }}\n{% endfor %}\n",
}


def resources(tool: str = "1.0", hello: str = "one", reload: str = "one", daemon: str = "managed") -> dict:
    """Every type, in most of its forms."""
    return {
        "file": {
            "/etc/plumb-e2e/literal": {"content": "not {{ rendered }}\n", "mode": "0640", "owner": "root", "group": "e2e-ops"},
            "/etc/plumb-e2e/template": {"content": {"template": "I am {{ host.name }} of {{ fleet.domain }}.\n"}},
            "/etc/plumb-e2e/plain": {"content": {"file": "files/plain.txt"}, "owner": "e2e-person"},
            "/etc/plumb-e2e/peers": {"content": {"templateFile": "files/peers.j2"}},
            "/etc/plumb-e2e/validated": {"content": "good\n", "validate": ["grep", "-q", "good", "%s"]},
            "/etc/plumb-e2e/was-here": {"content": "plumb's now\n", "mode": "0644", "owner": "root", "group": "root"},
            "/etc/plumb-e2e/gone": {"state": "absent"},
            "/etc/services": {"content": "e2e 8123/tcp\n", "block": True},
            "/etc/plumb-e2e/hello": {"content": f"hello {hello}\n"},
            "/etc/plumb-e2e/reload": {"content": f"reload {reload}\n"},
            "/etc/plumb-test-daemon.conf": {"content": f"level={daemon}\n", "after": ["package:plumb-test-daemon"]},
        },
        "archive": {"/opt/e2e-tool": {"file": "files/tool.tar", "strip": 1, "owner": "e2e-person"}},
        "git": {"/opt/e2e-site": {"url": "file:///srv/e2e-up", "commit": COMMIT}},
        "keypair": {"/etc/plumb-e2e/wg.key": {"type": "wireguard"}},
        "directory": {
            "/srv/e2e": {"owner": "e2e-person", "group": "e2e-ops", "mode": "2750"},
            "/srv/e2e/deep/er": {"mode": "0700"},
            "/srv/e2e-was": {"mode": "0755"},
        },
        "link": {
            "/srv/e2e/current": {"target": "deep/er"},
            "/etc/plumb-e2e-link": {"target": "/opt/after"},
        },
        "package": {
            "plumb-test-daemon": {},
            "plumb-test-tool": {"version": tool, "hold": True, "allowDowngrade": True},
            "plumb-test-config": {"state": "latest"},
            "plumb-test-suite": {"installRecommends": False},
            "plumb-test-slow": {"state": "purged"},
        },
        "unit": {
            "e2e-hello.service": {"content": HELLO},
            "e2e-reloader.service": {"content": RELOADER},
            "e2e-was.service": {"content": HELLO.replace("e2e-hello.", "e2e-was.")},
            "plumb-test-daemon.service.d/e2e.conf": {"content": "[Service]\nEnvironment=E2E=yes\n"},
        },
        "service": {
            "e2e-hello": {"state": "started", "enabled": True, "restartOn": ["file:/etc/plumb-e2e/hello"]},
            "e2e-reloader": {"state": "started", "enabled": True, "reloadOn": ["file:/etc/plumb-e2e/reload"]},
            "plumb-test-daemon": {
                "state": "started", "enabled": True, "after": ["package:plumb-test-daemon"],
                "restartOn": ["file:/etc/plumb-test-daemon.conf"],
            },
            "cron": {"state": "stopped", "enabled": False},
            "apt-daily": {"masked": True},
        },
        "user": {
            "e2e-person": {"uid": 4242, "group": "e2e-ops", "groups": ["audio"], "home": "/home/e2e-person",
                           "createHome": True, "shell": "/bin/bash", "comment": "A person"},
            "e2e-system": {"system": True, "home": "/nonexistent", "shell": "/usr/sbin/nologin"},
            "games": {"comment": "managed now"},
        },
        "group": {
            "e2e-ops": {"gid": 4200, "members": ["deploy"]},
            "e2e-system-group": {"system": True},
            "audio": {"members": ["games"]},
        },
        "mount": {"/srv/e2e-mount": {"source": "tmpfs", "type": "tmpfs", "options": ["size=1m", "nodev"]}},
        # A run that is cut short puts a firewall back, and it isn't tried again: it has tests of its own.
        "firewall": {"main": {"state": "absent"}},
        "compose": {"e2e-gone": {"state": "absent"}},
        # None of these hosts has a server, and so none has the database.
        "database": {"e2e-gone": {"state": "absent"}},
        "sysctl": {
            "net.ipv4.tcp_keepalive_time": {"value": "700"},
            "net.core.somaxconn": {"value": "511"},
        },
        # A container has its machine's kernel, and no boot loader.
        "kernelModule": {"snd-dummy": {"state": "blacklisted"}},
        "kernelParameter": {"nosmt": {"state": "absent"}},
    }  # fmt: skip
