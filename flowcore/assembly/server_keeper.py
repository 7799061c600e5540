"""Ends the embedded server when nobody uses it any more, however its users ended.

In: the server's directory. Out: a process of a few MiB, one for each server, which looks at its
locks once a second. Not here: starting the server, joining and leaving it (embedded).

The last user stops the server as it leaves, but one that is killed by ``kill -9`` leaves nothing:
the server would go on until the next command. The kernel drops a killed user's lock, so this
process sees that the server is alone. It waits some seconds, since workers of that user may still
hand back what they were doing, and ends the server cleanly.

It is run as a script, with the standard library alone: it must not cost what flowcore costs.
"""

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time

__all__ = ["main"]

_LOOK = 1.0
#: Looks in a row without a user; workers of one that was killed take five seconds at most.
_ALONE = 6
_SHUTDOWN_WAIT = 10.0


def main(directory: str, path: str) -> None:
    """Keep watch until the server has ended.

    Args:
        directory: Where the lock files are.
        path: The server's socket.
    """
    # Of all that the shell handed down, the server's own lock would be held for ever.
    os.closerange(3, 1024)
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    start, users, keeper, server = (
        os.open(os.path.join(directory, name), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
        for name in ("start.lock", "users.lock", "keeper.lock", "server.lock")
    )
    alone, first = 0, True
    while True:
        # Under this lock nobody starts, joins, leaves or stops the server.
        fcntl.flock(start, fcntl.LOCK_EX)
        try:
            if first and not _take(keeper):
                return  # another one watches already, and will see that this server runs
            first = False
            if not _is_ours(directory, start) or _is_free(server):
                fcntl.flock(keeper, fcntl.LOCK_UN)
                return
            alone = alone + 1 if _is_free(users) else 0
            if alone >= _ALONE and _stop(path, server):
                return
        finally:
            fcntl.flock(start, fcntl.LOCK_UN)
        time.sleep(_LOOK)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(lock: int) -> bool:
    if not _take(lock):
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def _is_ours(directory: str, start: int) -> bool:
    """Return whether the directory is still the one that this process began with."""
    try:
        there = os.stat(os.path.join(directory, "start.lock"))  # noqa: PTH116, PTH118
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(start))


def _stop(path: str, server: int) -> bool:
    """End the server cleanly; say whether it has ended."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_SHUTDOWN_WAIT)
        link.connect(path)
        link.sendall(b"SHUTDOWN NOSAVE NOW\r\n")
        link.recv(1)  # nothing comes, until the end
    ends = time.monotonic() + _SHUTDOWN_WAIT
    while not _is_free(server):
        if time.monotonic() > ends:
            return False
        time.sleep(_LOOK / 20)
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
