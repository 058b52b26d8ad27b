"""The process that the whole rig hangs on.

It is PID 1 of a process namespace, with a network and mounts of its own. When it ends, by `down`, by
a crash or because the run that asked for it is gone, the kernel ends every process of the rig and
drops every mount, link and address with it: nothing can be left behind but a folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import host, place, process

OUTER = "holder"  # the process outside, which keeps the namespaces
INSIDE = "PLUMB_RIG_INSIDE"


def run(watched: int | None) -> None:
    """The holder itself: reaps orphans until it is told to go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    host.network()
    (place.state() / "ready").touch()
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        if watched is not None and not _alive_outside(watched):
            sys.exit(0)
        time.sleep(0.2)


def _alive_outside(descriptor: int) -> bool:
    """Whether the watched process lives: its pidfd was inherited, and becomes readable at its end."""
    import select

    return not select.select([descriptor], [], [], 0)[0]


def start(watch: int | None) -> None:
    """Makes the namespaces. With `watch`, the rig ends when that process does."""
    (place.state() / "ready").unlink(missing_ok=True)
    arguments, inherited = [], ()
    if watch is not None:
        descriptor = os.pidfd_open(watch)
        os.set_inheritable(descriptor, True)
        arguments, inherited = ["--watch-fd", str(descriptor)], (descriptor,)
    log = place.state() / "logs" / "holder.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as out:
        outer = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL",
             sys.executable, str(place.SOURCE / "rig"), "_hold", *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, pass_fds=inherited,
        )  # fmt: skip
    pids = place.state() / "pids"
    pids.mkdir(parents=True, exist_ok=True)
    (pids / OUTER).write_text(f"{outer.pid} {process._born(outer.pid)}")
    for _ in range(200):
        if (place.state() / "ready").exists():
            return
        if outer.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"rig: the namespaces can't be made; see {log}")


def inner() -> int | None:
    """The holder as it is known outside its namespace."""
    outer = process.pid(OUTER)
    if outer is None:
        return None
    try:
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def enter(argv: list[str]) -> list[str]:
    """The command line that runs another one inside."""
    if os.environ.get(INSIDE):
        return argv
    pid = inner()
    if pid is None:
        raise SystemExit("rig: there is no rig; `tests/rig/rig up 8` makes one")
    return ["nsenter", "--target", str(pid), "--net", "--mount", "--pid", f"--wd={os.getcwd()}",
            "env", f"{INSIDE}=1", *argv]  # fmt: skip


def down() -> None:
    """Ends the rig, this one or what a crashed run left of one."""
    process.stop(OUTER, signal.SIGKILL)
    for root in host.cgroup_roots():
        _remove_groups(root)
    here = place.state()
    if here.exists():
        # Mounts go with the last process of their namespace, a moment after it.
        for _ in range(50):
            shutil.rmtree(here, ignore_errors=True)
            if not here.exists():
                return
            time.sleep(0.1)
        raise SystemExit(f"rig: {here} can't be removed")


def _remove_groups(root: Path) -> None:
    for _ in range(50):
        if not root.exists():
            return
        for folder, _, _ in os.walk(root, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        time.sleep(0.1)
