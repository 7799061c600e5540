"""``flowcore``, and ``python -m flowcore.cli``: a command starts another one in its own Python.

In: the process's arguments. Out: an exit code. Not here: what commands do (main).
"""

import sys

from flowcore.cli.interrupts import end_at_once

__all__ = ["start"]


def start() -> int:
    """Run the command that the process was started for; return its exit code."""
    end_at_once()
    from flowcore.cli.main import main

    try:
        return main()
    finally:
        # What is left is the end of the interpreter.
        end_at_once()


if __name__ == "__main__":
    sys.exit(start())
