"""Real disks and swap, which containers can't show: a mount by UUID, a swap file and a swap device, through a boot."""

import pytest

HOST = "v1"

pytestmark = pytest.mark.timeout(900)

PREPARE = (
    "printf ',512M\\n,\\n' | sfdisk -q /dev/vdb && udevadm settle && mkfs.ext4 -q /dev/vdb1 && "
    "mkswap -q /dev/vdb2 && udevadm settle && blkid -s UUID -o value /dev/vdb1 /dev/vdb2"
)


def swaps(host) -> dict[str, tuple[str, str]]:
    """Size and priority of each swap that is on."""
    lines = host.check_output("swapon --show=NAME,SIZE,PRIO --noheadings --raw").splitlines()
    return {name: (size, priority) for name, size, priority in (line.split() for line in lines)}


def test_disks_and_swap_survive_a_boot_and_leave(machines, rig, on):
    host = on(HOST)
    disk, device = host.check_output(PREPARE).split()
    before = host.check_output("ls -A / /srv /etc/systemd/system /etc/systemd/system/*.wants; cat /proc/swaps")
    resources = {
        "mount": {"/srv/disk": {"source": f"UUID={disk}", "type": "ext4", "options": ["noatime"]}},
        "file": {"/srv/disk/file": {"content": "on the disk\n"}},
        "swap": {"/swapfile": {"size": "64MiB", "priority": 5}, f"UUID={device}": {"priority": 10}},
    }
    machines.profile("disks", resources)
    machines.deploy("Disks", seconds=240)
    rig.do("stop", HOST)
    rig.do("start", HOST)
    assert swaps(host) == {"/swapfile": ("64M", "5"), "/dev/vdb2": ("511M", "10")}
    assert host.check_output("findmnt -no SOURCE,TARGET /srv/disk").split() == ["/dev/vdb1", "/srv/disk"]
    assert host.file("/srv/disk/file").content_string == "on the disk\n"
    assert (host.file("/swapfile").mode, host.file("/swapfile").user) == (0o600, "root")
    assert host.run("systemd-analyze verify /etc/systemd/system/*.swap /etc/systemd/system/srv-disk.mount").stderr == ""

    # Another size makes the file anew, another priority turns the device on again; what somebody turned off comes back.
    host.check_output("swapoff /swapfile")
    resources["swap"] = {"/swapfile": {"size": "96MiB", "priority": 5}, f"UUID={device}": {"priority": 7}}
    machines.profile("disks", resources)
    machines.deploy("More swap", seconds=240)
    assert swaps(host) == {"/swapfile": ("96M", "5"), "/dev/vdb2": ("511M", "7")}
    assert machines.plan(HOST)["hosts"][HOST]["changes"] == []

    # What can't be swap is refused, and stays as it is.
    host.check_output("echo mine >/root/mine; echo '/dev/vdb2 none swap noauto 0 0' >>/etc/fstab")
    wrong = {"/root/mine": {"size": "1MiB"}, "/dev/vdb1": {}, "/huge": {"size": "1TiB"}}
    machines.profile("disks", {**resources, "swap": {**resources["swap"], **wrong}})
    problems = machines.plan(HOST)["hosts"][HOST]["problems"]
    told = {problem["resource"]: problem["message"] for problem in problems}
    assert told["swap:/root/mine"] == "/root/mine is a file that `mkswap` didn't make: it isn't replaced"
    assert told["swap:/dev/vdb1"] == "/dev/vdb1 has a file system of the type ext4, not swap: Plumb formats no device"
    assert told["swap:/huge"].startswith("/huge needs 1048576 MiB, and / has "), told
    assert "both decide about" in told[f"swap:UUID={device}"], told
    host.check_output("sed -i '/vdb2/d' /etc/fstab; rm /root/mine")

    machines.baseline()
    after = host.check_output("ls -A / /srv /etc/systemd/system /etc/systemd/system/*.wants; cat /proc/swaps")
    assert after == before
    assert host.check_output("mount -o ro /dev/vdb1 /mnt && ls /mnt && umount /mnt") == "lost+found"
