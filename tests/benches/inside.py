"""The benchmarks that need hosts; runs on the rig's network (`tests/bench` brings it there)."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import workload
from fleet import Fleet
from measure import Figures, timed

HOSTS = 8


class Bench:
    def __init__(self, plumb: Path, rig: dict, peers: Path, folder: Path):
        self.plumb, self.rig, self.peers, self.folder = plumb, rig, peers, folder
        names = sorted(rig["hosts"], key=lambda name: int(name[1:]))[:HOSTS]
        self.hosts = {name: rig["hosts"][name] for name in names}
        self.known = folder / "known_hosts"
        self.known.write_text("".join(f"{h['address']} {h['hostKey']}\n" for h in self.hosts.values()))
        self.ssh_base = ["ssh", "-F", rig["sshConfig"]]
        self.ansible = folder / "ansible"
        self.pyinfra = folder / "pyinfra"
        workload.write_ansible(self.ansible, self.hosts, rig["key"], self.known)
        workload.write_pyinfra(self.pyinfra, self.hosts, rig["key"], self.known)

    # What each tool is run as.

    def run_ansible(self) -> float:
        shutil.rmtree(self.ansible / "cp", ignore_errors=True)
        command = [str(self.peers / "bin/ansible-playbook"), "play.yml"]
        env = {**os.environ, "ANSIBLE_CONFIG": str(self.ansible / "ansible.cfg"), "HOME": str(self.folder)}
        took = timed(command, cwd=self.ansible, env=env)
        # Cold connections: the masters that Ansible leaves behind end here.
        subprocess.run(["pkill", "-f", str(self.ansible / "cp")], check=False)
        return took

    def run_pyinfra(self) -> float:
        command = [str(self.peers / "bin/pyinfra"), "--yes", "inventory.py", "deploy.py"]
        return timed(command, cwd=self.pyinfra, env={**os.environ, "HOME": str(self.folder)})

    def run_ssh_true(self) -> float:
        begun = time.monotonic()
        running = [
            subprocess.Popen([*self.ssh_base, name, "true"], stdin=subprocess.DEVNULL) for name in self.hosts
        ]
        if any(process.wait() for process in running):
            raise SystemExit("bench: ssh true failed")
        return time.monotonic() - begun

    def wipe(self) -> None:
        """Everything that the workload makes goes, so that the next tool begins from nothing."""
        users, groups = " ".join(workload.USERS), " ".join(workload.GROUPS)
        units = " ".join(f"{name}.service" for name in workload.UNITS)
        script = (
            f"systemctl disable --now {units} 2>/dev/null; rm -f /etc/systemd/system/bench*.service; systemctl daemon-reload;"
            f"rm -rf /srv/bench /etc/sysctl.d/80-bench* /etc/sysctl.d/80-plumb* /var/lib/plumb;"
            f"for u in {users}; do userdel $u 2>/dev/null; done; for g in {groups}; do groupdel $g 2>/dev/null; done;"
            "sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.log_martians=0 net.ipv4.conf.default.log_martians=0"
            " net.ipv4.tcp_keepalive_time=7200 net.ipv4.ip_default_ttl=64; true"
        )
        running = [subprocess.Popen([*self.ssh_base, name, script], stdin=subprocess.DEVNULL) for name in self.hosts]
        if any(process.wait() for process in running):
            raise SystemExit("bench: hosts can't be wiped")

    def fleet(self, name: str, url: str | None = None) -> Fleet:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        if url is None:
            bare = folder / "fleet.git"
            subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(bare)], check=True)
            url = f"file://{bare}"
        command = f"ssh -F {self.rig['sshConfig']}"
        fleet = Fleet(folder, self.plumb, self.rig, self.hosts, url, command)
        fleet.create()
        return fleet

    # The benchmarks.

    def noop(self, runs: int) -> bool:
        figures = Figures()
        self.wipe()
        fleet = self.fleet("noop")
        fleet.push()
        fleet.start_controller()
        fleet.wait(fleet.git("rev-parse", "HEAD"), 120)
        fleet.stop_controller()
        plan = ["plan", "--config", str(fleet.config), "-o", "json"]
        for host, planned in json.loads(fleet.run(*plan).stdout)["hosts"].items():
            if planned["changes"]:
                raise SystemExit(f"bench: {host} isn't in sync: {planned['changes']}")
        self.run_pyinfra()
        self.run_ansible()
        print(f"no-op: {HOSTS} hosts × {workload.RESOURCES} resources, cold process and connections")
        ours, ssh, pyinfra, ansible = [], [], [], []
        command = [str(self.plumb), *plan]
        for _ in range(runs):
            ours.append(timed(command, env=fleet.env, cwd=fleet.tree))
            ssh.append(self.run_ssh_true())
        for _ in range(max(2, runs // 3)):
            pyinfra.append(self.run_pyinfra())
            ansible.append(self.run_ansible())
        mine = figures.row("plumb plan", ours)
        plain = figures.row("ssh true, eight at once", ssh)
        other = figures.row("pyinfra 3.10", pyinfra)
        third = figures.row("ansible-core 2.19, pipelining", ansible)
        figures.ratio("plumb ÷ ssh true (for the record)", mine / plain, None)
        figures.ratio("pyinfra ÷ plumb", other / mine, 10)
        figures.ratio("ansible ÷ plumb", third / mine, 100)
        return figures.met

    def first_apply(self, runs: int) -> bool:
        figures = Figures()
        ours, pyinfra, ansible, phases = [], [], [], []
        print(f"first apply: {HOSTS} hosts × {workload.RESOURCES} resources from nothing")
        for _ in range(max(1, runs // 3)):
            self.wipe()
            fleet = self.fleet("first")
            fleet.push()
            begun = time.monotonic()
            fleet.start_controller()
            fleet.wait(fleet.git("rev-parse", "HEAD"), 120)
            ours.append(time.monotonic() - begun)
            phases.append(fleet.phases())
            fleet.stop_controller()
            self.wipe()
            pyinfra.append(self.run_pyinfra())
            self.wipe()
            ansible.append(self.run_ansible())
        mine = figures.row("plumb controller, agent included", ours)
        for phase in phases[0]:
            figures.row(f"  of a host's runs: {phase}", [one[phase] for one in phases])
        # Only Plumb waits until services stay active, so that time isn't compared. It is spent twice: the first
        # host settles before the others begin, and they settle together.
        settling = 2 * statistics.median([one.get("settle", 0.0) for one in phases])
        figures.row("  settling, the first host and then the others", [settling])
        other = figures.row("pyinfra 3.10", pyinfra)
        third = figures.row("ansible-core 2.19, pipelining", ansible)
        figures.ratio("pyinfra ÷ plumb without settling", other / (mine - settling), 5)
        figures.ratio("ansible ÷ plumb without settling", third / (mine - settling), 35)
        return figures.met

    def push(self, runs: int) -> bool:
        figures = Figures()
        self.wipe()
        git = self.rig["git"]
        # A repository of the benchmark's own on the git server; its hook tells the controller.
        url = git["url"].replace("fleet.git", f"bench-{os.getpid()}.git")
        path = git["path"].replace("fleet.git", f"bench-{os.getpid()}.git")
        binary, run = Path(git["bin"]), Path(git["run"])
        shutil.copy2(self.plumb, binary / "plumb")
        fleet = self.fleet("push", url)
        hook = "#!/bin/sh\nexec /opt/plumb/plumb notify --socket /run/plumb/bench.sock >/dev/null\n"
        setup = f"git init -q --bare -b main {path} && cat >{path}/hooks/post-receive && chmod +x {path}/hooks/post-receive && chown -R git: {path}"
        subprocess.run([*self.ssh_base, "git", setup], input=hook, text=True, check=True)
        fleet.socket = run / "bench.sock"
        fleet.env["PLUMB_SOCKET"] = str(fleet.socket)
        fleet.config.write_text(fleet.config.read_text().replace(str(fleet.folder / "plumb.sock"), str(fleet.socket)))
        fleet.push()
        fleet.start_controller()
        fleet.wait(fleet.git("rev-parse", "HEAD"), 120)
        seconds = []
        profile = fleet.tree / "profiles/bench.yaml"
        for turn in range(max(10, runs)):
            profile.write_text(profile.read_text().replace("line of file 3\\n", f"turn {turn}\\nline of file 3\\n", 1))
            fleet.git("commit", "--quiet", "--all", "--message", f"Turn {turn}")
            revision = fleet.git("rev-parse", "HEAD")
            begun = time.monotonic()
            fleet.push()
            fleet.wait(revision, 60)
            seconds.append(time.monotonic() - begun)
        fleet.stop_controller()
        print(f"push: signed push over SSH until {HOSTS} hosts run it, post-receive hook")
        median = figures.row("git push → converged", seconds)
        figures.bound("p50", median, "s", 1)
        return figures.met

    def agent(self, runs: int) -> bool:
        figures = Figures()
        self.wipe()
        fleet = self.fleet("agent")
        fleet.push()
        fleet.start_controller()
        fleet.wait(fleet.git("rev-parse", "HEAD"), 120)
        first = next(iter(self.hosts))
        on_host = lambda script: subprocess.run(
            [*self.ssh_base, first, script], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        ).stdout.strip()
        size = int(on_host("stat -c %s /var/lib/plumb/agents/*/plumb-agent | sort -n | tail -1"))
        peak = 0
        for _ in range(max(3, runs)):
            asked = subprocess.Popen([str(self.plumb), "reconcile", first], env=fleet.env, stdout=subprocess.DEVNULL)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                seen = on_host("for p in $(pgrep -f plumb-agent); do grep -s VmHWM /proc/$p/status; done | sort -k2n | tail -1")
                peak = max([peak, *(int(word) for word in seen.split() if word.isdigit())])
            asked.wait()
        fleet.stop_controller()
        time.sleep(1)
        left = on_host("pgrep -fc '[/]plumb-agent' || true")
        print("agent: on disk, resident, left behind")
        figures.bound("size on disk", size / 1e6, "MB", 4)
        if peak == 0:
            raise SystemExit("bench: the agent was never seen running")
        figures.bound("resident, peak", peak / 1e3, "MB", 15)
        figures.bound("processes left", float(left or 0), "", 0)
        return figures.met


def main() -> None:
    name, plumb, rig, peers, runs = sys.argv[1:6]
    with tempfile.TemporaryDirectory(prefix="plumb-bench-") as folder:
        bench = Bench(Path(plumb), json.loads(Path(rig).read_text()), Path(peers), Path(folder))
        met = getattr(bench, name.replace("-", "_"))(int(runs))
    sys.exit(0 if met else 1)


main()
