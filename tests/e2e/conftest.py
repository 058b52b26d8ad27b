"""Real hosts, a real git server, a real Alertmanager: one fleet for all tests of the session.

`tests/run e2e` boots the rig and runs pytest on its network; nothing here works outside of it."""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import testinfra

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from alerting import Alertmanager  # noqa: E402
from fleet import ROOT, Fleet  # noqa: E402
from waiting import until  # noqa: E402

RIG = ROOT / "tests/rig/rig"


class Rig:
    """The rig's own commands."""

    def __init__(self) -> None:
        done = subprocess.run([RIG, "status"], capture_output=True, text=True)
        if done.returncode != 0 or not os.environ.get("PLUMB_RIG_INSIDE"):
            pytest.exit("these tests run on a rig's network: use `tests/run e2e`", returncode=1)
        self.facts = json.loads(done.stdout)

        # Looking at hosts shares one connection to each; what plumb uses has no part in it.
        self.ssh = Path(self.facts["state"]) / "ssh_config_shared"
        # A virtual machine is slow to answer, and no test cuts its cable.
        patience = "Host v*\n  ServerAliveInterval 20\n  ConnectTimeout 60\n"
        self.ssh.write_text(
            patience + Path(self.facts["sshConfig"]).read_text()
            + f"  ControlMaster auto\n  ControlPath {self.facts['state']}/c-%n\n  ControlPersist 10m\n"
            + "  ServerAliveInterval 3\n  ServerAliveCountMax 2\n"
        )

    def do(self, command: str, name: str) -> None:
        """Changes a host or a service; a shared connection to the host ends."""
        subprocess.run(["ssh", "-F", self.ssh, "-O", "exit", f"root@{name}"], capture_output=True)
        done = subprocess.run([RIG, command, name], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"rig {command} {name}: {done.stderr}"


@pytest.fixture(scope="session")
def rig() -> Rig:
    return Rig()


@pytest.fixture(scope="session")
def alertmanager(rig: Rig) -> Alertmanager:
    return Alertmanager(rig.facts["alertmanager"], Path(rig.facts["notifications"]))


@pytest.fixture(scope="session")
def on(rig: Rig):
    """Looks at a host with testinfra, over SSH as root: independent eyes, never our own observe."""
    made = {}

    def look(name: str):
        if name not in made:
            made[name] = testinfra.get_host(f"ssh://root@{name}", ssh_config=str(rig.ssh))
        return made[name]

    return look


def fresh(rig: Rig, name: str) -> None:
    """A host that another fleet had, the contract tier's for one, begins from nothing."""
    look = ["ssh", "-F", rig.ssh, f"root@{name}", "test -e /var/lib/plumb"]
    if subprocess.run(look, stdin=subprocess.DEVNULL).returncode == 0:
        rig.do("wipe", name)


@contextmanager
def running(rig: Rig, hosts: dict, seconds: float):
    """A fleet of these hosts, followed by a controller of its own."""
    plumb = Path(os.environ["PLUMB"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: fresh(rig, name), hosts))
    # gpg's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="pe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        fleet = Fleet({**rig.facts, "hosts": hosts}, plumb, Path(folder))
        try:
            fleet.start()
            fleet.controller.wait(fleet.introduction, fleet.names, seconds)
            yield fleet
        finally:
            keep = os.environ.get("PLUMB_E2E_LOG")
            if keep and fleet.controller.log.exists():
                Path(keep).write_bytes(fleet.controller.log.read_bytes())
            fleet.end()


@pytest.fixture(scope="session")
def session_fleet(rig: Rig):
    with running(rig, rig.facts["hosts"], 120) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def session_machines(rig: Rig):
    assert rig.facts["machines"], "there is no virtual machine: `tests/rig/rig vm v1` boots one"
    with running(rig, rig.facts["machines"], 300) as fleet:
        yield fleet


def at_baseline(fleet: Fleet, test: str) -> Fleet:
    if len(fleet.stuck) == 2:
        pytest.fail(f"the fleet didn't get back to its baseline before {' and '.join(fleet.stuck)}")
    try:
        fleet.baseline()
    except AssertionError:
        fleet.stuck.append(test)
        raise
    return fleet


@pytest.fixture
def fleet(session_fleet: Fleet, request):
    """The fleet at its baseline: ten hosts that have a greeting, all ready."""
    return at_baseline(session_fleet, request.node.name)


@pytest.fixture
def machines(session_machines: Fleet, request):
    """The same with the rig's virtual machines as the fleet's hosts, for the tier `vm`."""
    return at_baseline(session_machines, request.node.name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the controller said."""
    report = (yield).get_result()
    known = getattr(item, "funcargs", {})
    fleet = known.get("fleet") or known.get("machines")
    if report.when == "call" and report.failed and fleet is not None:
        report.sections.append(("controller", fleet.controller.tail(80)))
    if report.failed:
        # At once, as a run that is cut short says nothing at its end.
        item.config.pluginmanager.get_plugin("terminalreporter").write_line(f"\n{item.name}: {report.longreprtext[-6000:]}")


__all__ = ["until"]
