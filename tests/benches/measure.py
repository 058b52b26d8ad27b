"""Whole commands, timed from outside; figures are medians of several runs."""

import os
import statistics
import subprocess
import time


def timed(command: list[str], **options) -> float:
    """Seconds that a command takes; its failure ends the benchmark."""
    begun = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    took = time.monotonic() - begun
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return took


def busy(command: list, **options) -> float:
    """Seconds of processor that a command and its children take; its failure ends the benchmark."""
    before = os.times()
    timed([str(word) for word in command], **options)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


class Figures:
    """Rows of a table, and whether every bar was met."""

    def __init__(self) -> None:
        self.met = True

    def row(self, name: str, seconds: list[float]) -> float:
        median = statistics.median(seconds)
        print(f"{name:<34} median {median:8.3f} s   min {min(seconds):8.3f}   max {max(seconds):8.3f}   runs {len(seconds)}", flush=True)
        return median

    def ratio(self, name: str, value: float, bar: float | None) -> None:
        verdict = ""
        if bar is not None:
            met = value >= bar
            self.met &= met
            verdict = f"   bar {bar:g}: {'met' if met else 'NOT MET'}"
        print(f"{name:<34} {value:8.1f}×{verdict}", flush=True)

    def bound(self, name: str, value: float, unit: str, bar: float) -> None:
        met = value <= bar
        self.met &= met
        print(f"{name:<34} {value:8.3f} {unit}   bar ≤ {bar:g} {unit}: {'met' if met else 'NOT MET'}", flush=True)
