"""Mounts on Debian 12 and 13, read by findmnt and systemd: made, remounted, waited for while busy, and given back.

Containers have no swap: that it works is shown on a virtual machine (test_w_disks.py). Here it is told and taken back."""

import pytest
from waiting import until

PREPARE = (
    "truncate -s 32M /srv/e2e.img && mkfs.ext4 -q -F /srv/e2e.img && mkdir -p /srv/e2e-hand && "
    "mount -t tmpfs byhand /srv/e2e-hand && echo kept >/srv/e2e-hand/file"
)
DISK, BOUND = "/srv/e2e-disks/data", "/srv/e2e-disks/with space"


def resources(*options: str) -> dict:
    return {
        "mount": {
            DISK: {"source": "/srv/e2e.img", "type": "ext4", "options": ["loop", *options]},
            BOUND: {"source": f"{DISK}/sub", "options": ["bind", "ro"]},
            # What somebody mounted by hand is taken as it is, and stays.
            "/srv/e2e-hand": {"source": "byhand", "type": "tmpfs", "options": ["nodev"]},
        },
        "directory": {DISK: {"mode": "0710"}, f"{DISK}/sub": {"mode": "0750"}},
        "file": {f"{DISK}/sub/file": {"content": "on the disk\n"}},
    }


@pytest.fixture
def both(fleet, on):
    """A host of each release, with an image of a file system and a mount made by hand."""
    names = [fleet.names[0], fleet.names[-1]]
    for name in names:
        on(name).check_output(PREPARE)
    yield names
    for name in names:
        on(name).run("umount /srv/e2e-hand; rm -r /srv/e2e-hand /srv/e2e.img; sed -i '/e2e-fstab/d' /etc/fstab")


def mounts(host) -> dict[str, str]:
    """The options of each mount below /srv."""
    lines = host.check_output("findmnt -rno TARGET,VFS-OPTIONS | grep ^/srv").splitlines()
    return {target.replace("\\x20", " "): options for target, options in (line.split() for line in lines)}


def test_mounts_come_change_wait_while_busy_and_leave(fleet, on, both):
    before = {name: on(name).check_output("ls -A /srv; ls /etc/systemd/system /etc/systemd/system/*.wants; findmnt -rno TARGET,VFS-OPTIONS") for name in both}
    fleet.profile("disks", resources("noatime"), on=both)
    fleet.deploy("Disks", seconds=120)
    for name in both:
        host = on(name)
        found = mounts(host)
        assert "noatime" in found[DISK] and found[BOUND].startswith("ro") and "nodev" in found["/srv/e2e-hand"], found
        assert host.file(f"{BOUND}/file").content_string == "on the disk\n"
        assert host.file(DISK).mode == 0o710, "the directory is the mounted file system's"
        assert host.run("findmnt --verify").rc == 0
        assert host.run("systemd-analyze verify /etc/systemd/system/srv-e2e*.mount").stderr == ""
        assert host.check_output("systemctl is-enabled srv-e2e\\\\x2ddisks-data.mount") == "enabled"
        # Drift: one is unmounted, the other one loses an option.
        host.check_output(f"umount '{BOUND}' && mount -o remount,dev /srv/e2e-hand")
    plan = fleet.plan(*both)["hosts"]
    until(lambda: all(BOUND in mounts(on(name)) and "nodev" in mounts(on(name))["/srv/e2e-hand"] for name in both),
          "the mounts are put back", 60, fleet.controller.state)  # fmt: skip

    # An option alone remounts; the same mount stays.
    ids = {name: on(name).check_output(f"findmnt -no ID {DISK}") for name in both}
    fleet.profile("disks", resources("nosuid"), on=both)
    fleet.deploy("Another option", seconds=120)
    for name in both:
        found = mounts(on(name))[DISK]
        assert "nosuid" in found and "noatime" not in found, found
        assert on(name).check_output(f"findmnt -no ID {DISK}") == ids[name]
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan

    # A process in it: the run waits and names it, and goes on by itself.
    busy = on(both[0])
    busy.check_output(f"echo mine >{DISK}/mine; cd {DISK} && (setsid sleep 300 >/dev/null 2>&1 &)")
    for name in both:
        fleet.host(name)
    fleet.remove("profiles/disks.yaml")
    fleet.commit("No disks any more")
    assert fleet.push().returncode == 0
    describe = lambda: fleet.controller.run("describe", "host", both[0]).stdout
    until(lambda: f"cannot unmount {DISK}: sleep (process " in describe(), "the user of the mount is named", 60, describe)
    assert DISK in mounts(busy)
    busy.run("pkill -x sleep")
    until(lambda: DISK not in mounts(busy), "it is unmounted", 60, describe)
    fleet.deploy("Still none", seconds=120)
    for name in both:
        after = on(name).check_output("ls -A /srv; ls /etc/systemd/system /etc/systemd/system/*.wants; findmnt -rno TARGET,VFS-OPTIONS")
        assert after == before[name]
        assert on(name).file("/srv/e2e-hand/file").content_string == "kept\n"
    inside = busy.check_output("mount -o ro,loop /srv/e2e.img /mnt && ls /mnt && umount /mnt").split()
    assert "mine" in inside and "sub" not in inside, inside


