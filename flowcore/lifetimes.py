"""Processes that the kernel kills when the one that keeps them is gone.

In: the read end of a pipe whose write end is nowhere but in that process. Out: a kill, whatever the
killed one is at. Not here: gentler ends (assembly.process_lifetime).

A thread that waits for the end of a pipe has no turn while other code keeps the interpreter; the
kernel needs none. ``PR_SET_PDEATHSIG`` would do the same for the end of the *thread* that started a
process, and threads end sooner than processes.
"""

import contextlib
import fcntl
import os
import signal
import sys

__all__ = ["kill_at_end_of"]

#: Linux's fcntl to choose a signal, which Python has no name for.
_F_SETSIG = 10


def kill_at_end_of(fd: int, *, group: bool = False) -> None:
    """Have the kernel kill this process when a pipe has no writer any more; Linux only.

    Args:
        fd: The pipe's read end.
        group: Kill the whole process group.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        # Opened anew: who is told is kept with the open file, which others share.
        own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
        fcntl.fcntl(own, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
        _kept.append(own)


#: Descriptors that stay open for life.
_kept: list[int] = []
