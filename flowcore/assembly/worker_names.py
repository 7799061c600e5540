"""Two workers with one name: Celery's commands then reach both, or neither knows which.

In: the board of workers, a name. Out: who has it already, in a sentence. Not here: names of workers
that nobody named (they are unique), notes of workers (workers).
"""

import os
import threading
import time
from collections.abc import Sequence

from celery.utils.nodenames import default_nodename, gethostname, host_format, nodesplit

from flowcore.errors import UsageError
from flowcore.ports.workers import WorkerInfo, WorkerRegistry

__all__ = ["full_name", "others_named", "refuse_taken", "taken"]

_LOOK = 0.25


def full_name(given: str) -> str:
    """Spell a name as Celery does: ``gpu`` is ``gpu@HOST``, and ``%h`` the host."""
    given = given if "@" in given else f"{given}@%h"
    return host_format(default_nodename(given))


def others_named(board: WorkerRegistry, name: str) -> list[WorkerInfo]:
    """Return the notes of live workers with this name."""
    return [note for note in board.workers() if note.name == name and not _is_dead(note)]


def taken(name: str, others: Sequence[WorkerInfo]) -> str:
    """Say who has the name, and the way out."""
    who = ", ".join(f"process {note.pid}" for note in others)
    return (
        f"a worker is named {name!r} already ({who}); give this one another name with --name "
        "(Celery's -n), or none: then it has one of its own"
    )


def refuse_taken(board: WorkerRegistry, name: str, *, patience: float) -> None:
    """Wait until nobody has the name.

    Args:
        board: Of live workers.
        name: As Celery spells it.
        patience: Seconds; the note of a worker that was killed stays for a while.

    Raises:
        UsageError: Somebody still has it.
    """
    ends = time.monotonic() + patience
    pause = threading.Event()
    while others := others_named(board, name):
        if time.monotonic() >= ends:
            raise UsageError(taken(name, others))
        pause.wait(_LOOK)


def _is_dead(note: WorkerInfo) -> bool:
    """Tell whether it is known that the process of a note has ended: it was one of this host."""
    if nodesplit(note.name)[1] != gethostname():
        return False
    try:
        os.kill(note.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return note.pid == os.getpid()
