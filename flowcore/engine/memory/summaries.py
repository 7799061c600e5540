"""SUMMARISING: what is older becomes a summary, whatever the function that makes it does.

In: a thread, a user's function. Out: a shorter thread, or a word why not. Not here: adding
(thread).

Adding a message must not depend on the summariser, mostly a model elsewhere: it is called in a
thread of its own, for which the writer waits a few seconds and no longer. One that is slow ends in
the background. One that fails is tried again with the next message; one that was slow to fail is
left alone for a while. Until then nothing is forgotten. Who summarises holds a claim, so that two
writers do not pay a model twice, and a summary of what was cleared meanwhile is never kept.
"""

import asyncio
import contextvars
import inspect
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.engine.memory.trimming import boundaries
from flowcore.engine.values.event_limits import shorten
from flowcore.engine.values.failure import describe
from flowcore.errors import FlowcoreError, UsageError
from flowcore.forks import renew_after_fork
from flowcore.nodes.resolve import resolve
from flowcore.ports.memory import Conversation, MemoryStore
from flowcore.run.text import to_utf8

__all__ = ["Summariser"]

_log = logging.getLogger(__name__)

#: Seconds that a writer waits for a summary.
WAIT = 5.0
#: Seconds after which a claim is over, and no further part is begun.
LIMIT = 120.0
#: Messages that are summarised with one call, if a flow does not keep more by itself.
PORTION = 100
#: Summarisers of a process that may be under way; more would be threads that hang.
MOST_AT_ONCE = 8

#: What failed faster than this (s) is tried again with the next message.
_QUICK = 1.0
#: What was slow is left alone for so many times as long, with each try more, and at most so long.
_PATIENCE = 10.0
_LONGEST_PAUSE = 600.0
_MOST_WORDS = 300


class _Running:
    """The claims of this process whose summariser has not ended; a forked child has none."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self, _Running.renew)

    def renew(self) -> None:
        """Begin with none."""
        self.tokens: set[str] = set()


_running = _Running()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summariser:
    """Summarises one thread."""

    store: MemoryStore
    name: str
    """The thread's full name."""
    function: str | Callable[..., Any]
    after: int
    """Messages above which the older half is summarised."""
    read: Callable[[Conversation], list[dict[str, Any]]]
    """Makes messages of what is kept."""
    pack: Callable[[str], bytes]
    """Packs a summary, without the secrets that the writer knows, unless it is too large."""
    unpack: Callable[[bytes], Any]
    hide: Callable[[str], str] = str
    log: "logging.Logger | logging.LoggerAdapter[Any]" = field(default=_log)

    def catch_up(self) -> None:
        """Summarise what there is to summarise, and wait a little for it; it never raises."""
        token = uuid.uuid4().hex
        try:
            if len(_running.tokens) >= MOST_AT_ONCE or not (
                tries := self.store.claim(self.name, token, LIMIT)
            ):
                return
        except FlowcoreError as error:
            self.log.warning("thread %s is summarised later: %s", self.name, error)
            return
        ended: list[str] = []
        done = threading.Event()
        call = contextvars.copy_context().run
        work = threading.Thread(
            target=call, args=(self._work, token, tries, ended, done), daemon=True
        )
        _running.tokens.add(token)
        try:
            work.start()
        except RuntimeError as error:  # there is no room for a thread
            _running.tokens.discard(token)
            ended.append(str(error))
            done.set()
        if not done.wait(WAIT):
            level = logging.INFO if tries == 1 else logging.WARNING
            words = "the summary of thread %s takes more than %g s (try %d): it is made meanwhile"
            self.log.log(level, words, self.name, WAIT, tries)
        elif ended and tries & (tries - 1) == 0:  # the first, the second, the fourth, …
            words = "thread %s is not summarised yet, and nothing of it is lost (try %d): %s"
            self.log.warning(words, self.name, tries, ended[0])

    def _work(self, token: str, tries: int, ended: list[str], done: threading.Event) -> None:
        began = time.monotonic()
        try:
            while self._portion(token) and time.monotonic() - began < LIMIT:
                pass
        except BaseException as error:  # noqa: BLE001  (whatever it is, adding goes on)
            ended.append(self._words(error))
        took = time.monotonic() - began
        pause = 0.0 if took < _QUICK else min(_LONGEST_PAUSE, took * _PATIENCE * tries)
        why = ended[0] if ended else ""
        try:
            self.store.release(self.name, token, pause=pause if why else 0.0, why=why)
        except FlowcoreError as error:  # the claim ends by itself
            _log.debug("the claim of thread %s is not given back: %s", self.name, error)
        finally:
            _running.tokens.discard(token)
            done.set()

    def _portion(self, token: str) -> bool:
        """Summarise the oldest messages; say whether there may be more to do."""
        kept = self.store.read(self.name)
        body = self.read(kept)[kept.pinned :]
        count = self._count(body)
        if not count:
            return False
        so_far = None if kept.summary is None else self.unpack(kept.summary)
        summary = _checked(self._call(body[:count], so_far), self.function)
        upto = kept.entries[kept.pinned + count - 1].id
        return self.store.fold(self.name, token, self.pack(summary), upto=upto)

    def _count(self, body: Sequence[Mapping[str, Any]]) -> int:
        """Return the number of messages to summarise: the older half, up to a block's end."""
        if len(body) <= self.after:
            return 0
        older = min(len(body) - max(1, self.after // 2), max(PORTION, self.after))
        ends = boundaries(body)[1:]
        before = [end for end in ends if end <= older]
        return before[-1] if before else next(iter(ends), 0)

    def _call(self, messages: list[dict[str, Any]], summary: Any) -> Any:
        """Call the function, in a thread that has no event loop."""
        found = self.function
        if isinstance(found, str):
            found = resolve(found).function
        value = found(messages=messages, summary=summary)
        if inspect.isawaitable(value):
            return asyncio.run(_awaited(value))
        return value

    def _words(self, error: BaseException) -> str:
        """The words of an error, whatever it is."""
        failure = describe(error, node="", attempt=1, worker="", hide=self.hide)
        return shorten(to_utf8(f"{failure.type}: {failure.message}"), _MOST_WORDS)


async def _awaited(value: Any) -> Any:
    async with asyncio.timeout(LIMIT):
        return await value


def _checked(summary: Any, function: Any) -> str:
    """Refuse what is no summary.

    Raises:
        UsageError: It is not text, an empty one, or a page of HTML, as proxies send it.
    """
    if not isinstance(summary, str) or not summary.strip():
        msg = f"summariser {function} gave {summary!r:.80} instead of text"
        raise UsageError(msg)
    start = summary.lstrip("\ufeff \t\r\n")[:20].lower()
    if start.startswith(("<!doctype html", "<html")):
        msg = f"summariser {function} gave a page of HTML instead of text: {summary.strip()[:60]!r}"
        raise UsageError(msg)
    return to_utf8(summary)
