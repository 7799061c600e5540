"""Workers that go on after the command: for runs of the embedded server that nobody waits for.

In: a session, queues. Out: one background worker per project and set of queues. Not here: what
the worker does (commands.worker).

The embedded server and its workers live only as long as somebody holds them, so ``flowcore
submit`` leaves a ``flowcore worker --until-idle`` behind, in a session of its own. Such a worker
holds a lock for as long as it takes work, which the kernel drops however it ends:

- a submitter first creates its run, then looks at the lock; free means: start a worker;
- a worker that finds nothing to do first drops the lock, then looks for runs once more.

In whatever order the two meet, one of them sees the other, so no run is left alone. The board of
workers cannot say this: it also lists those of a ``flowcore run`` that is about to end.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from flowcore.assembly.process_lifetime import READY_FD, OwnFd, Pipe
from flowcore.assembly.session import IN_WORKER, Session
from flowcore.errors import ServiceError

__all__ = ["Turn", "ensure_background_worker", "log_file"]

#: Seconds without an unfinished run after which a background worker leaves.
UNTIL_IDLE = 5
_READY_WITHIN = 20.0
_TAIL_LINES = 8
_LOOK = 0.02


class Turn:
    """The right to be the background worker of some queues of a project."""

    def __init__(self, session: Session, queues: Iterable[str]) -> None:
        """Name the lock; it is not taken yet.

        Args:
            session: Gives the directory and the project.
            queues: Queues as the broker names them.
        """
        key = hashlib.blake2b("\0".join(sorted(queues)).encode(), digest_size=6).hexdigest()
        directory = session.log.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / f"turn-{key}.lock"
        self._lock: OwnFd | None = None

    def take(self, *, patience: float = 0.0) -> bool:
        """Take the turn; say whether it was free.

        Args:
            patience: Seconds to try: somebody may be looking at the lock just now.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = OwnFd(lambda: os.open(self._path, flags, 0o600))
        ends = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends:
                    lock.close()
                    return False
                time.sleep(_LOOK)
            else:
                self._lock = lock
                return True

    def drop(self) -> None:
        """Let others have the turn. Idempotent."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def log_file(session: Session) -> Path:
    """Return the log file of background workers."""
    name = session.runtime.settings.namespace or "default"
    return session.log.parent / f"background-{name}.log"


def ensure_background_worker(
    session: Session,
    queues: Iterable[str | None],
    *,
    paths: Iterable[Path] = (),
    concurrency: int | None = None,
    pool: str | None = None,
) -> bool:
    """Make sure that a background worker serves these queues. Call it after creating the run.

    Args:
        session: On the embedded server.
        queues: A flow's queues; None is the default one.
        paths: Where the flow's modules are.
        concurrency: Nodes at once.
        pool: Celery's pool.

    Returns:
        Whether one was started.

    Raises:
        ServiceError: It ended before it was there; shows the end of its log.
    """
    names = sorted(queue or session.runtime.settings.queue for queue in queues)
    turn = Turn(session, map(session.runtime.queue, names))
    if not turn.take():
        return False
    turn.drop()
    argv = [
        *(sys.executable, "-m", "flowcore.cli", "worker", "--quiet"),
        *("--queues", ",".join(names), "--until-idle", str(UNTIL_IDLE)),
        *(("--concurrency", str(concurrency)) if concurrency else ()),
        *(("--pool", pool) if pool else ()),
    ]
    env = dict(session.worker_env(paths))
    # It joins the embedded server itself and is no worker but the keeper of some.
    for name in (IN_WORKER, "FLOWCORE_REDIS_URL"):
        env.pop(name, None)
    _start(argv, env, log_file(session))
    return True


def _start(argv: list[str], env: dict[str, str], log: Path) -> None:
    ready = Pipe()
    try:
        with log.open("ab") as sink:
            process = subprocess.Popen(  # noqa: S603 - our own command
                argv,
                env=env | {READY_FD: str(ready.write.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=(ready.write.fileno(),),
                start_new_session=True,
            )
        # The end of file has to come from the child alone.
        ready.write.close()
        if not _says_ready(ready, process):
            lines = log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:]
            msg = f"the background worker did not start; the end of its log {log}:\n" + "\n".join(
                lines
            )
            raise ServiceError(msg)
    except OSError as error:
        msg = f"the background worker cannot be started: {error}"
        raise ServiceError(msg) from error
    finally:
        ready.close()


def _says_ready(ready: Pipe, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until the child holds the server, so that this command may let go of it."""
    os.set_blocking(ready.read.fileno(), False)
    ends = time.monotonic() + _READY_WITHIN
    while time.monotonic() < ends:
        try:
            said = os.read(ready.read.fileno(), 64)
        except BlockingIOError:
            time.sleep(_LOOK)
            continue
        # A worker that found another one at work has ended well.
        return bool(said) or process.wait(_READY_WITHIN) == 0
    return False
