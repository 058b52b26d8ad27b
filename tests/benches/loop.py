"""The loop's own work for fleets of three sizes, in memory and on one core; needs neither hosts nor root.

The small fleets run as often as gives every size about as many runs of hosts. What other parts do (stores, SSH, git)
isn't timed, and what the loop does is: each event, and the views that the shell publishes at most ten times a second.
A fleet of 100 hosts wakes up many times an hour for nothing, one of 15,000 hardly ever, so that means over all events
say little about resyncs. Two figures are compared instead: the end of a run, which is the dearest event of one host,
and everything that the loop does for a run, from the wake-up to the last view. The memory is that of the state after
an hour; the revision with its desired states isn't part of it."""

import json
import os
import statistics
import subprocess
from pathlib import Path

from measure import Figures

SIZES = {100: 150, 1_000: 15, 15_000: 1}
PHASES = {
    "start": "all hosts are met",
    "resync": "an hour of resyncs",
    "rollout": "a revision changes all hosts",
}
# A fiftieth is off, a fortieth of the runs finds drift.
RATIO, BYTES = 2, 4_096


def on_one_core(program: Path, *arguments: int) -> dict:
    core = min(os.sched_getaffinity(0))
    command = [str(program), *map(str, arguments)]
    pin = {"preexec_fn": lambda: os.sched_setaffinity(0, {core})}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **pin)
    return json.loads(done.stdout)


def per_run(phase: dict) -> float:
    """Microseconds that the loop works for each run of a host."""
    return phase["seconds"] * 1e6 / phase["kinds"]["run ended"]["number"]


def run(program: Path, memory: Path, runs: int) -> bool:
    figures = Figures()
    samples = {hosts: [] for hosts in SIZES}
    for _ in range(max(3, runs // 3)):
        for hosts, times in SIZES.items():
            samples[hosts].append(on_one_core(program, hosts, times))
    for name, what in PHASES.items():
        print(f"loop: {what}")
        ends, wholes = {}, {}
        for hosts, all in samples.items():
            phases = [sample[name] for sample in all]
            median = lambda of: statistics.median(of(phase) for phase in phases)
            ends[hosts] = median(lambda phase: phase["kinds"]["run ended"]["micros"])
            wholes[hosts] = median(per_run)
            rate = median(lambda phase: phase["events"] / phase["seconds"])
            event, view = median(lambda phase: phase["event"]), median(lambda phase: phase["view"])
            print(
                f"{hosts:>6} hosts {rate:12,.0f} events/s   event {event:6.1f} µs   view {view:6.1f} µs"
                f"   end of a run {ends[hosts]:6.1f} µs   all for a run {wholes[hosts]:6.1f} µs",
                flush=True,
            )
        figures.bound("end of a run, dearest ÷ cheapest", max(ends.values()) / min(ends.values()), "×", RATIO)
        figures.bound("all for a run, dearest ÷ cheapest", max(wholes.values()) / min(wholes.values()), "×", RATIO)
    print("loop: memory of the state")
    for hosts in SIZES:
        bytes = on_one_core(memory, hosts)["bytes"] / hosts
        if hosts == max(SIZES):
            figures.bound(f"{hosts} hosts, each", bytes, "bytes", BYTES)
        else:
            print(f"{hosts} hosts, each{bytes:22.0f} bytes")
    return figures.met
