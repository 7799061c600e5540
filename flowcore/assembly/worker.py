"""The app of ``celery -A flowcore``, which finds it as ``flowcore.app``.

In: the environment. Out: ``app``. Importing this module connects to nothing yet, except that
without FLOWCORE_REDIS_URL it joins (or starts) the embedded server, with the queues of the project
in the working directory.
"""

import atexit
import logging
import os
from dataclasses import replace
from typing import Any

from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool
from celery.signals import beat_init, worker_init, worker_ready

from flowcore.assembly.embedded import EmbeddedServer
from flowcore.assembly.process_lifetime import report_ready, terminate_self, watch_parent
from flowcore.assembly.runtime import Runtime, build_runtime
from flowcore.assembly.session import project_namespace
from flowcore.assembly.settings import Settings
from flowcore.assembly.worker_names import others_named, taken
from flowcore.celery.start import is_celery_command
from flowcore.celery.steps.janitor import NOTE_KEPT
from flowcore.errors import FlowcoreError, ServiceError, StoreUnreachableError

__all__ = ["app"]

_log = logging.getLogger(__name__)


def _build() -> Runtime:
    settings = Settings.from_env()
    if settings.redis_url is not None:
        return build_runtime(settings, settings.redis_url)
    server = EmbeddedServer.join(home=settings.home)
    atexit.register(server.leave)
    space = settings.namespace or project_namespace()
    return build_runtime(replace(settings, namespace=space), server.url)


def _runtime_of_command() -> Runtime:
    """Wire everything; what is wrong is a sentence where a person reads it."""
    try:
        return _build()
    except FlowcoreError as error:
        if not is_celery_command():
            raise
        raise SystemExit(f"flowcore: {error}") from None


os.environ.setdefault("FLOWCORE_WORKER", "1")
_runtime = _runtime_of_command()
app = _runtime.app


@worker_init.connect(weak=False)
def _on_init(sender: Any = None, **_: Any) -> None:
    """A local worker must not outlive the process that started it, nor start where none can work.

    A server that does not answer yet is waited for, as Celery does.
    """
    watch_parent(terminate_self, hard=not _forks(sender))
    try:
        _runtime.check_servers()
        _runtime.peers.wait(NOTE_KEPT + 1)
        if others := others_named(_runtime.board, sender.hostname):
            _log.warning("%s", taken(sender.hostname, others))
    except StoreUnreachableError as error:
        _log.warning("%s", error)
    except ServiceError as error:
        raise SystemExit(f"flowcore: {error}") from None


def _forks(worker: Any) -> bool:
    """Return whether nodes run in children of the worker, and not in its own process."""
    pool: Any = get_implementation(getattr(worker, "pool_cls", None) or "prefork")
    return isinstance(pool, type) and issubclass(pool, TaskPool)


@worker_ready.connect(weak=False)
def _on_ready(**_: Any) -> None:
    report_ready()


@beat_init.connect(weak=False)
def _on_beat(**_: Any) -> None:
    _log.warning(
        "flowcore's schedules need no beat: workers fire them, and 'flowcore schedules' keeps them"
    )
