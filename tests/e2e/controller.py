"""A running controller, and what it says of hosts."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import yaml
from waiting import until


class Controller:
    """`plumb controller` as a process of its own, on the hosts' network."""

    def __init__(self, plumb: Path, folder: Path, spec: dict, env: dict):
        self.plumb, self.folder = plumb, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.spec = {"state": str(folder / "state"), "socket": str(folder / "plumb.sock"), **spec}
        self.env = {**env, "PLUMB_SOCKET": self.spec["socket"], "NO_COLOR": "1", "PLUMB_LOG": "info,plumb_controller=debug"}
        self.log = folder / "controller.log"
        self.process: subprocess.Popen | None = None

    def write(self) -> Path:
        """Writes the configuration."""
        file = self.folder / "controller.yaml"
        file.write_text(yaml.safe_dump({"kind": "Controller", "spec": self.spec}))
        return file

    def start(self, *arguments: str, wait: bool = True) -> None:
        """Starts it, and waits until it has read the source."""
        assert self.process is None, "it runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.plumb), "controller", "--config", str(self.write()), *arguments],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if wait:
            until(self.answers, "the controller answers", 30, self.tail)

    def answers(self) -> bool:
        assert self.process is None or self.process.poll() is None, f"the controller ended:\n{self.tail()}"
        return self.run("get", "hosts", "-o", "json").returncode == 0

    def stop(self) -> int | None:
        """An orderly end: it drains. Returns its exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            code = self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None
        return code

    def kill(self) -> None:
        """The end without warning."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def tail(self, lines: int = 60) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    # What it says.

    def run(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess:
        """A command of the CLI, against this controller."""
        done = subprocess.run([str(self.plumb), *arguments], env=self.env, cwd=self.folder,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
        if check:
            assert done.returncode == 0, f"plumb {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def ask(self, *arguments: str) -> dict:
        """The same with JSON as the answer."""
        return json.loads(self.run(*arguments, "-o", "json", check=True).stdout)

    def hosts(self) -> dict[str, "HostView"]:
        """All hosts by name; none while it doesn't answer."""
        done = self.run("get", "hosts", "-o", "json")
        if done.returncode != 0:
            return {}
        return {item["metadata"]["name"]: HostView(item) for item in json.loads(done.stdout)["items"]}

    def host(self, name: str) -> "HostView":
        """One host; one that isn't spoken of yet has no conditions."""
        return self.hosts().get(name) or HostView({"metadata": {}, "status": {}})

    def revisions(self) -> list[dict]:
        return self.ask("get", "revisions")["items"]

    def verdict(self, commit: str) -> str | None:
        """What became of a commit."""
        return next((one["verdict"] for one in self.revisions() if one["commit"] == commit), None)

    def state(self) -> str:
        """All of it, for messages of tests."""
        return self.run("get", "hosts").stdout + self.run("get", "revisions").stdout + "\n" + self.tail()

    def converged(self, revision: str, names: list[str]) -> bool:
        """Whether these hosts run this revision, whole."""
        hosts = self.hosts()
        return all(name in hosts and hosts[name].runs(revision) for name in names)

    def wait(self, revision: str, names: list[str], seconds: float = 90) -> None:
        """Until these hosts run this revision, whole."""
        what = f"{', '.join(names)} run {revision[:10]}"
        until(lambda: self.converged(revision, names), what, seconds, self.state)

    def settle(self, seconds: float = 0.5) -> None:
        time.sleep(seconds)


class HostView:
    """A host as the controller reports it."""

    def __init__(self, item: dict):
        self.item = item
        self.labels = item["metadata"].get("labels", {})
        self.status = item["status"]
        # A message with what `describe` shows beside its headline.
        for one in [*self.status.get("conditions", []), *self.status.get("failing", []), *self.status.get("giveBacks", [])]:
            one["message"] = "\n".join(one[part] for part in ("message", "detail", "hint") if one.get(part))
        self.conditions = {one["type"]: one for one in self.status.get("conditions", [])}

    def is_(self, condition: str) -> bool | None:
        """A condition's status: none where it is unknown or not spoken of."""
        found = self.conditions.get(condition, {}).get("status")
        return {"True": True, "False": False}.get(found)

    def runs(self, revision: str) -> bool:
        return self.is_("Ready") is True and self.status.get("revision") == revision

    def reason(self, condition: str) -> str:
        return self.conditions.get(condition, {}).get("reason", "")

    def message(self, condition: str) -> str:
        return self.conditions.get(condition, {}).get("message", "")
