"""Containers: Compose projects on Debian 12 (podman-compose) and 13 (Docker's program on podman), and quadlets on 13."""

import json
from pathlib import Path

import pytest
from waiting import until

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes"
PACKAGES = ["podman crun netavark iptables busybox-static podman-compose", "podman crun netavark iptables busybox-static docker-compose"]
CONF = Path("/etc/containers/containers.conf.d/e2e.conf")
IMAGE = "mkdir -p /tmp/i/bin && cp /bin/busybox /tmp/i/bin/ && ln -sf busybox /tmp/i/bin/sh && tar -C /tmp/i -c . | podman import - localhost/e2e:1"

# `job` ends after its work, `web` runs; the value shows that no variable is read as anything else.
PROJECT = """services:
  web:
    image: {image}
    restart: always
    stop_grace_period: 1s
    command: [/bin/sh, -c, 'trap "exit 0" TERM; echo "$$GREETING" >/data/greeting; while :; do /bin/busybox sleep 1; done']
    environment: {{GREETING: "${{GREETING}}"}}
    volumes: ["data:/data"]
    ports: ["127.0.0.1:8095:80"]
  job:
    image: {image}
    command: [/bin/sh, -c, 'exit 0']
volumes:
  data: {{}}
"""
FIRST = 'hello $HOME "x" \'y\''


def read(host, container: str, path: str) -> str:
    return host.check_output(f"podman exec {container} /bin/busybox cat {path}")


@pytest.fixture(scope="module")
def pair(session_fleet, on):
    """The last host of each release with an image that only it has, by its digest. All of it goes again."""
    hosts = session_fleet.rig["hosts"]
    pair = [[name for name in hosts if hosts[name]["suite"] == suite][-1] for suite in ("bookworm", "trixie")]
    installed = lambda name: set(on(name).check_output("dpkg-query --show --showformat '${Package}\\n'").split())
    before = [installed(name) for name in pair]
    images = {}
    # Debian 12's crun needs controllers of control groups, which the rig's hosts don't have.
    on(pair[0]).check_output(f"mkdir -p {CONF.parent} && printf '[containers]\\ncgroups = \"disabled\"\\n' >{CONF}")
    for name, packages in zip(pair, PACKAGES, strict=True):
        on(name).check_output(f"{INSTALL} {packages}")
        on(name).check_output(IMAGE)
        images[name] = "localhost/e2e@" + on(name).check_output("podman image inspect localhost/e2e:1 --format '{{.Digest}}'")
    yield images
    on(pair[0]).check_output(f"rm {CONF}")
    for name, old in zip(pair, before, strict=True):
        on(name).check_output("podman system reset --force; rm -rf /tmp/i; systemctl disable --quiet --now podman.socket podman.service || true")
        on(name).check_output(f"DEBIAN_FRONTEND=noninteractive apt-get purge -qq --yes {' '.join(sorted(installed(name) - old))}")


def in_sync(fleet, names: list[str]) -> None:
    plan = fleet.plan(*names)["hosts"]
    assert [plan[name]["changes"] for name in names] == [[] for _ in names], plan


def shown(host) -> dict[str, dict]:
    """The project's containers by service, as podman shows them."""
    found = json.loads(host.check_output("podman ps --all --format json --filter label=com.docker.compose.project=e2e"))
    return {one["Labels"]["com.docker.compose.service"]: one for one in found}


def put(fleet, by_host: dict[str, str], greeting: str, **more: object) -> None:
    for number, (name, image) in enumerate(by_host.items()):
        fleet.write(f"files/compose-{name}.yaml", PROJECT.format(image=image))
        project = {"file": f"files/compose-{name}.yaml", "environment": {"GREETING": greeting}, **more}
        resources = {"compose": {"e2e": project}}
        if number == 1:
            resources["service"] = {"podman.socket": {"state": "started"}}
        fleet.host(name, resources=resources, os={"family": "debian", "release": ["12", "13"][number]})


