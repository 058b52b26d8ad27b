"""Hosts can have what real ones have: Debian's own packages, loop and tunnel devices, containers, certificates."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends"

# Programs that judge configurations by their own rules; the others are part of every host.
CHECKERS = """
nginx -t
promtool check config /etc/prometheus/prometheus.yml
visudo --check
nft --check list ruleset
findmnt --verify
systemd-analyze verify --man=no nginx.service
"""

LOOP = """set -e
truncate -s 64M /var/tmp/rig.img
mkfs.ext4 -q /var/tmp/rig.img
mkdir -p /mnt/rig
mount -o loop /var/tmp/rig.img /mnt/rig
findmnt -no FSTYPE /mnt/rig
umount /mnt/rig
rm /var/tmp/rig.img
"""

IMAGE = "mkdir -p /tmp/i/bin && cp /bin/busybox /tmp/i/bin/ && ln -sf busybox /tmp/i/bin/sh && tar -C /tmp/i -c . | podman import - localhost/small:1"

CONTAINER = """[Container]
Image=localhost/small:1
Pull=never
Exec=/bin/sh -c "while :; do /bin/busybox sleep 1; done"
StopTimeout=1
"""


@pytest.fixture(scope="module")
def pair(session_fleet, on):
    """The last host of each release: Debian 12, Debian 13. What is installed by hand here goes again afterwards."""
    hosts = session_fleet.rig["hosts"]
    pair = [[name for name in hosts if hosts[name]["suite"] == suite][-1] for suite in ("bookworm", "trixie")]
    packages = lambda name: set(on(name).check_output("dpkg-query --show --showformat '${Package}\\n'").split())
    before = everywhere(pair, packages)
    yield pair
    for name, old in zip(pair, before, strict=True):
        if new := sorted(packages(name) - old):
            on(name).check_output(f"DEBIAN_FRONTEND=noninteractive apt-get purge -qq --yes {' '.join(new)}")


def everywhere(pair, run):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, pair))


def test_installs_a_real_daemon_by_a_push(fleet, on, pair):
    fleet.profile("web", {"package": {"nginx": {}}, "service": {"nginx": {"state": "started", "enabled": True}}}, on=pair)
    fleet.deploy("A web server", names=pair, seconds=180)
    for name in pair:
        assert on(name).package("nginx").is_installed
        assert on(name).service("nginx").is_running
        assert on(name).socket("tcp://0.0.0.0:80").is_listening
        assert on(name).run("nginx -t").rc == 0
        assert on(name).run("apt-get update").stdout.count("Hit:") == 2, "both repositories are known and unchanged"
    assert [fleet.plan(name)["hosts"][name]["changes"] for name in pair] == [[], []]


def test_has_native_checkers(fleet, on, pair):
    def check(name: str) -> None:
        on(name).check_output(f"{INSTALL} nginx prometheus")
        for command in CHECKERS.strip().splitlines():
            done = on(name).run(command)
            assert done.rc == 0, f"{name}: {command}: {done.stdout}{done.stderr}"
        on(name).check_output("systemctl disable --quiet --now nginx prometheus")

    everywhere(pair, check)


def test_runs_a_database(fleet, on, pair):
    def query(name: str) -> str:
        on(name).check_output(f"{INSTALL} postgresql")
        return on(name).check_output("runuser -u postgres -- psql -d postgres -Atc 'show server_version'").split(".")[0]

    assert everywhere(pair, query) == ["15", "17"]


def test_has_loop_and_tunnel_devices(fleet, on, pair):
    for name in pair:
        assert on(name).check_output(LOOP) == "ext4"
        on(name).check_output("ip tuntap add rig-t mode tun && ip link del rig-t")


def test_runs_containers_on_debian_13(fleet, on, pair):
    host = on(pair[1])
    host.check_output(f"{INSTALL} podman crun netavark busybox-static")
    host.check_output(IMAGE)
    assert host.check_output("podman run --rm localhost/small:1 /bin/sh -c 'echo inside'") == "inside"
    unit = Path("/etc/containers/systemd/rig.container")
    host.check_output(f"mkdir -p {unit.parent} && cat >{unit} <<'X'\n{CONTAINER}X\nsystemctl daemon-reload && systemctl start rig")
    assert host.check_output("podman ps --format '{{.Names}}'") == "systemd-rig"
    host.check_output(f"systemctl stop rig; rm -r /tmp/i {unit}; podman system reset --force; systemctl daemon-reload")


def test_gets_a_certificate_from_an_acme_server(fleet, rig, on, pair):
    rig.do("start", "acme")
    acme = rig.facts["acme"]
    authority = Path(acme["authority"]).read_text()
    for name in pair:
        host = on(name)
        host.check_output(f"{INSTALL} lego openssl")
        host.check_output(f"cat >/tmp/authority.pem <<'X'\n{authority}X")
        fqdn = f"{name}.rig.example"
        options = f"--path /tmp/lego --accept-tos --email ops@rig.example --server {acme['directory']} --http --domains {fqdn}"
        host.check_output(f"LEGO_CA_CERTIFICATES=/tmp/authority.pem lego {options} run")
        subject = host.check_output(f"openssl x509 -noout -ext subjectAltName -in /tmp/lego/certificates/{fqdn}.crt")
        assert f"DNS:{fqdn}" in subject
        host.check_output("rm -r /tmp/lego /tmp/authority.pem")
    rig.do("stop", "acme")
