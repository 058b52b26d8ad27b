"""Every resource type at once on Debian 12 and 13, from one signed push, and the hosts as they were when git has dropped it.

Swap, compressed swap and rules for devices need a kernel of their own: the virtual machine has them (test_w_disks.py,
test_w_kernel.py)."""

import difflib
import re
import sys
from pathlib import Path

import everything
import pytest
import yaml
from fleet import ROOT
from test_l_containers import PROJECT, pair  # noqa: F401
from test_l_monitoring import ALERTMANAGER, BACKUP, ENDPOINTS, acme  # noqa: F401
from test_l_serving import INNER, WPA
from test_m_secrets import Secrets

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rig"))
from parts import look  # noqa: E402

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl john"
HASH = "$y$j9T$6w9iFJbqVXXZ5sGyyfpdd.$FrVDH9SMPwCjRbCwrVE5nyv1nGzs.pMOUCEaOKBs7F2"

# Packages that the composites bring. What they depend on stays when they go, as Plumb removes only what it named: it is
# there before.
BROUGHT = ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "restic", "rclone", "lego", "nginx", "dnsmasq-base", "wpasupplicant"]
PREPARE = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y postgresql acl {" ".join(BROUGHT)}
apt-get purge -qq -y {" ".join(BROUGHT)}
mkdir -p /srv/e2e-data /srv/e2e-repo && echo kept >/srv/e2e-data/file && cd /srv/e2e-repo
# Debian has no grafana: this one has its unit alone.
mkdir -p g/DEBIAN g/lib/systemd/system
printf 'Package: grafana\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@x.example>\\nDescription: x\\n' >g/DEBIAN/control
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >g/lib/systemd/system/grafana-server.service
dpkg-deb --root-owner-group -b g grafana.deb >/dev/null
{{ cat g/DEBIAN/control; echo 'Filename: ./grafana.deb'; echo "Size: $(stat -c %s grafana.deb)"; echo "SHA256: $(sha256sum <grafana.deb | cut -d' ' -f1)"; echo; }} >Packages
echo 'APT::Get::AllowUnauthenticated "true"; Acquire::AllowInsecureRepositories "true";' >/etc/apt/apt.conf.d/99e2e
"""

# Facts that nobody's resource has made: data of a server, lists of what was seen, and units that come and go by themselves.
RESTLESS = ("/var/lib/postgresql", "/var/lib/containers", "/var/lib/plumb-test-slow/log", "/root/.ssh", "run-netns.mount")
# The packet filter counts.
COUNTER = re.compile(r"counter packets \d+ bytes \d+")


def resources(release: str, image: str, directory: str) -> dict:
    """Every type that a container can have."""
    everywhere = everything.resources()
    everywhere["file"] |= {
        "/etc/e2e-acme.pem": {"content": {"file": "files/acme.pem"}},
        "/etc/e2e-app.conf": {"content": {"template": "token={{ secret('app/token') }}\n"}},
        "/usr/local/bin/e2e-job": {"content": "#!/bin/sh\nexit 0\n", "mode": "0755"},
    }
    everywhere["package"] |= {"postgresql": {}}
    everywhere["service"] |= {"postgresql": {"state": "started", "enabled": True}}
    everywhere["group"] |= {"e2e-certs": {}}
    everywhere["user"]["e2e-person"] |= {"password": {"hash": HASH}, "locked": True}
    everywhere["user"]["e2e-system"] |= {"password": {"secret": "app/hash"}}
    everywhere["database"] = {"e2e": {"owner": "e2e-app", "extensions": ["pg_trgm"], "settings": {"work_mem": "16MB"}}}
    everywhere["firewall"] = {"main": {"open": [{"ports": [22, 80, 9093, 9100]}]}}
    everywhere["compose"] = {"e2e": {"file": f"files/compose-{release}.yaml", "environment": {"GREETING": "hello"}}}
    if release == "13":
        everywhere["compose"]["e2e"] |= {"environment": {}, "secrets": {"GREETING": "secret:app/token"}}
    everywhere |= {
        "alertmanager": {"main": {"config": {"file": "files/alertmanager.yml"}, "on": ["lan"]}},
        "authorizedKeys": {"e2e-person": {"keys": [KEY]}},
        "backup": {"restic": {**BACKUP, "tool": "restic", "credentials": "secret:app/restic"}},
        "certificate": {"web": {
            "names": ["{{ host.name }}.rig.example"], "group": "e2e-certs", "validFor": "7d",
            "acme": {"directory": directory, "email": "ops@rig.example", "http": {}, "authority": "/etc/e2e-acme.pem"},
            "after": ["file:/etc/e2e-acme.pem"],
        }},
        "check": {"e2e": {"unit": "e2e-hello.service"}},
        "command": {"e2e": {"run": ["/usr/bin/touch", "/run/e2e-command"], "refreshOn": ["file:/etc/plumb-e2e/hello"]}},
        "cron": {"e2e": {"schedule": "0 6 * * 1", "user": "root", "run": ["/usr/local/bin/e2e-job", "--weekly"]}},
        "environment": {"E2E_EDITOR": {"value": "nvim"}},
        "exporter": {"node": {"on": ["lan"]}},
        "grafana": {"main": {"datasources": [f"{{{{ host.name }}}}/every-{release}.prometheus"]}},
        "hostname": {"system": {}},
        "hosts": {"fleet": {"networks": ["lan"], "extra": ["203.0.113.9 e2e-cache"]}},
        "journald": {"main": {"storage": "persistent", "maxUse": "64MiB"}},
        "knownHosts": {"fleet": {}},
        "locale": {"system": {"lang": "C.UTF-8", "timezone": "Europe/London", "keymap": "uk"}},
        "prometheus": {"main": {"retention": "1d", "alertmanagers": [f"{{{{ host.name }}}}/every-{release}.api"]}},
        "repository": {"e2e": {"uris": ["file:/srv/e2e-repo"], "suites": ["./"]}},
        "sshd": {"main": {"passwords": False, "settings": {"MaxSessions": 20}}},
        "sudoers": {"e2e-person": {"user": "e2e-person", "commands": ["/usr/bin/id"]}},
        "timer": {"e2e-job": {"run": ["/usr/local/bin/e2e-job"], "schedule": {"calendar": "Sat 02:00"}, "credentials": {"token": "secret:app/token"}}},
        "dns": {"fleet": {"on": ["inner"], "upstreams": ["192.0.2.53"]}},
        "reverseProxy": {"app.rig.example": {"redirect": "https://www.rig.example", "on": ["inner"]}},
        "wifi": {"home": {"ssid": "Home", "psk": "secret:app/token", "interface": "e2e-wlan"}},
        "tmpfiles": {"e2e": {"lines": ["d /run/e2e-tmpfiles 0750 root root -"]}},
    }  # fmt: skip
    everywhere["unit"]["wpa_supplicant@e2e\\x2dwlan.service"] = {"content": WPA}
    if release == "12":
        everywhere["dhcp"] = {"inner": {}}
    if release == "13":
        run = ["/bin/sh", "-c", 'trap "exit 0" TERM; while :; do /bin/busybox sleep 1; done']
        everywhere["container"] = {"e2e-quadlet": {"image": image, "run": run, "secrets": {"TOKEN": "secret:app/token"}}}
        everywhere["service"]["podman.socket"] = {"state": "started"}
    return everywhere


def facts(host) -> list[str]:
    """The host as it is, but for what changes by itself."""
    lines = host.run("python3 -c %s", look.SCRIPT).stdout.splitlines()
    return sorted({COUNTER.sub("counter", line) for line in lines if not line.startswith(RESTLESS)})


def changed(before: list[str], after: list[str]) -> list[str]:
    return [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if line[0] in "+-" and line[:3] not in ("+++", "---")]


@pytest.mark.timeout(1200)
def test_every_type_at_once_and_the_hosts_as_they_were(fleet, on, pair, acme, tmp_path):
    names = list(pair)
    dhcp = {"server": names[0], "range": [210, 220]}
    network, ids = fleet.rig["hosts"][names[0]]["address"].rsplit(".", 1)[0], {}
    for number, name in enumerate(names, 1):
        on(name).check_output(f"ip link add e2e-in type bridge && ip addr add {INNER}.{number}/24 dev e2e-in && ip link set e2e-in up")
        ids[name] = int(fleet.rig["hosts"][name]["address"].rsplit(".", 1)[1])
        on(name).check_output(PREPARE)
        on(name).check_output(everything.BEFORE)
    secrets = Secrets(fleet, tmp_path)
    secrets.run("secret", "operator", "laptop")
    fleet.change_policy("Who reads secrets", lambda spec: None)
    fleet.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"}, "spec": {
        "domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}, "secrets": {"operators": ["laptop"]}, "deadMan": {"confirm": "30s"},
    }})  # fmt: skip
    fleet.write("networks/lan.yaml", {"kind": "Network", "metadata": {"name": "lan"}, "spec": {"type": "lan", "subnets": [f"{network}.0/24"]}})
    inner = lambda **more: {"kind": "Network", "metadata": {"name": "inner"}, "spec": {"type": "lan", "subnets": [f"{INNER}.0/24"], **more}}
    fleet.write("networks/inner.yaml", inner())
    base = {}
    for number, (name, release) in enumerate(zip(names, ("12", "13"), strict=True), 1):
        places = {"lan": {"id": ids[name], "interface": "eth0"}, "inner": {"id": number, "interface": "e2e-in"}}
        base[name] = {"os": {"family": "debian", "release": release}, "networks": places}
        user = "root" if int(name[1:]) % 2 else "deploy"
        fleet.host(name, **base[name])
        secrets.run("enroll", name, "--address", fleet.rig["hosts"][name]["address"], "--user", user, "--yes",
                    "--config", str(fleet.controller.folder / "controller.yaml"))  # fmt: skip
        base[name]["ageKey"] = yaml.safe_load((fleet.tree / f"hosts/{name}.yaml").read_text())["spec"]["ageKey"]
    fleet.deploy("Two hosts", names=names, seconds=120)
    before = {name: facts(on(name)) for name in names}

    for path, text in everything.FILES.items():
        fleet.write(path, text)
    fleet.write("networks/inner.yaml", inner(dhcp=dhcp))
    fleet.write("files/acme.pem", open(acme["authority"]).read())
    fleet.write("files/alertmanager.yml", ALERTMANAGER)
    fleet.write("secrets/app.yaml", {"kind": "Secret", "metadata": {"name": "app"}, "spec": {
        "hosts": names, "deliver": [{"key": "token", "path": "/run/plumb/secrets/app-token", "mode": "0400"}],
    }})  # fmt: skip
    token = secrets.set("app/token")
    secrets.set("app/hash", HASH)
    secrets.set("app/restic", "RESTIC_PASSWORD='e2e'")
    for name, release in zip(names, ("12", "13"), strict=True):
        fleet.write(f"files/compose-{release}.yaml", PROJECT.format(image=pair[name]))
        fleet.profile(f"every-{release}", resources(release, pair[name], acme["directory"]), on=[name], endpoints=ENDPOINTS | {"prometheus": {"ports": [9090], "on": ["lan"]}})
    fleet.deploy("Everything", names=names, seconds=400)
    plan = fleet.plan(*names)["hosts"]
    assert [plan[name]["changes"] for name in names] == [[], []], plan
    used = {type_ for release in ("12", "13") for type_ in resources(release, "x", "x")} | {"secret"}
    every = {page.stem for page in (ROOT / "docs/reference").glob("*.md")} - {"resources"}
    # Those of a host's networks have a test of their own (test_l_network.py).
    assert every - used == {"swap", "udev", "zram", "interface", "wireguard"}
    for name in names:
        host = on(name)
        assert host.check_output("cat /etc/e2e-app.conf") == f"token={token}"
        assert host.check_output("getent shadow e2e-system").split(":")[1] == HASH
        for program in ("visudo -c", "sshd -t", "findmnt --verify", "nft -j -c -f /etc/plumb/firewall.json",
                        "promtool check config /etc/prometheus/prometheus.yml", "amtool check-config /etc/prometheus/alertmanager.yml",
                        "systemd-analyze verify --man=no e2e-hello.service e2e-job.timer backup-restic.service certificate-web.service"):  # fmt: skip
            assert host.run(program).rc == 0, program
        assert not [unit for unit in host.check_output("systemctl --failed --no-legend --plain").splitlines() if "e2e" in unit]

    for release in ("12", "13"):
        fleet.remove(f"profiles/every-{release}.yaml")
    fleet.remove("secrets/app.yaml")
    fleet.write("networks/inner.yaml", inner())
    for name in names:
        fleet.host(name, **base[name])
    fleet.deploy("Nothing of it any more", names=names, seconds=300)
    for name in names:
        # What holds data stays: homes, backups, certificates, a database. So does the configuration of a removed package.
        on(name).check_output("rm -r /home/e2e-person /srv/e2e-backup /var/lib/certificates; ip link del e2e-wlan")
        on(name).check_output("cd / && runuser -u postgres -- dropdb e2e && runuser -u postgres -- dropuser e2e-app")
        on(name).check_output("dpkg --purge $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | sed -n 's/^rc *//p')")
        different = changed(before[name], facts(on(name)))
        assert not different, name + "\n" + "\n".join(different)
