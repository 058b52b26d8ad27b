"""Waiting for something to become true, with a message that says what was seen last."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], what: str, seconds: float = 60, seen: Callable[[], object] = lambda: "") -> object:
    """The condition's value once it is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}\n{seen()}")
        time.sleep(0.1)


def holds(condition: Callable[[], object], what: str, seconds: float) -> None:
    """The condition stays true for that long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"it stopped being so: {what}"
        time.sleep(0.2)
