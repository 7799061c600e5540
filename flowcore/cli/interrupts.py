"""Ctrl-C while there is nothing yet to clean up after, or nothing left.

In: nothing. Out: a process that ends at once, or a KeyboardInterrupt. Not here: what a command
does about it (each command).

Modules are imported for some tenths of a second before a command begins. An interrupt there would
end in a traceback from wherever Python was, or in none at all, where Python happens to swallow it.
"""

import os
import signal

__all__ = ["end_at_once", "raise_again"]

_INTERRUPTED = 130


def end_at_once() -> None:
    """Let Ctrl-C end the process, unless somebody has made other arrangements."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Undo ``end_at_once``: from here on there may be something to clean up after."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_signum: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)
