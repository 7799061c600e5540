"""A worker's note about itself.

In: Celery's worker, in its parent process. Out: a WorkerInfo, and the names of what its modules
offer. Not here: when the note is written (steps.janitor).
"""

import importlib.metadata
import os
import resource
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.celery.capacity import slots_of
from flowcore.nodes.resolve import MARKER
from flowcore.ports.workers import WorkerInfo

__all__ = ["make_note", "marked_callables", "with_memory"]

#: So many names at most: a note is for people and for checks, not for a catalogue.
_MOST = 2000

_PROC = Path("/proc")


def make_note(worker: Any, engines: Mapping[str, str]) -> WorkerInfo:
    """Describe a worker that is about to begin.

    Args:
        worker: Celery's.
        engines: Versions by backend.
    """
    return WorkerInfo(
        id=f"{worker.hostname}|{os.getpid()}|{secrets.token_hex(4)}",
        name=worker.hostname,
        queues=tuple(sorted(worker.app.amqp.queues.consume_from)),
        concurrency=slots_of(worker),
        pool=worker.pool_cls.__module__.rsplit(".", 1)[-1],
        pid=os.getpid(),
        version=importlib.metadata.version("flowcore"),
        engines=dict(engines),
    )


def with_memory(note: WorkerInfo, worker: Any) -> WorkerInfo:
    """Return the note with what the worker and the children of its pool hold now."""
    return replace(note, memory=sum(map(_resident, [note.pid, *_children(worker)])))


def marked_callables() -> tuple[str, ...]:
    """Name what is marked, nodes and agents, in the modules that this process has imported.

    Each is ``module:name``, under the module that defines it; ours are left out.
    """
    found = sorted({name for module in list(sys.modules) for name in _marked_in(module)})
    return tuple(found[:_MOST])


def _marked_in(module: str) -> Iterator[str]:
    if module.partition(".")[0] == "flowcore" or module == "__main__":
        return
    # What a module that loads its parts lazily has not loaded yet is not looked for.
    for name, value in list(getattr(sys.modules[module], "__dict__", {}).items()):
        if _is_marked(value) and _home_of(value) == module:
            yield f"{module}:{name}"


def _is_marked(value: Any) -> bool:
    """Looks at the object itself: a proxy would answer to any attribute."""
    if type(value) is AgentSpec:
        return True
    attached = getattr(type(value), "__dict__", {})
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    return MARKER in own or (MARKER in attached and not isinstance(value, type))


def _home_of(value: Any) -> Any:
    return getattr(value.call if type(value) is AgentSpec else value, "__module__", None)


def _children(worker: Any) -> list[int]:
    """Ask the prefork pool for the processes that it has now; other pools have none."""
    pool = getattr(getattr(worker, "pool", None), "_pool", None)
    processes = getattr(pool, "_pool", None)
    if not isinstance(processes, list):
        return []
    return [pid for each in list(processes) if isinstance(pid := getattr(each, "pid", None), int)]


def _resident(pid: int) -> int:
    try:
        pages = (_PROC / str(pid) / "statm").read_text("ascii").split()[1]
    except (OSError, IndexError):
        return 0 if pid != os.getpid() else _peak()
    return int(pages) * resource.getpagesize()


def _peak() -> int:
    """Return the process's peak memory in bytes; systems count it in bytes or in KiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
