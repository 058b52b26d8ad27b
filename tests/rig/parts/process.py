"""Processes of the rig: started in a session of their own, known by a file, stopped by it alone.

All of them live in the process namespace of the holder, so they end with it whatever happens."""

import os
import signal
import subprocess
import time

from . import place


def _file(name: str):
    return place.state() / "pids" / name


def _born(pid: int) -> str | None:
    """When a process began: a number used again by another process has another birth."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def pid(name: str) -> int | None:
    """The process id, while it runs."""
    try:
        number, born = _file(name).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(number) if _born(int(number)) == born else None


def start(name: str, argv: list[str], cgroups: list[str] = (), env: dict[str, str] | None = None) -> None:
    """Starts a program unless it runs; its words go to `logs/NAME.log`."""
    if pid(name):
        return
    log = place.state() / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    _file(name).parent.mkdir(parents=True, exist_ok=True)
    if cgroups:
        enter = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'
        argv = ["/bin/sh", "-c", enter, "sh", *cgroups, "--", *argv]
    with open(log, "ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **(env or {})}
        )
    _file(name).write_text(f"{process.pid} {_born(process.pid)}")


def stop(name: str, how: signal.Signals = signal.SIGTERM, patience: float = 20) -> None:
    """Stops a program: the given signal first, and no mercy when patience ends."""
    for sign, wait in ((how, patience), (signal.SIGKILL, 5)):
        number = pid(name)
        if number is None:
            break
        os.kill(number, sign)
        until = time.monotonic() + wait
        while pid(name) and time.monotonic() < until:
            _reap(number)
            time.sleep(0.02)
    _file(name).unlink(missing_ok=True)


def _reap(number: int) -> None:
    try:
        os.waitpid(number, os.WNOHANG)
    except ChildProcessError:
        pass  # the holder's child, which reaps it
