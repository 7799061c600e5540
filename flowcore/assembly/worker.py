"""The app that ``celery -A worker worker`` and flowcore's own local workers start.

In: the environment. Out: ``app``. Importing this module connects to nothing yet, except that
without FLOWCORE_REDIS_URL it joins (or starts) the embedded server.
"""

import atexit
import logging
import os
from typing import Any

from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool
from celery.signals import worker_init, worker_ready

from flowcore.assembly.build import build_runtime
from flowcore.assembly.embedded import EmbeddedServer
from flowcore.assembly.lifeline import report_ready, terminate_self, watch_parent
from flowcore.assembly.settings import Settings
from flowcore.backends.native.janitor import NOTE_KEPT
from flowcore.errors import ServiceError, StoreUnreachableError

__all__ = ["app"]

_log = logging.getLogger(__name__)


def _redis_url(settings: Settings) -> str:
    if settings.redis_url is not None:
        return settings.redis_url
    server = EmbeddedServer.join(home=settings.home)
    atexit.register(server.leave)
    return server.url


os.environ.setdefault("FLOWCORE_WORKER", "1")
_settings = Settings.from_env()
_runtime = build_runtime(_settings, _redis_url(_settings))
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
    except StoreUnreachableError as error:
        _log.warning("%s", error)
    except ServiceError as error:
        raise SystemExit(f"flowcore: {error}") from None


def _forks(worker: Any) -> bool:
    """Whether nodes run in children of the worker, and not in its own process."""
    pool: Any = get_implementation(getattr(worker, "pool_cls", None) or "prefork")
    return isinstance(pool, type) and issubclass(pool, TaskPool)


@worker_ready.connect(weak=False)
def _on_ready(**_: Any) -> None:
    report_ready()
