"""Nodes that keep the interpreter for themselves, and others that do not end."""

import ctypes
import multiprocessing
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, field_validator


def _note(mark: str) -> None:
    with Path(mark).open("a") as file:
        file.write(f"{os.getpid()}\n")


def spin(mark: str) -> None:
    """Never end, and never let another thread have its turn."""
    _note(mark)
    re.match("(a+)+$", "a" * 60 + "!")


def bare_spin() -> None:
    """The same without parameters."""
    _note(os.environ["SPIN_MARK"])
    re.match("(a+)+$", "a" * 60 + "!")


async def async_spin(mark: str) -> None:
    """The same on the event loop."""
    spin(mark)


def spin_for(mark: str, seconds: float) -> str:
    """Keep the interpreter for about so many seconds, in one call."""
    _note(mark)
    letters = 20
    while True:
        started = time.monotonic()
        re.match("(a+)+$", "a" * letters + "!")
        took = time.monotonic() - started
        if took * 1.9 > seconds or letters > 40:
            return "came back"
        letters += 1 if took * 4 > seconds else 2


def spin_if(mark: str, number: int) -> int:
    """Spin for one of several items."""
    if number == 1:
        spin(mark)
    return number


def meet(here: str, there: str) -> None:
    """Wait for another node that waits for this one."""
    Path(here).touch()
    ends = time.monotonic() + 60
    while not Path(there).exists():
        if time.monotonic() > ends:
            raise TimeoutError(there)
        time.sleep(0.01)


def swallow(mark: str) -> None:
    """Never end, whatever is raised here."""
    _note(mark)
    while True:
        try:
            while True:
                time.sleep(0.01)
        except Exception:  # noqa: BLE001  (that is the point)
            continue


def instead(error: dict[str, Any], mark: str) -> str:
    """A fallback; it tells which process ran it."""
    _note(mark + ".fallback")
    return str(error["type"])


def where() -> int:
    return os.getpid()


class Picky(BaseModel):
    """What a node gives that is never done being checked."""

    text: str

    @field_validator("text")
    @classmethod
    def check(cls, text: str) -> str:
        re.match("(a+)+$", text)
        return text


def give(mark: str) -> Picky:
    """Come back at once, with what cannot be checked."""
    _note(mark)
    return {"text": "a" * 60 + "!"}  # type: ignore[return-value]  # as users do


def square(number: int) -> int:
    return number * number


def squares(method: str | None = None) -> list[int]:
    """Have a pool of processes work."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


def spin_with_children(mark: str) -> None:
    """Start processes, name them, and spin."""
    pool = multiprocessing.Pool(1)
    pids = [pool.apply(os.getpid), subprocess.Popen(["sleep", "600"]).pid]
    Path(mark + ".children").write_text(" ".join(map(str, pids)))
    spin(mark)


class Wordy(Exception):  # noqa: N818  (users call them as they like)
    """Takes for ever to say what it is about."""

    def __str__(self) -> str:
        re.match("(a+)+$", "a" * 60 + "!")
        return "never said"


def wordy(mark: str) -> None:
    """Fail with an error that has no end of words."""
    _note(mark)
    raise Wordy


def spin_instead(mark: str) -> None:
    """A fallback that does not come back either."""
    spin(mark + ".fallback")


def swallow_instead(mark: str) -> None:
    """A fallback that does not end, whatever is raised in it."""
    swallow(mark + ".fallback")


def doze(mark: str) -> None:
    """Take too long, and end when told to."""
    _note(mark)
    time.sleep(1000)


def balk(mark: str) -> None:
    """Fail at once."""
    _note(mark)
    raise ValueError("not today")


def sleep_inside(mark: str) -> None:
    """Keep the interpreter without using the CPU, as a C extension may."""
    _note(mark)
    ctypes.PyDLL(None).sleep(1000)


def refuse(mark: str) -> None:
    """Block all signals, close what can be closed, and go on whatever is raised."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    _note(mark)
    os.closerange(3, 512)
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001  (that is the point)
            continue


class Clinging:
    """Takes for ever to go."""

    def __del__(self) -> None:
        re.match("(a+)+$", "a" * 60 + "!")


def cling(mark: str) -> None:
    """Leave behind what does not go."""
    _note(mark)
    Clinging()
