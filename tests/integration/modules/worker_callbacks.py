"""Callbacks that the tests' workers call: they write what they hear into a file."""

import os
import sys
from pathlib import Path
from typing import Any

from flowcore import Callbacks, Event
from flowcore.run.callbacks import METHODS


class Nothing:
    """Has no method of callbacks."""


class Failing:
    """Fails at everything."""

    def on_event(self, event: Event) -> None:
        raise RuntimeError("callback broke")

    def on_run_start(self, event: Event) -> None:
        sys.exit("callback left")


class CannotBeMade(Failing):
    """Raises when it is made."""

    def __init__(self) -> None:
        raise KeyError("no password")


def _write(method: str, event: Event) -> None:
    line = f"{os.getpid()} {event.run} {event.id} {method}\n"
    with Path(os.environ["FLOWCORE_HOME"], "heard").open("a") as file:
        file.write(line)


class Writing(Callbacks):
    """Sync methods."""


def _sync(name: str) -> Any:
    return lambda _, event: _write(name, event)


for _name in METHODS:
    setattr(Writing, _name, _sync(_name))


class Hanging:
    """Notes each event, then waits at node starts until it may go on."""

    async def on_event(self, event: Event) -> None:
        _write("async", event)

    def on_node_start(self, event: Event) -> None:
        home = Path(os.environ["FLOWCORE_HOME"])
        _write("hangs", event)
        if not (home / "go").exists():
            os.mkfifo(home / "gate")
            (home / "gate").open().close()  # until somebody opens it to write
