"""Verification of long signed histories, beside git and sq-git; needs neither hosts nor root.

Every sample is a process of its own: Sequoia keeps the signatures that it has verified once. What one core does
is seconds of processor, children included, so that whatever else the machine does counts less. How long one
waits, beside git as much as for one commit, is by the clock, with all processors for whoever uses them: git has a
signature checked by one program after the other, Plumb has other threads look ahead.

The ratios by the clock and to sq-git have bars, and so has memory. Rates and milliseconds have none: machines
differ by half from day to day. On one core the ratio to git has none either: Ed25519 arithmetic alone is 46 % of
what Plumb does there, SHA-1 and SHA-512 9 %, and reading objects 13 %."""

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from measure import Figures, busy, timed

COMMITS = 10_000
LONG = 100_000
# git starts gpg or ssh-keygen for each commit: so many are enough to know what one costs.
SLICE = 300


class History:
    """A bare repository, packed as a git server packs it."""

    def __init__(self, maker: Path, folder: Path, kind: str, commits: int):
        self.git_dir = folder / f"{kind}-{commits}.git"
        self.commits = commits
        pack = folder / "history.pack"
        print(f"bench: making {commits} signed commits ({kind})", flush=True)
        made = subprocess.run([str(maker), kind, str(commits), str(pack)], check=True, capture_output=True, text=True)
        self.ends = json.loads(made.stdout)
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(self.git_dir)], check=True)
        with pack.open("rb") as stream:
            self.git("index-pack", "--stdin", stdin=stream)
        pack.unlink()
        self.git("update-ref", "refs/heads/main", self.ends["head"])
        self.git("-c", "pack.threads=0", "repack", "-adfq")

    def git(self, *arguments: str, **options) -> str:
        command = ["git", "--git-dir", str(self.git_dir), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout.strip()


class Bench:
    def __init__(self, plumb: Path, maker: Path, sq_git: Path, folder: Path):
        self.plumb, self.sq_git, self.folder = plumb, sq_git, folder
        self.mixed = History(maker, folder, "mixed", COMMITS)
        self.openpgp = History(maker, folder, "openpgp", COMMITS // 2)
        self.long = History(maker, folder, "mixed", LONG)
        self.core = min(os.sched_getaffinity(0))
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}

    def on_one_core(self, command: list, **options) -> float:
        return busy(command, preexec_fn=lambda: os.sched_setaffinity(0, {self.core}), **options)

    def verify(self, history: History, floor: str = "introduction") -> list:
        ends = history.ends
        return [self.plumb, "verify", "--git-dir", history.git_dir, "--floor", ends[floor], "--head", ends["head"]]

    def keyring(self, history: History) -> None:
        """The policy's keys as git's programs want them."""
        gnupg, signers = self.folder / "gnupg", self.folder / "signers"
        gnupg.mkdir(mode=0o700)
        (gnupg / "gpg.conf").write_text("trust-model always\nno-autostart\n")
        lines = []
        for name in history.git("ls-tree", "--name-only", f"{history.ends['head']}:trust/keys").split():
            key = history.git("show", f"{history.ends['head']}:trust/keys/{name}")
            if key.startswith("ssh-"):
                lines.append(f"{name} {' '.join(key.split()[:2])}\n")
            else:
                command = ["gpg", "--homedir", str(gnupg), "--batch", "--quiet", "--import"]
                subprocess.run(command, input=key + "\n", text=True, check=True)
        signers.write_text("".join(lines))
        (self.folder / ".gitconfig").write_text(f'[gpg "ssh"]\n\tallowedSignersFile = {signers}\n')
        self.env["GNUPGHOME"] = str(gnupg)

    def git_log(self, history: History) -> list:
        command = ["git", "--git-dir", history.git_dir, "log", f"-{SLICE}", "--format=%G?", history.ends["head"]]
        told = subprocess.run([str(word) for word in command], env=self.env, check=True, capture_output=True, text=True)
        if told.stdout.split() != ["G"] * SLICE:
            raise SystemExit(f"bench: git doesn't call every signature good: {told.stdout[:200]}{told.stderr[:500]}")
        return command

    def run_sq_git(self, history: History) -> float:
        cache = self.folder / f"cache-{time.monotonic_ns()}"
        cache.mkdir()
        command = [self.sq_git, "log", "--trust-root", history.ends["introduction"], history.ends["head"]]
        env = {**self.env, "GIT_DIR": str(history.git_dir), "XDG_CACHE_HOME": str(cache)}
        return self.on_one_core(command, env=env, cwd=history.git_dir)

    def resident(self, history: History) -> float:
        """Megabytes at most, pages of the packs included."""
        command = [str(word) for word in self.verify(history)]
        child = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit("bench: the long history isn't accepted")
        return usage.ru_maxrss / 1024

    def run(self, runs: int) -> bool:
        figures = Figures()
        self.keyring(self.mixed)
        mine, git = {"core": [], "clock": []}, {"core": [], "clock": []}
        processors = len(os.sched_getaffinity(0))
        beside = []
        openpgp, sq_git = [], []
        few = max(2, runs // 3)
        log = self.git_log(self.mixed)
        for turn in range(runs):
            mine["core"].append(self.on_one_core(self.verify(self.mixed), env=self.env))
            mine["clock"].append(timed([str(word) for word in self.verify(self.mixed)], env=self.env))
            beside.append(busy(self.verify(self.mixed), env=self.env))
            openpgp.append(self.on_one_core(self.verify(self.openpgp), env=self.env))
            if turn % 3 == 0 or runs - turn <= few - len(sq_git):
                git["core"].append(self.on_one_core(log, env=self.env))
                git["clock"].append(timed([str(word) for word in log], env=self.env))
                sq_git.append(self.run_sq_git(self.openpgp))
        each = {}
        for measure, what in (("core", "seconds of one core"), ("clock", f"by the clock, on {processors} processors")):
            print(f"verify: {COMMITS} commits, OpenPGP and SSH Ed25519 by turns, {what}")
            ours = figures.row("plumb verify", mine[measure]) / COMMITS
            peer = figures.row(f"git log --format=%G?, {SLICE} of them", git[measure]) / SLICE
            print(f"{'plumb, each':<34} {ours * 1e6:8.1f} µs   git, each {peer * 1e6:8.1f} µs")
            each[measure] = (ours, peer / ours)
        figures.row("plumb's threads, of all processors", beside)
        print(f"{'plumb, commits a second and core':<34} {1 / each['core'][0]:8.0f}")
        figures.ratio("git ÷ plumb, on one core", each["core"][1], None)
        figures.ratio("git ÷ plumb, by the clock", each["clock"][1], 100)
        print(f"verify: {COMMITS // 2} commits, OpenPGP Ed25519 alone")
        mine = figures.row("plumb verify", openpgp)
        peer = figures.row("sq-git log, nothing cached", sq_git)
        figures.ratio("sq-git ÷ plumb", peer / mine, 3)
        print(f"verify: {LONG} commits from the introduction")
        figures.bound("resident, peak", statistics.median(self.resident(self.long) for _ in range(few)), "MB", 250)
        print("verify: one commit on an accepted floor, objects at hand")
        start, one = [], []
        for _ in range(max(20, runs)):
            start.append(timed([str(self.plumb), "--version"], env=self.env))
            one.append(timed([str(word) for word in self.verify(self.long, "before")], env=self.env))
        nothing = figures.row("plumb --version", start)
        whole = figures.row("plumb verify FLOOR..HEAD", one)
        print(f"{'verdict, without the start':<34} {(whole - nothing) * 1000:8.3f} ms")
        return figures.met