def test_what_can_not_be_mounted_is_refused_with_the_reason(fleet, on, both):
    host = on(both[0])
    host.check_output("echo '/srv/e2e.img /srv/e2e-fstab ext4 loop,noauto 0 0' >>/etc/fstab; ln -s /srv/e2e-hand /srv/e2e-link")
    mount = {
        "/srv/e2e-fstab": {"source": "/srv/e2e.img", "options": ["loop"]},
        "/srv/e2e-type": {"source": "/srv/e2e.img", "type": "xfs", "options": ["loop"]},
        "/srv/e2e-gone": {"source": "UUID=0a3407de-014b-458b-b5c1-848e92a327a3", "type": "ext4"},
        "/srv/e2e-link/data": {"source": "x", "type": "tmpfs"},
        "/srv/e2e-hand": {"source": "/srv/e2e.img", "type": "ext4", "options": ["loop"]},
    }
    fleet.profile("refused", {"mount": mount}, on=both[:1])
    fleet.commit("What can't be")
    problems = fleet.plan(both[0])["hosts"][both[0]]["problems"]
    told = {problem["resource"]: problem["message"] for problem in problems}
    assert told == {
        "mount:/srv/e2e-fstab": told["mount:/srv/e2e-fstab"],
        "mount:/srv/e2e-type": "/srv/e2e.img has a file system of the type ext4, not xfs",
        "mount:/srv/e2e-gone": "the host has no device UUID=0a3407de-014b-458b-b5c1-848e92a327a3",
        "mount:/srv/e2e-link/data": "/srv/e2e-link is a symbolic link, and systemd mounts only at a real path",
        "mount:/srv/e2e-hand": "byhand is mounted at /srv/e2e-hand already, and Plumb didn't mount it",
    }, told
    assert "mount:/srv/e2e-fstab and /etc/fstab both decide about /srv/e2e-fstab: line " in told["mount:/srv/e2e-fstab"]
    host.check_output("rm /srv/e2e-link")
    fleet.remove("profiles/refused.yaml")


def test_swap_that_the_host_can_not_use_is_told_and_taken_back(fleet, on, both):
    # Hosts have a file system that can hold a swap file at this place alone.
    good, overlay = "/var/lib/containers/e2e.swap", "/e2e.swap"
    look = "ls -A / /var/lib/containers /etc/systemd/system /etc/systemd/system/*.wants"
    # One after the other: the failure of the first would hold back the second.
    for name in both:
        host = on(name)
        before = host.check_output(look)
        fleet.profile("swap", {"swap": {good: {"size": "4MiB", "priority": 3}, overlay: {"size": "4MiB"}}}, on=[name])
        fleet.commit("Swap in a container")
        assert fleet.push().returncode == 0
        told = lambda name=name: {one["resources"][0]: one["message"] for one in fleet.controller.host(name).status.get("failing", [])}
        until(lambda told=told: len(told()) == 2, "both are told", 60, fleet.controller.state)
        assert "not supported on this system" in told()[f"swap:{good}"], told()
        assert told()[f"swap:{overlay}"].startswith("the file system of / can't hold a swap file")
        file = host.file(good)
        assert (file.mode, file.user, file.size) == (0o600, "root", 4 << 20)
        assert host.check_output(f"blkid -p -o value -s TYPE {good}") == "swap"
        assert "Priority=3" in host.check_output("systemctl cat var-lib-containers-e2e.swap.swap")
        assert host.run("systemd-analyze verify /etc/systemd/system/var-lib-containers-e2e.swap.swap").stderr == ""
        fleet.host(name)
        fleet.remove("profiles/swap.yaml")
        fleet.deploy("No swap", seconds=120)
        assert host.check_output(look) == before
