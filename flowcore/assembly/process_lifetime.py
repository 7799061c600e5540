"""Process lifetimes tied together by file descriptors.

In: nothing but the operating system. Out: descriptors that live in exactly one process, the
owner's end of a *lifeline* (a pipe whose write end nobody else holds) and the worker's end of it.
The kernel closes descriptors whatever way a process ends, so a worker learns of its owner's
``kill -9`` as an end of file, without polling process ids that may be reused.

Not here: starting and restarting workers (``supervisor``), locks (``embedded``).
"""

import contextlib
import os
import signal
import stat
import threading
import time
import weakref
from collections.abc import Callable, MutableMapping

from flowcore.lifetimes import kill_at_end_of

__all__ = [
    "PARENT_FD",
    "READY_FD",
    "OwnFd",
    "Pipe",
    "report_ready",
    "terminate_self",
    "watch_parent",
]

PARENT_FD = "FLOWCORE_PARENT_FD"
"""Environment variable: number of the descriptor that ends when the owner does."""

READY_FD = "FLOWCORE_READY_FD"
"""Environment variable: number of the descriptor on which a worker says that it is ready."""


class OwnFd:
    """A file descriptor that no other process shares: not by exec, and not by fork.

    ``O_CLOEXEC`` covers exec. A fork duplicates every descriptor, and with it the flock or the
    pipe's write end it stands for, so a forked child would keep alive what its parent let go;
    therefore each one is closed in the child, before any of its code runs.
    """

    def __init__(self, opener: Callable[[], int]) -> None:
        """Open and adopt a descriptor.

        Args:
            opener: Opens the descriptor, close-on-exec; called with forks held off so that none
                falls between the opening and the adoption.
        """
        with _fork_gate:
            self._fd: int = opener()
            _own_fds.add(self)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """Close a forgotten descriptor, as a file object would."""
        with contextlib.suppress(OSError):
            self.close()


class Pipe:
    """A pipe of which this process owns both ends."""

    def __init__(self) -> None:
        """Open the pipe; both ends are close-on-exec and closed in forked children."""
        with _fork_gate:
            read_fd, write_fd = os.pipe()
            self.read = OwnFd(lambda: read_fd)
            self.write = OwnFd(lambda: write_fd)

    def close(self) -> None:
        """Close both ends. Idempotent."""
        self.read.close()
        self.write.close()


def watch_parent(
    on_gone: Callable[[], None],
    *,
    hard: bool = False,
    environ: MutableMapping[str, str] = os.environ,
) -> bool:
    """Call back when the process that started this one is gone, however it ended.

    The variable is taken out of the environment, since the number means nothing to this process's
    own children.

    Args:
        on_gone: Called once, in a daemon thread. For a worker, ``terminate_self``.
        hard: Have the kernel kill this process group instead, where it can: what runs in this
            process may leave that thread no turn.
        environ: Where ``FLOWCORE_PARENT_FD`` is looked up.

    Returns:
        Whether there is an owner to watch; False for a worker that was started by hand.
    """
    fd = _inherited_pipe(environ.pop(PARENT_FD, None))
    if fd is None:
        return False

    if hard and os.getpgrp() == os.getpid():
        kill_at_end_of(fd, group=True)

    def block() -> None:
        with contextlib.suppress(OSError):
            while os.read(fd, 1):
                pass
        on_gone()

    threading.Thread(target=block, name="flowcore-lifeline", daemon=True).start()
    return True


def report_ready(*, environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell the supervisor that this worker is ready for work; does nothing without one.

    A supervisor keeps restarting a worker that has once been ready; one that never was is given
    up after a few deaths.

    Args:
        environ: Where ``FLOWCORE_READY_FD`` is looked up.
    """
    fd = _inherited_pipe(environ.pop(READY_FD, None))
    if fd is None:
        return
    # The owner may be gone already, which is the lifeline's business, not ours.
    with contextlib.suppress(OSError):
        os.write(fd, f"{os.getpid()}\n".encode())
    os.close(fd)


def terminate_self(*, grace: float = 5.0) -> None:
    """End this process: SIGTERM, and SIGKILL of its process group if that was not enough.

    Only a leader kills its group: anyone else's group may hold strangers.

    Args:
        grace: Seconds between the two signals. Blocks that long, so call it in a daemon thread.
    """
    pid = os.getpid()
    os.kill(pid, signal.SIGTERM)
    time.sleep(grace)
    if os.getpgrp() == pid:
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)


def _inherited_pipe(value: str | None) -> int | None:
    """Return the inherited descriptor if it is one, and a pipe; made close-on-exec."""
    if value is None or not value.isdecimal():
        return None
    fd = int(value)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return None
    except OSError:
        return None
    os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
    return fd


# Process-wide by nature: a process has one descriptor table, and fork hooks cannot be taken back.
# Re-entrant, since a signal handler may fork while its own thread is opening a descriptor.
_fork_gate = threading.RLock()
_own_fds: "weakref.WeakSet[OwnFd]" = weakref.WeakSet()


def _close_in_child() -> None:
    """Let a forked child start without its parent's own descriptors."""
    for own in list(_own_fds):
        with contextlib.suppress(OSError):
            own.close()
    _fork_gate.release()


os.register_at_fork(
    before=_fork_gate.acquire,
    after_in_parent=_fork_gate.release,
    after_in_child=_close_in_child,
)
