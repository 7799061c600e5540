"""A shell for tests: runs lines, each in a process of its own.

In: lines. Out: how they ended. Not here: what makes the processes (zygote).
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.commands.lines import Line
from tests.engine import MODULES

__all__ = ["Shell", "running_shell"]


class Shell:
    """Runs lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, line: Line) -> dict[str, Any]:
        """Run one, and say how it ended: ``code``, ``told`` to end or not, seconds it ``took``."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(line.asked()) + "\n")
        self._process.stdin.flush()
        ended: dict[str, Any] = json.loads(self._process.stdout.readline())
        return ended


@contextmanager
def running_shell() -> Iterator[Shell]:
    """Start one; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.commands.zygote"],
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(MODULES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Shell(process)  # it ends with its input
