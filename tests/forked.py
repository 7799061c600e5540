"""Calls in forked children of this process."""

import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["in_child"]

#: Seconds that a call may take in a child: one that hangs fails its test.
PATIENCE = 60.0


def in_child(call: Callable[[], Any], *, patience: float = PATIENCE) -> Any:
    """Return what a call gives in a forked child; whatever it raises there is raised here."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receiving)
        try:
            said = pickle.dumps((True, call()))
        except BaseException:  # noqa: BLE001  (it is told, and nothing of the parent's is run)
            said = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(sending, "wb") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(sending)
    try:
        fine, found = pickle.loads(_received(receiving, patience) or pickle.dumps((False, "hangs")))
    finally:
        os.close(receiving)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert fine, found
    return found


def _received(pipe: int, patience: float) -> bytes:
    ends, said = time.monotonic() + patience, b""
    while (left := ends - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            piece = os.read(pipe, 1 << 20)
            if not piece:
                return said
            said += piece
    return b""
