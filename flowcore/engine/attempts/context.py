"""Context and logger of a node's function.

In: an attempt. Out: a Context whose words become notes of the run's log. Not here: writing them
(event_emitter).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.attempts.event_emitter import EventBuffer, Flusher
from flowcore.engine.attempts.generators import NodeLogger, token
from flowcore.engine.attempts.print_capture import MOST_LINE, capture
from flowcore.engine.memory.thread import MemoryRules, ThreadMemory
from flowcore.engine.values.event_limits import Limits
from flowcore.errors import FlowcoreError
from flowcore.expr.template import compile_template
from flowcore.nodes.context import Context, Resumed
from flowcore.nodes.types.memory import Memory
from flowcore.ports.memory import MemoryStore
from flowcore.ports.store import EventLog
from flowcore.run.event import EventType
from flowcore.run.node_event import Note
from flowcore.run.text import to_utf8
from flowcore.run.wire import pack, unpack

__all__ = ["ContextFactory"]

_Attempt = TypeVar("_Attempt", bound=Callable[..., Any])

_log = logging.getLogger("flowcore.node")


class ContextFactory:
    """Gives the attempts of a process their contexts."""

    def __init__(self, events: EventLog, limits: Limits, memory: MemoryStore | None) -> None:
        """Have what is said written to ``events``, within ``limits``; remember in ``memory``."""
        self._events = events
        self._limits = limits
        self._memory = memory
        self._flusher = Flusher()
        self._beginning = threading.Lock()

    def close(self) -> None:
        """End the thread that writes what is said, if there is one."""
        self._flusher.close()

    def context(self, work: AttemptContext) -> Context:
        """Make the context of an attempt."""
        name, streams = work.name, work.plan.streaming
        say = partial(self._say, work)
        facts = {"run": work.run, "node": name, "attempt": work.attempt}
        log = partial(say, EventType.NODE_LOG) if streams else None
        logger = NodeLogger(_log, facts, log, hide=work.hidden_text)
        store = self._memory
        return Context(
            run_id=work.run,
            flow=work.plan.flow,
            node_id=name,
            attempt=work.attempt,
            logger=logger,
            worker=work.worker,
            resumed=_resumed(work.resumed),
            stopping=work.stopper.stopping,
            _inputs=lambda: work.upstream.inputs,
            _memory=None if store is None else partial(self._thread, store, work, logger),
            _emit=partial(say, EventType.NODE_EMITTED),
            _token=self._tokens(work) if streams else (lambda _: True),
            _key=None
            if work.plan.policy(work.node).idempotency_key is None
            else partial(_key_of, work),
        )

    def finish(self, work: AttemptContext) -> None:
        """Have all written that an attempt has said, once its function has ended.

        Raises:
            StoreUnreachableError: The store stays out of reach.
            StoreFullError: It stays full.
        """
        if work.held:
            self._say(work, EventType.NODE_TOKEN, token(work.held))
            work.held = ""
        if work.emission is not None:
            work.emission.close()

    def hearing(self, attempt: _Attempt) -> _Attempt:
        """Return what makes attempts, so that what they print is heard, if it is to be."""
        if not self._limits.prints:
            return attempt

        def heard(work: AttemptContext, **how: Any) -> Any:
            if not work.plan.streaming:
                return attempt(work, **how)
            try:
                with capture(partial(self._print, work), split=work.split):
                    return attempt(work, **how)
            finally:
                if work.emission is not None:
                    work.emission.close()

        return cast("_Attempt", heard)

    def _print(self, work: AttemptContext, line: str) -> bool:
        """Make a line that was printed a record of the node's log; none is dropped for others."""
        try:
            text = to_utf8(work.hidden_text(line))
            emission = self._emission(work)
            for at in range(0, max(1, len(text)), MOST_LINE):
                emission.make_way()
                about = {"level": "INFO", "message": text[at : at + MOST_LINE], "stream": "stdout"}
                if not self._say(work, EventType.NODE_LOG, about):
                    return False
        except FlowcoreError:
            return False
        return True

    def _tokens(self, work: AttemptContext) -> Callable[[Any], bool]:
        """Return the emitter of a node's tokens; a secret that spans several of them is hidden."""
        redactor = work.redactor
        if redactor is None:
            return lambda chunk: self._say(work, EventType.NODE_TOKEN, token(chunk))

        def say(chunk: Any) -> bool:
            with self._beginning:
                held, work.held = work.held, ""
                if isinstance(chunk, str):
                    chunk, work.held = redactor.split(held + chunk)
                    held = ""
            heard = not held or self._say(work, EventType.NODE_TOKEN, token(held))
            return self._say(work, EventType.NODE_TOKEN, token(chunk)) if chunk != "" else heard

        return say

    def tell(self, work: AttemptContext, kind: EventType, data: Mapping[str, Any]) -> None:
        """Say what the engine has done with an attempt; it is written before the node's end."""
        emission = self._emission(work)
        emission.say(Note(type=kind, packed=pack(dict(data))))
        emission.close()

    def _thread(self, store: MemoryStore, work: AttemptContext, logger: NodeLogger) -> Memory:
        """The run's thread, the same one each time an attempt asks."""
        with self._beginning:
            if work.memory is None:
                work.memory = thread_of(store, work, logger)
            return work.memory

    def _say(self, work: AttemptContext, kind: EventType, data: Mapping[str, Any]) -> bool:
        """Have what a node says written; False when it is not heard."""
        data = work.hidden(data, what=f"an event of node {work.name!r}")
        note = Note(type=kind, packed=self._limits.pack_event(data, node=work.name))
        return self._emission(work).say(note)

    def _emission(self, work: AttemptContext) -> EventBuffer:
        """Return the attempt's event buffer, begun when it first emits something."""
        with self._beginning:
            if work.emission is None:
                work.emission = EventBuffer(
                    self._events,
                    work.ticket,
                    size=work.plan.buffer_size,
                    flusher=self._flusher,
                    before=work.before_emit,
                )
            return work.emission


def _key_of(work: AttemptContext) -> str:
    """Return the value of the node's own idempotency key."""
    template = compile_template({"key": work.plan.policy(work.node).idempotency_key})
    context = work.upstream.context(template.node_refs, names=template.names, node=work.node)
    return str(cast("Mapping[str, Any]", template.render(context))["key"])


def _resumed(what: bytes | None) -> Resumed | None:
    if what is None:
        return None
    return Resumed("signal", unpack(what)) if what else Resumed("time")


def thread_of(store: MemoryStore, work: AttemptContext, logger: NodeLogger) -> ThreadMemory:
    """Find the thread of a run: what its flow says, else the input ``thread``, else the run."""
    config = work.plan.memory
    root = work.run.partition("/")[0]  # the items of a map, and sub-flows, are part of their run
    thread: Any = root
    if text := config.get("thread"):
        template = compile_template({"thread": text})
        context = work.upstream.context(template.node_refs, names=template.names)
        thread = cast("Mapping[str, Any]", template.render(context))["thread"]
    else:
        thread = work.upstream.inputs.get("thread") or root
    return ThreadMemory(
        store=store,
        rules=MemoryRules.of(config),
        space=config.get("name") or work.plan.flow,
        id=str(thread),
        writer=f"{work.run}.{work.name}",
        hide=work.hidden,
        log=logger,
    )
