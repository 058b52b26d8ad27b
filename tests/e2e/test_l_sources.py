"""Files that come from elsewhere, on Debian 12 and 13: archives, commits, keys and blocks in files of others."""

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import tarfile

import pytest
from waiting import until

REPOSITORY = """
set -e
export GIT_AUTHOR_NAME=e GIT_AUTHOR_EMAIL=e@example GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=e GIT_COMMITTER_EMAIL=e@example GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
rm -rf /srv/e2e-up && git init -q /srv/e2e-up && cd /srv/e2e-up
mkdir sub && echo one >index && echo two >sub/page && ln -s index home
printf '* filter=evil\\n' >.gitattributes
git add . && git commit -qm one
echo three >index && git rm -q sub/page && git commit -qam two
git rev-parse HEAD~1 HEAD
"""


def packed(files: dict[str, bytes], mode: str, links: dict[str, str] | None = None) -> bytes:
    """A tar file that is the same wherever it is made."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o775 if "/bin/" in name else 0o666
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    pack = {"gz": lambda data: gzip.compress(data, mtime=0), "bz2": bz2.compress, "xz": lzma.compress, "tar": bytes}
    return pack[mode](raw.getvalue())


ONE = packed({"app-1/bin/run": b"#!/bin/sh\necho one\n", "app-1/doc/old": b"old\n", "app-1/conf": b"default\n"}, "gz", {"app-1/run": "bin/run"})
TWO = packed({"app-2/bin/run": b"#!/bin/sh\necho two\n", "app-2/conf": b"default\n"}, "tar")
EVIL = packed({"x/f": b"x"}, "gz", {"x/out": "../../etc/passwd"})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def both(fleet):
    """A host of each release."""
    return [fleet.names[0], fleet.names[-1]]


@pytest.fixture
def sources(on, both):
    """A web server and a repository on each host. Returns the two commits of the repository."""
    files = {"one.tgz": ONE, "evil.tgz": EVIL}
    commits = set()
    for name in both:
        host = on(name)
        host.run("mkdir -p /srv/e2e-www")
        for file, data in files.items():
            assert host.run(f"echo {base64.b64encode(data).decode()} | base64 -d >/srv/e2e-www/{file}").rc == 0
        assert host.run("systemd-run --unit e2e-www python3 -m http.server 8097 --bind 127.0.0.1 --directory /srv/e2e-www").rc == 0
        commits.add(host.check_output(REPOSITORY))
    assert len(commits) == 1, commits
    yield commits.pop().split()
    for name in both:
        on(name).run("systemctl stop e2e-www; rm -rf /srv/e2e-www /srv/e2e-up")


def in_sync(fleet, both: list[str]) -> None:
    plan = fleet.plan(*both)["hosts"]
    assert [plan[name]["changes"] for name in both] == [[], []], plan


def failing(fleet, name: str) -> dict[str, dict]:
    status = fleet.controller.host(name).status
    return {one["resources"][0]: one for one in status.get("failing", [])}


def url(file: str, data: bytes) -> dict:
    return {"url": f"http://127.0.0.1:8097/{file}", "sha256": digest(data)}


def test_archive_and_commit_are_put_in_place_changed_and_taken_away(fleet, on, both, sources):
    one, two = sources
    before = {name: on(name).check_output("ls -la /opt /srv | grep -v -e total -e ' [.]'") for name in both}
    (fleet.tree / "files").mkdir(exist_ok=True)
    (fleet.tree / "files/two.tar").write_bytes(TWO)
    app = {"strip": 1, "owner": "games"}
    site = {"url": "file:///srv/e2e-up", "group": "games"}
    fleet.profile("sources", {"archive": {"/opt/e2e/app": url("one.tgz", ONE) | app}, "git": {"/opt/e2e/site": site | {"commit": one}}}, on=both)
    fleet.deploy("Sources", seconds=120)
    for name in both:
        host = on(name)
        assert host.check_output("/opt/e2e/app/run") == "one"
        assert host.check_output("stat -c '%U:%G %a' /opt/e2e/app /opt/e2e/app/bin/run /opt/e2e/app/conf") == (
            "games:root 755\ngames:root 755\ngames:root 644"
        )
        assert host.check_output("cd /opt/e2e/site; cat index sub/page home; ls -A") == "one\ntwo\none\n.gitattributes\nhome\nindex\nsub"
        assert host.check_output("stat -c '%U:%G' /opt/e2e/site/sub/page") == "root:games"
        assert host.check_output("ls -A /opt/e2e") == "app\nsite"
    in_sync(fleet, both)

    # What was changed by hand is drift; what others put beside it stays.
    host = on(both[0])
    host.run("echo mine >/opt/e2e/app/doc/mine; echo x >>/opt/e2e/app/conf; rm /opt/e2e/site/sub/page; echo y >/opt/e2e/site/upload")
    drifted = {change["resource"]: change for change in fleet.plan(both[0])["hosts"][both[0]]["changes"]}
    assert all(change["cause"] == "drift" for change in drifted.values()), drifted
    until(lambda: host.run("cat /opt/e2e/app/conf").stdout == "default\n" and host.file("/opt/e2e/site/sub/page").exists, "the files are put back", 90, fleet.controller.state)

    # A newer archive from the repository, another commit.
    resources = {"archive": {"/opt/e2e/app": {"file": "files/two.tar"} | app}, "git": {"/opt/e2e/site": site | {"commit": two}}}
    fleet.profile("sources", resources, on=both)
    fleet.deploy("Newer ones", seconds=120)
    for name in both:
        assert on(name).check_output("sh /opt/e2e/app/bin/run; cat /opt/e2e/site/index") == "two\nthree"
        assert not on(name).file("/opt/e2e/app/doc/old").exists and not on(name).file("/opt/e2e/site/sub").exists
    assert host.check_output("cat /opt/e2e/app/doc/mine /opt/e2e/site/upload") == "mine\ny"
    in_sync(fleet, both)

    # One that would lead out of its folder changes nothing, and says why.
    fleet.profile("sources", {"archive": {"/opt/e2e/app": url("evil.tgz", EVIL) | app}, "git": resources["git"]}, on=both)
    fleet.commit("An archive with a link to elsewhere")
    assert fleet.push().returncode == 0
    until(lambda: "archive:/opt/e2e/app" in failing(fleet, both[0]), "it is refused", 60, fleet.controller.state)
    told = failing(fleet, both[0])["archive:/opt/e2e/app"]["message"]
    assert "`out` is a link to ../../etc/passwd, outside of the folder" in told, told
    assert host.check_output("sh /opt/e2e/app/bin/run; ls -A /opt/e2e") == "two\napp\nsite"
    fleet.profile("sources", resources, on=both)
    fleet.deploy("The good one again", seconds=120)

    host.run("rm /opt/e2e/app/doc/mine; rmdir /opt/e2e/app/doc")
    for name in both:
        fleet.host(name)
    fleet.remove("profiles/sources.yaml")
    fleet.deploy("No sources any more", seconds=120)
    assert host.check_output("find /opt/e2e") == "/opt/e2e\n/opt/e2e/site\n/opt/e2e/site/upload"
    host.run("rm -r /opt/e2e")
    for name in both:
        assert on(name).check_output("ls -la /opt /srv | grep -v -e total -e ' [.]'") == before[name]


def test_keys_are_made_on_the_host_and_blocks_leave_files_as_they_were(fleet, on, both):
    template = "/etc/cloud/templates/hosts.debian.tmpl"
    before = {name: on(name).check_output("sha256sum /etc/hosts; stat -c %a:%U:%i /etc/hosts | cut -d: -f1,2") for name in both}
    on(both[0]).run(f"mkdir -p /etc/cloud/templates && printf '127.0.0.1 {{{{fqdn}}}}' >{template}")
    keys = {"/etc/wireguard/e2e.key": {"type": "wireguard"}, "/root/.ssh/e2e": {"type": "ssh"}}
    hosts = {"fleet": {"extra": ["203.0.113.9 e2e-cache"]}}
    services = {"/etc/e2e-services": {"content": "e2e 8123/tcp\n", "block": True}}
    fleet.profile("keys", {"keypair": keys, "hosts": hosts, "file": services}, on=both)
    fleet.deploy("Keys and blocks", seconds=120)
    public = {}
    for name in both:
        host = on(name)
        assert host.check_output("stat -c '%a %U' /etc/wireguard/e2e.key /root/.ssh/e2e") == "600 root\n600 root"
        public[name] = host.check_output("ssh-keygen -y -f /root/.ssh/e2e")
        assert host.check_output("getent hosts e2e-cache").split()[0] == "203.0.113.9"
        assert host.file("/etc/e2e-services").content_string == "# BEGIN plumb\ne2e 8123/tcp\n# END plumb\n"
        assert not (name != both[0] and host.file(template).exists), "no template is made where there is none"
    assert len(set(public.values())) == 2
    assert "203.0.113.9 e2e-cache" in on(both[0]).check_output(f"cat {template}")
    told = fleet.controller.run("events", both[0]).stdout
    assert "made keypair:/etc/wireguard/e2e.key" in told, told
    private = on(both[0]).check_output("cat /etc/wireguard/e2e.key")
    shown = told + fleet.controller.run("describe", "host", both[0]).stdout + fleet.controller.log.read_text()
    assert private not in shown and "OPENSSH PRIVATE" not in shown
    in_sync(fleet, both)

    # A manifest that names another key is told, and the key stays.
    other = {"/root/.ssh/e2e": {"type": "ssh", "publicKey": public[both[1]]}}
    fleet.profile("keys", {"keypair": keys | other, "hosts": hosts, "file": services}, on=both)
    fleet.commit("The other host's key")
    assert fleet.push().returncode == 0
    until(lambda: "keypair:/root/.ssh/e2e" in failing(fleet, both[0]), "another key is refused", 60, fleet.controller.state)
    assert on(both[0]).check_output("ssh-keygen -y -f /root/.ssh/e2e") == public[both[0]]

    for name in both:
        fleet.host(name)
    fleet.remove("profiles/keys.yaml")
    fleet.deploy("Neither keys nor blocks", seconds=120)
    for name in both:
        assert on(name).check_output("sha256sum /etc/hosts; stat -c %a:%U:%i /etc/hosts | cut -d: -f1,2") == before[name]
        assert not any(on(name).file(path).exists for path in ("/etc/wireguard", "/root/.ssh/e2e", "/etc/e2e-services"))
    assert on(both[0]).check_output(f"cat {template}") == "127.0.0.1 {{fqdn}}"
    on(both[0]).run("rm -r /etc/cloud/templates; rmdir /etc/cloud --ignore-fail-on-non-empty")
