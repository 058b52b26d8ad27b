"""A fleet repository, the people who sign it, the git server that has it, and its controller."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import yaml
from controller import Controller
from people import Person
from waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
REF = "refs/heads/main"


class Fleet:
    def __init__(self, rig: dict, plumb: Path, folder: Path):
        self.rig, self.plumb, self.folder = rig, plumb, folder
        self.names = list(rig["hosts"])
        self.tree = folder / "fleet"
        ssh = f"ssh -F {rig['sshConfig']}"
        self.alice = Person("alice", "openpgp", folder / "people", ssh)
        self.bob = Person("bob", "ssh", folder / "people", ssh)
        self.carol = Person("carol", "openpgp", folder / "people", ssh)
        self.mallory = Person("mallory", "openpgp", folder / "people", ssh)
        self.people = [self.alice, self.bob, self.carol, self.mallory]
        self.repository = str(uuid.uuid4())
        self.alertmanager_url = rig["alertmanager"]
        # The tests before which it didn't get back to its baseline: after two the others needn't wait.
        self.stuck: list[str] = []
        self._begin()

    # Manifests.

    def write(self, path: str, content: dict | str) -> None:
        """A manifest or any other file of the repository."""
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))

    def remove(self, path: str) -> None:
        (self.tree / path).unlink()

    def host(self, name: str, **spec: object) -> None:
        """A host's manifest: how it is reached, and what a test adds."""
        number = int(name[1:])
        one = self.rig["hosts"][name]
        # Every other host is driven as root, the rest by a person's account through sudo.
        user = "root" if number % 2 else "deploy"
        labels = {"role": "web" if number <= 4 else "db", "site": "rig", "number": str(number)}
        base = {"hostKeys": [one["hostKey"]], "connect": [{"user": user, "address": one["address"]}]}
        self.write(f"hosts/{name}.yaml", {"kind": "Host", "metadata": {"name": name, "labels": labels}, "spec": {**base, **spec}})

    def profile(self, name: str, resources: dict, on: list[str] | str = "all", **spec: object) -> None:
        """A profile, and the hosts that have it."""
        self.write(f"profiles/{name}.yaml", {"kind": "Profile", "metadata": {"name": name},
                                             "spec": {"description": f"For the test {name}.", **spec, "resources": resources}})  # fmt: skip
        for host in self.names if on == "all" else on:
            file = self.tree / f"hosts/{host}.yaml"
            manifest = yaml.safe_load(file.read_text())
            manifest["spec"].setdefault("profiles", {})[name] = {}
            file.write_text(yaml.safe_dump(manifest, sort_keys=False))

    def policy(self, serial: int = 1) -> dict:
        return {
            "kind": "TrustPolicy",
            "metadata": {"name": "main"},
            "spec": {
                "serial": serial, "repository": self.repository, "ref": REF, "bindRef": "trailer",
                "identities": {person.name: person.identity() for person in (self.alice, self.bob, self.carol)},
                "groups": {"ops": ["alice", "bob"], "sec": ["carol"]},
                "rules": [
                    {"paths": ["**"], "need": [{"from": "ops", "count": 1}]},
                    {"paths": ["profiles/guarded.yaml"], "need": [{"from": "ops", "count": 2}]},
                    {"paths": ["trust/**"], "need": [{"from": "ops", "count": 2}, {"from": "sec", "count": 1}]},
                ],
            },
        }  # fmt: skip

    def _begin(self) -> None:
        """The introduction: policy, keys, and hosts that have nothing yet but a greeting."""
        self.tree.mkdir(parents=True)
        self.git(self.alice, "init", "--quiet")
        self.write("trust/policy.yaml", self.policy())
        for person in (self.alice, self.bob, self.carol):
            self.write(*person.key_file())
        self.write("profiles/guarded.yaml", {"kind": "Profile", "metadata": {"name": "guarded"},
                                             "spec": {"description": "Two people's.", "resources": {}}})  # fmt: skip
        self.baseline_files()
        self.introduction = self.commit("The fleet", by=self.alice)
        self.git(self.alice, "remote", "add", "origin", self.rig["git"]["url"])
        shutil.copy2(self.plumb, Path(self.rig["git"]["bin"]) / "plumb")
        self.on_git("git config --global --replace-all safe.directory '*' && rm -rf {path} && git init -q --bare --initial-branch=main {path} && chown -R git: {path}")
        self.hooks(True)

    def baseline_files(self) -> None:
        """What every test begins with."""
        for folder in ("hosts", "profiles", "files", "networks", "secrets"):
            for file in (self.tree / folder).glob("*"):
                # It takes two people to change that one, so it stays as it is.
                if file.name != "guarded.yaml":
                    file.unlink()
        self.write("fleet.yaml", {"kind": "Fleet", "metadata": {"name": "e2e"},
                                  "spec": {"domain": "rig.example", "hostDefaults": {"profiles": {"base": {}}}}})  # fmt: skip
        self.write("profiles/base.yaml", {"kind": "Profile", "metadata": {"name": "base"}, "spec": {
            "description": "What every host has.",
            "resources": {"file": {"/etc/plumb-e2e-base": {"content": {"template": "{{ host.name }}\n"}}}},
        }})  # fmt: skip
        for name in self.names:
            self.host(name)

    # Git.

    def git(self, person: Person, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(["git", "-C", str(self.tree), *arguments], env=person.env,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
        if check:
            assert done.returncode == 0, f"git {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def commit(self, message: str, by: Person | None = None, signed: bool = True, trailer: str = "") -> str:
        """Everything in the tree as one commit that says where it is meant. Returns its id."""
        person = by or self.alice
        self.git(person, "add", "--all")
        text = f"{message}\n\n{trailer}Deploy-Ref: {self.repository} {REF}\n"
        self.git(person, "commit", "--quiet", "--allow-empty", "--gpg-sign" if signed else "--no-gpg-sign", "--message", text)
        return self.head()

    def head(self) -> str:
        return self.git(self.alice, "rev-parse", "HEAD")

    def push(self, *arguments: str, by: Person | None = None) -> subprocess.CompletedProcess:
        """`git push` over SSH, as a person does it."""
        return subprocess.run(
            ["git", "-C", str(self.tree), "push", *(arguments or ("origin", f"HEAD:{REF}"))],
            env=(by or self.alice).env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def deploy(self, message: str, by: Person | None = None, names: list[str] | None = None, seconds: float = 90) -> str:
        """Commits, pushes, and waits until the hosts run it."""
        revision = self.commit(message, by)
        pushed = self.push()
        assert pushed.returncode == 0, pushed.stderr
        self.controller.wait(revision, names or self.names, seconds)
        return revision

    def approve(self, commit: str, by: Person) -> None:
        """A signed tag that approves a commit, made and pushed as a person does it."""
        argv = [str(self.plumb), "approve", "--yes", commit, "-C", str(self.tree), "-o", "json"]
        done = subprocess.run(argv, env={**by.env, "NO_COLOR": "1"}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        tag = f"refs/tags/{json.loads(done.stdout)['tag']}"
        pushed = self.push("origin", f"{tag}:{tag}", by=by)
        assert pushed.returncode == 0, pushed.stderr

    def change_policy(self, message: str, change: Callable[[dict], None], seconds: float = 60) -> str:
        """A change of trust/ with the approvals that it needs, deployed."""
        policy = yaml.safe_load((self.tree / "trust/policy.yaml").read_text())
        policy["spec"]["serial"] += 1
        change(policy["spec"])
        self.write("trust/policy.yaml", policy)
        revision = self.commit(message, by=self.alice)
        pushed = self.push()
        assert pushed.returncode == 0, pushed.stderr
        for person in (self.bob, self.carol):
            self.approve(revision, person)
        self.controller.wait(revision, self.names, seconds)
        return revision

    # The git server.

    def on_git(self, script: str) -> str:
        """Runs a script on the git server, as root."""
        argv = ["ssh", "-F", self.rig["sshConfig"], "root@git", script.format(path=self.rig["git"]["path"])]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{script}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def hooks(self, on: bool) -> None:
        """Puts our hooks in place, or takes them away: then a push goes straight into the bare repository."""
        if not on:
            self.on_git("rm -f {path}/hooks/*")
            return
        for name in ("pre-receive", "post-receive"):
            argv = ["ssh", "-F", self.rig["sshConfig"], "root@git", f"cat >{self.rig['git']['path']}/hooks/{name}"]
            subprocess.run(argv, input=(ROOT / "hooks" / name).read_bytes(), check=True)
        self.on_git(
            "chmod 755 {path}/hooks/* && ln -sf /opt/plumb/plumb /usr/local/bin/plumb"
            f" && runuser -u git -- git -C {{path}} config plumb.introduction {self.introduction}"
        )

    def force(self, revision: str) -> None:
        """Sets the branch, past every hook."""
        self.on_git(f"runuser -u git -- git -C {{path}} update-ref {REF} {revision}")
        self.controller.run("notify")

    # The controller.

    def make_controller(self, name: str = "controller", **spec: object) -> Controller:
        base = {
            "source": {"url": self.rig["git"]["url"], "ref": REF, "poll": "5s"},
            "introduction": {"commit": self.introduction},
            "ssh": {"key": self.rig["key"]},
            "alertmanagers": [self.alertmanager_url],
            "resync": "10s",
        }
        env = {**self.bob.env, "HOME": str(self.folder)}
        return Controller(self.plumb, self.folder / name, {**base, **spec}, env)

    def start(self) -> None:
        """The fleet's own controller: it follows the git server, whose hooks reach its socket."""
        self.controller = self.make_controller(socket=f"{self.rig['git']['run']}/plumb.sock", listen="127.0.0.1:9180")
        pushed = self.push()
        assert pushed.returncode == 0, pushed.stderr
        self.controller.start()

    def baseline(self) -> str:
        """Back to what every test begins with, whatever the one before left."""
        if self.controller.process is not None and self.controller.process.poll() is not None:
            self.controller.process = None
        if self.controller.process is None:
            self.controller.start()
        self.hooks(True)
        accepted = self.controller.ask("get", "revisions")["items"]
        floor = next((one["commit"] for one in accepted if one["verdict"] == "accept"), self.introduction)
        if self.on_git(f"git -C {{path}} rev-parse {REF}").strip() != floor:
            self.force(floor)
        self.git(self.alice, "checkout", "--quiet", "--force", "-B", "main", floor)
        self.git(self.alice, "clean", "--quiet", "-fdx")
        self.baseline_files()
        if self.git(self.alice, "status", "--porcelain"):
            return self.deploy("Back to the beginning", seconds=120)
        self.controller.wait(floor, self.names, 120)
        return floor

    def plan(self, *names: str) -> dict:
        """`plumb plan` of the tree: live, and read-only."""
        return self.controller.ask("plan", str(self.tree), *names, "--config", str(self.controller.folder / "controller.yaml"))

    def verdicts(self) -> dict[str, str]:
        return {one["commit"]: one["verdict"] for one in self.controller.revisions()}

    def held(self, commit: str) -> bool:
        """Whether a commit stands at the branch's head without being accepted."""
        return until(lambda: self.controller.verdict(commit), f"a verdict on {commit[:10]}", 30, self.controller.state) != "accept"

    def end(self) -> None:
        self.controller.kill()
        for person in self.people:
            person.leave()
