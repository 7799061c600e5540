"""The campaign's Celery app: flowcore's own, with places to die at.

In: the environment. Out: ``app``. With FAULTS_UNPROTECTED set it is the control: no janitor.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from flowcore.assembly.worker import app
from flowcore.celery.dispatcher import CeleryDispatcher
from flowcore.celery.gate.redis_consumer import DoorbellQoS
from flowcore.celery.steps.janitor import JanitorStep
from flowcore.engine.child_runs.structured import StructuredNodes
from flowcore.engine.runs.children import EngineChildren
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.store import RedisStore
from tests.faults.crash import DIRECTORY, pass_by

__all__ = ["app"]

#: Set in the control: no janitor.
UNPROTECTED = "FAULTS_UNPROTECTED"

_mine = threading.local()


def _around(
    cls: type, method: str, *, before: Callable[..., None], after: Callable[..., None]
) -> None:
    original = getattr(cls, method)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before(*args)
        answer = original(self, *args, **kwargs)
        after(answer, *args)
        return answer

    setattr(cls, method, wrapped)


def _nothing(*_: Any) -> None:
    pass


def _claimed(claim: Any, *what: Any) -> None:
    _mine.ready = False
    if claim is not None:
        pass_by("claimed", what[0])


def _unsettled(*what: Any) -> None:
    pass_by("unsettled", what[0])


def _settled(advance: Any, *_: Any) -> None:
    _mine.ready = advance.dispatch is not None


def _unpublished(dispatch: Any, *_: Any) -> None:
    # Only what a settle made ready: clients and janitors publish too.
    if getattr(_mine, "ready", False):
        pass_by("unpublished", f"{dispatch.run}: {dispatch.nodes} {dispatch.bundles}")


def _emitted(_: Any, *what: Any) -> None:
    pass_by("emitted", what[0])


def _started(_: Any, *what: Any) -> None:
    pass_by("started", what[0])


def _woken(work: Any, _: Any) -> None:
    if work.resumed is not None:
        pass_by("woken", f"{work.run}.{work.name}#{work.attempt}: {work.resumed.decode()}")


def _popped(message: Any, *_: Any) -> None:
    pass_by("popped", message.headers.get("id"))


if os.environ.get(DIRECTORY):
    _around(RedisStore, "claim", before=_nothing, after=_claimed)
    _around(RedisStore, "adopt", before=_nothing, after=_claimed)
    for method in ("settle", "flush"):
        _around(RedisStore, method, before=_unsettled, after=_settled)
    _around(CeleryDispatcher, "publish", before=_unpublished, after=_nothing)
    _around(RedisEventLog, "append", before=_nothing, after=_emitted)
    _around(EngineChildren, "start", before=_nothing, after=_started)
    _around(StructuredNodes, "turn", before=_woken, after=_nothing)
    _around(DoorbellQoS, "append", before=_popped, after=_nothing)

if os.environ.get(UNPROTECTED):
    app.steps["worker"].discard(JanitorStep)
