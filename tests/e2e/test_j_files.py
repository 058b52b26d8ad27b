"""Files on a real host: what a write keeps, what one bad mount stops, what a plan shows."""

import json

from waiting import until

# Sets and reads extended attributes without the programs of `acl` and `attr`.
XATTR = """
import os, sys
path, name, *value = sys.argv[1:]
if value:
    os.setxattr(path, name, bytes.fromhex(value[0]))
print(os.getxattr(path, name).hex())
"""
ACCESS = "system.posix_acl_access"
# user::rw-, user:5:rw-, group::r--, mask::rw-, other::---
ACL = "02000000" "01000600ffffffff" "0200060005000000" "04000400ffffffff" "10000600ffffffff" "20000000ffffffff"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"


def xattr(host, *words: str) -> str:
    done = host.run("python3 -c %s " + " ".join(["%s"] * len(words)), XATTR, *words)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def condition(fleet, name: str, kind: str) -> dict:
    return next(c for c in fleet.controller.host(name).status["conditions"] if c["type"] == kind)


def leave(fleet) -> None:
    fleet.host("h2")
    fleet.remove("profiles/files.yaml")
    fleet.deploy("Nothing of it", seconds=120)


def test_new_content_keeps_an_acl_and_the_original_has_it_again(fleet, on):
    host = on("h2")
    host.run("printf 'theirs\\n' >/etc/e2e-app.conf; chmod 640 /etc/e2e-app.conf")
    xattr(host, "/etc/e2e-app.conf", ACCESS, ACL)
    xattr(host, "/etc/e2e-app.conf", "user.origin", b"cmdb".hex())
    wish = lambda text: {"file": {"/etc/e2e-app.conf": {"content": text, "mode": "0640", "owner": "root", "group": "root"}}}
    fleet.profile("files", wish("one\n"), on=["h2"])
    fleet.deploy("One")
    fleet.profile("files", wish("two\n"), on=["h2"])
    change = fleet.plan("h2")["hosts"]["h2"]["changes"]
    assert [field["path"] for one in change for field in one["patch"]] == ["/content"], change
    fleet.deploy("Two")
    assert host.file("/etc/e2e-app.conf").content_string == "two\n"
    assert xattr(host, "/etc/e2e-app.conf", ACCESS) == ACL
    assert xattr(host, "/etc/e2e-app.conf", "user.origin") == b"cmdb".hex()
    leave(fleet)
    assert host.file("/etc/e2e-app.conf").content_string == "theirs\n"
    assert xattr(host, "/etc/e2e-app.conf", ACCESS) == ACL
    host.run("rm /etc/e2e-app.conf")


def test_read_only_mount_stops_only_what_lies_on_it(fleet, on):
    host = on("h2")
    host.run("mkdir -p /srv/ro && mount -t tmpfs -o ro none /srv/ro")
    try:
        fleet.profile(
            "files",
            {
                "file": {"/srv/ro/grub.cfg": {"content": "x\n"}, "/etc/e2e-urgent.conf": {"content": "fix\n"}},
                "sysctl": {"net.core.somaxconn": {"value": "512"}},
            },
            on=["h2"],
        )
        fleet.commit("A file on a read-only mount")
        problems = fleet.plan("h2")["hosts"]["h2"]["problems"]
        assert problems[0]["message"] == "/srv/ro/grub.cfg can't be changed: /srv/ro is mounted read-only", problems
        assert fleet.push().returncode == 0
        until(lambda: host.file("/etc/e2e-urgent.conf").exists, "the other file is there", 60, fleet.controller.state)
        until(lambda: condition(fleet, "h2", "Ready")["reason"] == "ReadOnly", "h2 says why it isn't ready", 60, fleet.controller.state)
        assert host.run("sysctl -n net.core.somaxconn").stdout.strip() == "512"
        host.run("mount -o remount,rw /srv/ro")
        until(lambda: host.file("/srv/ro/grub.cfg").exists, "the file is made once the mount can be written", 90, fleet.controller.state)
        leave(fleet)
    finally:
        host.run("umount /srv/ro")


def test_directory_in_a_files_place_is_refused_by_plan_and_apply(fleet, on):
    host = on("h2")
    host.run("mkdir -p /etc/e2e-conf")
    fleet.profile("files", {"file": {"/etc/e2e-conf": {"content": "x\n"}}}, on=["h2"])
    fleet.commit("A file where a directory is")
    plan = fleet.plan("h2")["hosts"]["h2"]
    assert plan["changes"] == [] and plan["problems"][0]["trouble"] == "refused", plan
    assert fleet.push().returncode == 0
    until(lambda: condition(fleet, "h2", "Ready")["reason"] == "Refused", "h2 says so", 60, fleet.controller.state)
    assert plan["problems"][0]["message"] in condition(fleet, "h2", "Ready")["message"]
    host.run("rmdir /etc/e2e-conf")
    leave(fleet)


def test_plan_shows_lines_at_first_contact(fleet, on):
    host = on("h2")
    host.run("printf 'a\\npassword = hunter2\\n' >/etc/e2e-lines; chmod 644 /etc/e2e-lines")
    fleet.profile("files", {"file": {"/etc/e2e-lines": {"content": "b\npassword = hunter2\n"}}}, on=["h2"])
    plan = fleet.plan("h2")
    diff = plan["hosts"]["h2"]["changes"][0]["diff"]["lines"]
    assert diff == "@@ -1,2 +1,2 @@\n-a\n+b\n password = ***\n", diff
    assert "hunter2" not in json.dumps(diff)
    leave(fleet)
    host.run("rm -f /etc/e2e-lines")


def test_lfs_pointer_holds_the_host_and_the_old_file_stays(fleet, on):
    host = on("h2")
    host.run("printf real >/usr/local/lib/e2e-firmware.bin")
    fleet.write("files/e2e-firmware.bin", POINTER)
    fleet.profile("files", {"file": {"/usr/local/lib/e2e-firmware.bin": {"content": {"file": "files/e2e-firmware.bin"}}}}, on=["h2"])
    fleet.commit("A pointer")
    fleet.hooks(False)
    try:
        assert fleet.push().returncode == 0
        synced = lambda: condition(fleet, "h2", "Synced")
        until(lambda: "is a Git LFS pointer" in synced()["message"], "h2 is held", 60, fleet.controller.state)
    finally:
        fleet.hooks(True)
    assert host.file("/usr/local/lib/e2e-firmware.bin").content_string == "real"
    fleet.remove("files/e2e-firmware.bin")
    leave(fleet)
    host.run("rm /usr/local/lib/e2e-firmware.bin")
