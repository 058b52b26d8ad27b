"""A virtual machine with a kernel, a disk and a power cord of its own is driven like any other host."""

import pytest

HOST = "v1"

# A processor in software, on a machine that does other things too.
pytestmark = pytest.mark.timeout(900)

UNIT = """[Unit]
Description=sleeps
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""

RESOURCES = {
    "file": {"/etc/vm-probe": {"content": "kept\n", "mode": "0640"}},
    # No host in a container may set these two.
    "sysctl": {"vm.swappiness": {"value": "11"}, "kernel.panic": {"value": "17"}},
    "unit": {"vm-probe.service": {"content": UNIT}},
    "service": {"vm-probe": {"state": "started", "enabled": True}},
}


def boot_id(on) -> str:
    return on(HOST).check_output("cat /proc/sys/kernel/random/boot_id")


def see(on) -> None:
    """The resources by other eyes than Plumb's."""
    host = on(HOST)
    assert host.file("/etc/vm-probe").content_string == "kept\n"
    assert host.file("/etc/vm-probe").mode == 0o640
    assert host.sysctl("vm.swappiness") == 11
    assert host.sysctl("kernel.panic") == 17
    assert host.service("vm-probe").is_running and host.service("vm-probe").is_enabled
    assert host.run("systemd-analyze verify vm-probe.service").rc == 0


def test_keeps_everything_through_a_power_cut(machines, rig, on):
    before = on(HOST).sysctl("vm.swappiness")
    booted = boot_id(on)
    machines.profile("probe", RESOURCES)
    revision = machines.deploy("A probe", seconds=180)

    # Ready was said: from now on nothing of it may be lost, not even what the kernel hadn't flushed by itself.
    rig.do("kill", HOST)
    rig.do("start", HOST)
    assert boot_id(on) != booted
    see(on)
    machines.controller.wait(revision, [HOST], 180)
    assert machines.plan(HOST)["hosts"][HOST]["changes"] == []

    machines.baseline()
    host = on(HOST)
    assert not host.file("/etc/vm-probe").exists
    assert host.sysctl("vm.swappiness") == before
    assert host.run("systemctl show -P LoadState vm-probe").stdout.strip() == "not-found"


def test_resets_to_a_clean_machine_in_seconds(machines, rig, on):
    on(HOST).check_output("touch /etc/vm-leftover && mkfs.ext4 -q -L leftover /dev/vdb && sync")
    rig.do("wipe", HOST)
    host = on(HOST)
    assert not host.file("/etc/vm-leftover").exists
    assert host.run("blkid /dev/vdb").stdout == "", "the second disk is empty again"
    assert host.check_output("uname -r").endswith("-amd64"), "Debian's own kernel runs"
    assert host.run("modprobe wireguard && ip link add wg0 type wireguard && ip link del wg0").rc == 0