def test_a_compose_project_runs_changes_and_leaves_its_volumes(fleet, on, pair):
    names = list(pair)
    put(fleet, pair, FIRST)
    fleet.deploy("A project", names=names, seconds=180)
    for name in names:
        host = on(name)
        now = shown(host)
        assert (now["web"]["State"], now["job"]["State"], now["job"]["ExitCode"]) == ("running", "exited", 0), now
        assert host.check_output(f"podman image inspect {now['web']['ImageID']} --format '{{{{.Digest}}}}'") in pair[name]
        assert read(host, now["web"]["Names"][0], "/data/greeting") == FIRST
        assert host.check_output("stat -c '%U %a' /var/lib/plumb/compose/e2e /var/lib/plumb/compose/e2e/*") == "root 700\nroot 600\nroot 600"
    in_sync(fleet, names)

    def corrected(times: int) -> None:
        """A container runs before the run that started it has ended, and what is done by hand then counts as made by it."""
        told = lambda name: fleet.controller.log.read_text().count(f'drift corrected: compose:e2e host="{name}"')
        until(lambda: all(told(name) >= times for name in names), "the runs end", 60, fleet.controller.state)

    # Stopped, removed, frozen or replaced by hand: put right. What ended by itself isn't started again.
    stopped, removed = on(names[0]), on(names[1])
    job = shown(removed)["job"]["Id"]
    stopped.check_output(f"podman stop {shown(stopped)['web']['Id']}")
    changes = fleet.plan(names[0])["hosts"][names[0]]["changes"]
    assert [(one["resource"], one["cause"], one["consequences"]) for one in changes] == [("compose:e2e", "drift", ["restarts containers of e2e"])], changes
    removed.check_output(f"podman rm --force {shown(removed)['web']['Id']}")
    for host in (stopped, removed):
        until(lambda host=host: shown(host).get("web", {}).get("State") == "running", "web runs again", 90, fleet.controller.state)
    assert shown(removed)["job"]["Id"] == job
    corrected(1)
    old = shown(stopped)["web"]
    labels = " ".join(f"--label {key}={value}" for key, value in old["Labels"].items())
    stopped.check_output(f"podman rm --force {old['Id']} && podman run --detach --name {old['Names'][0]} {labels} localhost/e2e:1 /bin/busybox sleep 600")
    removed.check_output(f"podman pause {shown(removed)['web']['Id']}")
    until(lambda: "greeting" in str(shown(stopped).get("web", {}).get("Command")), "the stranger is replaced", 90, fleet.controller.state)
    until(lambda: shown(removed)["web"]["State"] == "running", "web is thawed", 90, fleet.controller.state)
    corrected(2)

    # Another value recreates the container; its volume stays.
    for name in names:
        on(name).check_output(f"podman exec {shown(on(name))['web']['Names'][0]} /bin/sh -c 'echo mine >/data/mine'")
    put(fleet, pair, "bye")
    fleet.deploy("Another value", names=names, seconds=120)
    for name in names:
        web = shown(on(name))["web"]["Names"][0]
        assert (read(on(name), web, "/data/greeting"), read(on(name), web, "/data/mine")) == ("bye", "mine")
    in_sync(fleet, names)

    # An image that is only a tag is refused before anything is changed, unless a tag is enough.
    ran = {name: shown(on(name))["web"]["Id"] for name in names}
    put(fleet, dict.fromkeys(names, "localhost/e2e:1"), "bye")
    fleet.commit("A tag")
    assert fleet.push().returncode == 0
    failing = lambda: [one["message"] for name in names for one in fleet.controller.host(name).status.get("failing", [])]
    until(failing, "the tag is refused", 60, fleet.controller.state)
    assert "has no digest: localhost/e2e:1" in failing()[0], failing()
    assert {name: shown(on(name))["web"]["Id"] for name in names} == ran
    put(fleet, dict.fromkeys(names, "localhost/e2e:1"), "bye", images="tag")
    fleet.deploy("A tag is enough", names=names, seconds=120)

    for name in names:
        fleet.host(name)
    plan = fleet.plan(*names)["hosts"]
    for name in names:
        change = next(one for one in plan[name]["changes"] if one["resource"] == "compose:e2e")
        assert change["op"] == "delete", change
    fleet.deploy("No project", names=names, seconds=120)
    for name in names:
        host = on(name)
        assert shown(host) == {}
        assert host.check_output("podman network ls --quiet --filter label=com.docker.compose.project=e2e; podman pod ls --quiet") == ""
        assert host.check_output("podman volume ls --quiet") == "e2e_data"
        assert not host.file("/var/lib/plumb/compose/e2e").exists


def test_a_container_is_a_service_of_systemd(fleet, on, pair):
    """Debian 13's podman makes a service of the quadlet."""
    name, image = list(pair.items())[1]
    host = on(name)
    container = {
        "image": image, "ports": ["127.0.0.1:8096:80"], "volumes": ["/srv/e2e-quadlet:/data"], "environment": {"GREETING": FIRST},
        "run": ["/bin/sh", "-c", 'echo "$GREETING" >/data/greeting; trap "exit 0" TERM; while :; do /bin/busybox sleep 1; done'],
    }  # fmt: skip
    resources = {"directory": {"/srv/e2e-quadlet": {}}, "container": {"e2e-quadlet": container | {"after": ["directory:/srv/e2e-quadlet"]}}}
    system = {"os": {"family": "debian", "release": "13"}}
    fleet.host(name, resources=resources, **system)
    fleet.deploy("A container", names=[name], seconds=120)
    assert host.service("e2e-quadlet").is_running
    assert host.check_output("podman ps --format '{{.Names}} {{.Image}}'") == f"e2e-quadlet {image}"
    assert host.file("/srv/e2e-quadlet/greeting").content_string.strip() == FIRST
    assert host.check_output("systemctl show -P WantedBy e2e-quadlet") == "multi-user.target"
    host.check_output("/usr/libexec/podman/quadlet --dryrun")
    in_sync(fleet, [name])

    container["environment"]["GREETING"] = "bye"
    fleet.host(name, resources=resources, **system)
    fleet.deploy("Another value", names=[name], seconds=120)
    until(lambda: host.file("/srv/e2e-quadlet/greeting").content_string.strip() == "bye", "it restarts", 30, fleet.controller.state)
    host.run("systemctl stop e2e-quadlet")
    until(lambda: host.service("e2e-quadlet").is_running, "it is started again", 60, fleet.controller.state)

    fleet.host(name)
    fleet.deploy("No container", names=[name], seconds=120)
    assert host.check_output("podman ps --all --quiet") == ""
    assert not host.file("/etc/containers/systemd/e2e-quadlet.container").exists
    host.check_output("rm -r /srv/e2e-quadlet")
    assert host.check_output("systemctl show -P LoadState e2e-quadlet") == "not-found"
