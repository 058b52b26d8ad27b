"""What only a machine with a kernel of its own can show: its modules, its command line, swap in memory, rules for
devices, and its name."""

import pytest
from waiting import until

HOST = "v1"

# A processor in software, on a machine that does other things too.
pytestmark = pytest.mark.timeout(1500)

KERNEL = {
    "kernelModule": {
        "nbd": {"options": {"nbds_max": 4}},
        "virtio-rng": {"state": "blacklisted", "initramfs": True},
        "unix": {},
    },
    "kernelParameter": {"panic": {"value": 10}, "nosmt": {}},
}

SYSTEM = {
    "zram": {"main": {"percent": 25, "algorithm": "zstd"}},
    "udev": {"readahead": {"rules": ['ACTION=="add|change", KERNEL=="vdb", ATTR{queue/read_ahead_kb}="512"']}},
    "hostname": {"system": {}},
}


def loaded(host, module: str) -> bool:
    return f"\n{module} " in "\n" + host.check_output("lsmod")


def reboot_reasons(machines) -> set[str]:
    required = machines.controller.host(HOST).conditions.get("RebootRequired")
    return set(required["detail"].splitlines()) if required else set()


def in_sync(machines) -> bool:
    return machines.plan(HOST)["hosts"][HOST]["changes"] == []


def test_kernel_is_as_git_says_after_a_reboot_and_as_before_at_the_end(machines, rig, on):
    host = on(HOST)
    assert loaded(host, "virtio_rng") and not loaded(host, "nbd")
    image = "lsinitramfs /boot/initrd.img-$(uname -r) | grep -c plumb-virtio_rng"
    menu = host.check_output("sha256sum /boot/grub/grub.cfg")
    machines.profile("kernel", KERNEL)
    machines.deploy("The kernel", seconds=400)

    assert loaded(host, "nbd")
    assert host.file("/sys/module/nbd/parameters/nbds_max").content_string.strip() == "4"
    configuration = host.check_output("modprobe --showconfig").splitlines()
    assert "options nbd nbds_max=4" in configuration and "blacklist virtio_rng" in configuration
    assert host.check_output(image) == "1"
    assert host.run("grub-script-check /boot/grub/grub.cfg").rc == 0
    assert host.check_output("grep -c 'linux.* nosmt panic=10' /boot/grub/grub.cfg") == "2"
    assert reboot_reasons(machines) == {
        "kernel module virtio-rng is blacklisted and still loaded",
        "the kernel runs without nosmt",
        "the kernel runs without panic=10",
    }
    assert in_sync(machines)

    host.check_output("rmmod nbd")
    until(lambda: loaded(host, "nbd"), "the module is loaded again", 120, machines.controller.state)

    rig.do("stop", HOST)
    rig.do("start", HOST)
    assert loaded(host, "nbd") and not loaded(host, "virtio_rng")
    assert host.file("/sys/module/nbd/parameters/nbds_max").content_string.strip() == "4"
    assert host.sysctl("kernel.panic") == 10
    assert "nosmt" in host.check_output("cat /proc/cmdline").split()
    until(lambda: not reboot_reasons(machines), "no reboot is needed", 240, machines.controller.state)

    machines.baseline_files()
    machines.deploy("The kernel as before", seconds=400)
    assert not loaded(host, "nbd")
    left = "/etc/modprobe.d/plumb-* /etc/modules-load.d/plumb-* /etc/default/grub.d/plumb-*"
    assert host.run(f"ls -d {left} | grep .").rc != 0
    assert host.run(image).stdout.strip() == "0"
    assert host.check_output("sha256sum /boot/grub/grub.cfg") == menu


def test_swap_in_memory_rules_and_name_reach_the_kernel(machines, on):
    host = on(HOST)
    machines.host(HOST, hostname="renamed", os={"family": "debian", "release": "12"})
    machines.profile("system", SYSTEM)
    machines.deploy("The system", seconds=300)
    swaps = host.check_output("swapon --show=NAME,PRIO --noheadings").split()
    assert swaps == ["/dev/zram0", "100"]
    assert host.check_output("zramctl --noheadings --output ALGORITHM /dev/zram0").strip() == "zstd"
    assert host.check_output("cat /sys/block/vdb/queue/read_ahead_kb") == "512"
    assert host.check_output("hostname") == host.check_output("cat /etc/hostname") == "renamed"
    assert host.check_output("hostnamectl --static") == "renamed"
    assert in_sync(machines)

    machines.baseline()
    assert host.check_output("swapon --show --noheadings") == ""
    assert not host.package("zram-tools").is_installed
    # The removed package leaves its own configuration, as `apt-get remove` does.
    assert "Written by plumb" not in host.file("/etc/default/zramswap").content_string
    assert not host.file("/etc/udev/rules.d/90-readahead.rules").exists
    assert host.check_output("hostname") == host.check_output("cat /etc/hostname") == HOST
