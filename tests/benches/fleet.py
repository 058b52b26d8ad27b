"""A signed fleet repository and a controller for the benchmarks, in a folder of their own."""

import http.client
import json
import os
import re
import socket
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import workload

CONTROLLER = """kind: Controller
spec:
  source: {{url: "{url}", ref: refs/heads/main, poll: 60s}}
  introduction: {{commit: {introduction}}}
  state: {state}
  socket: {socket}
  listen: 127.0.0.1:{port}
  ssh: {{key: {key}}}
  alertmanagers: []
  resync: 30m
"""


class Local(http.client.HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: Path):
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


class Fleet:
    """A work tree, its signing key, and the controller that follows its remote."""

    def __init__(self, folder: Path, plumb: Path, rig: dict, hosts: dict, url: str, ssh_command: str):
        self.folder, self.plumb, self.rig, self.hosts, self.url = folder, plumb, rig, hosts, url
        self.tree = folder / "fleet"
        self.config = folder / "controller.yaml"
        self.socket = folder / "plumb.sock"
        self.controller: subprocess.Popen | None = None
        home = folder / "home"
        home.mkdir(parents=True)
        self.signing = folder / "signing"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", self.signing], check=True)
        (home / ".gitconfig").write_text(
            "[user]\n\tname = Bench\n\temail = bench@example.invalid\n"
            f"\tsigningkey = {self.signing}\n[gpg]\n\tformat = ssh\n[commit]\n\tgpgsign = true\n"
            "[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
        )
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": ssh_command, "PLUMB_SOCKET": str(self.socket), "NO_COLOR": "1",
        }  # fmt: skip

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.tree), *arguments]
        done = subprocess.run(command, env=self.env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def create(self) -> None:
        """The first commit: the introduction, and all hosts as they are to be."""
        workload.write_plumb(self.tree, self.hosts)
        keys = self.tree / "trust/keys"
        keys.mkdir(parents=True)
        public = self.signing.with_suffix(".pub").read_text()
        (keys / "bench.pub").write_text(public)
        listing = subprocess.run(["ssh-keygen", "-lf", f"{self.signing}.pub"], check=True, capture_output=True, text=True)
        fingerprint = listing.stdout.split()[1]
        need = [{"from": "ops", "count": 1}]
        policy = {
            "kind": "TrustPolicy",
            "metadata": {"name": "main"},
            "spec": {
                "serial": 1, "repository": str(uuid.uuid4()), "ref": "refs/heads/main", "bindRef": "none",
                "identities": {"bench": {"keys": [{"ssh": fingerprint}]}},
                "groups": {"ops": ["bench"]},
                "rules": [{"paths": ["**"], "need": need}, {"paths": ["trust/**"], "need": need}],
                "sideBranches": "vouched",
            },
        }  # fmt: skip
        (self.tree / "trust/policy.yaml").write_text(json.dumps(policy, indent=1) + "\n")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "The fleet")
        self.git("remote", "add", "origin", self.url)
        introduction = self.git("rev-parse", "HEAD")
        self.config.write_text(
            CONTROLLER.format(
                url=self.url, introduction=introduction, state=self.folder / "state", socket=self.socket,
                port=9181, key=self.rig["key"],
            )  # fmt: skip
        )

    def push(self) -> None:
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        command = [str(self.plumb), *arguments]
        done = subprocess.run(command, env=self.env, cwd=self.tree, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)} failed:\n{done.stderr}")
        return done

    def start_controller(self) -> None:
        log = open(self.folder / "controller.log", "ab")
        command = [str(self.plumb), "controller", "--config", str(self.config)]
        self.controller = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def phases(self) -> dict[str, float]:
        """How long a host's runs took so far, by phase, in seconds: the mean of all hosts."""
        with urllib.request.urlopen("http://127.0.0.1:9181/metrics", timeout=10) as answer:
            text = answer.read().decode()
        sums = re.findall(r'^plumb_reconcile_duration_seconds_sum\{phase="(\w+)"\} (\S+)', text, re.M)
        return {phase: float(total) / len(self.hosts) for phase, total in sums}

    def stop_controller(self) -> None:
        if self.controller:
            self.controller.terminate()
            self.controller.wait(60)
            self.controller = None

    def converged(self, revision: str) -> bool:
        """Whether every host runs this revision and is ready.

        Asks over the controller's socket: a `plumb get` each time would take a good part of two cores."""
        try:
            asked = Local(self.socket)
            asked.request("GET", "/api/v1/hosts")
            items = json.loads(asked.getresponse().read())["items"]
            asked.close()
        except OSError:
            return False
        ready = 0
        for item in items:
            conditions = {c["type"]: c["status"] for c in item["status"].get("conditions", [])}
            ready += item["status"].get("revision") == revision and conditions.get("Ready") == "True"
        return ready == len(self.hosts)

    def wait(self, revision: str, seconds: float) -> float:
        """Waits until every host runs the revision; how long that took."""
        begun = time.monotonic()
        while not self.converged(revision):
            if time.monotonic() - begun > seconds:
                state = self.run("get", "hosts", check=False)
                tail = (self.folder / "controller.log").read_text()[-3000:]
                raise SystemExit(f"bench: not converged in {seconds} s:\n{state.stdout}{state.stderr}\n{tail}")
            time.sleep(0.02)
        return time.monotonic() - begun
