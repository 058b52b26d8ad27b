"""Modules of the kernel, on a virtual machine that has a kernel of its own and reboots."""

import pytest
from waiting import until

HOST = "v1"

# A processor in software, on a machine that does other things too.
pytestmark = pytest.mark.timeout(1500)

MODULES = {
    "nbd": {"options": {"nbds_max": 4}},
    "virtio-rng": {"state": "blacklisted", "initramfs": True},
    "unix": {},
}


def loaded(host, module: str) -> bool:
    return f"\n{module} " in "\n" + host.check_output("lsmod")


def reboot_reason(machines) -> str | None:
    required = machines.controller.host(HOST).conditions.get("RebootRequired")
    return required and required["message"]


def reboot(machines, rig, on):
    rig.do("stop", HOST)
    rig.do("start", HOST)
    return on(HOST)


def test_kernel_is_as_git_says_after_a_reboot_and_as_before_at_the_end(machines, rig, on):
    host = on(HOST)
    assert loaded(host, "virtio_rng") and not loaded(host, "nbd")
    image = "lsinitramfs /boot/initrd.img-$(uname -r) | grep -c plumb-virtio_rng"
    machines.profile("kernel", {"kernelModule": MODULES})
    machines.deploy("Modules", seconds=400)

    assert loaded(host, "nbd")
    assert host.file("/sys/module/nbd/parameters/nbds_max").content_string.strip() == "4"
    configuration = host.check_output("modprobe --showconfig").splitlines()
    assert "options nbd nbds_max=4" in configuration and "blacklist virtio_rng" in configuration
    assert host.check_output(image) == "1"
    assert reboot_reason(machines) == "kernel module virtio-rng is blacklisted and still loaded"
    assert machines.plan(HOST)["hosts"][HOST]["changes"] == []

    host.check_output("rmmod nbd")
    until(lambda: loaded(host, "nbd"), "the module is loaded again", 120, machines.controller.state)

    host = reboot(machines, rig, on)
    assert loaded(host, "nbd") and not loaded(host, "virtio_rng")
    assert host.file("/sys/module/nbd/parameters/nbds_max").content_string.strip() == "4"
    until(lambda: reboot_reason(machines) is None, "no reboot is needed", 240, machines.controller.state)

    machines.baseline_files()
    machines.deploy("The kernel as before", seconds=400)
    assert not loaded(host, "nbd")
    assert host.run("ls /etc/modprobe.d/plumb-* /etc/modules-load.d/plumb-*").rc != 0
    assert host.run(image).stdout.strip() == "0"
