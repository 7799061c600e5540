"""Feeding a map while what gives its items still runs.

In: a function that gives items one by one, and what begins some of them. Out: they are begun in
portions, soon. Not here: what beginning them means (streamed_map).

A thread of its own takes what has come up to then, so that an item does not wait for the next one.
The portions grow with the time that the source takes: an item waits for a twentieth of that, a
second at most, and a thousand items a second do not make a thousand runs.
"""

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from flowcore.errors import UsageError
from flowcore.graph.flow import MOST_ITEMS

__all__ = ["MOST_ITEMS", "ItemFeed", "feeding"]

#: The longest that an item waits, and which part of the time so far.
_LONGEST, _PART = 1.0, 0.05


class ItemFeed:
    """Begins items as they come; used as a context manager, in whose end all of them are begun."""

    def __init__(
        self,
        begin: Callable[[int, list[Any]], object],
        *,
        name: str,
        begun: int = 0,
        size: int | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            begin: Called with the number of the first entry of a portion, and the portion: of
                items, or of lists of ``size`` items.
            name: The node's, for messages.
            begun: Entries that were begun before; the first ones that come are those.
            size: Items of an entry that is a list.
        """
        self._begin = begin
        self._name = name
        self._begun = begun
        self._size = size
        self._skip = begun * (size or 1)
        self._count = 0
        self._items: list[Any] = []
        self._ended = False
        self._trouble: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="flowcore-feed", daemon=True)

    @property
    def begun(self) -> int:
        """Entries that have begun so far; all of them, once it is closed."""
        return self._begun

    def put(self, item: Any) -> None:
        """Give one item.

        Raises:
            BaseException: What went wrong when earlier ones were to begin.
        """
        with self._changed:
            if self._trouble is not None:
                raise self._trouble
            self._count += 1
            if self._count > MOST_ITEMS:
                msg = (
                    f"'for_each' of node {self._name!r} gave more than {MOST_ITEMS:,} items, which "
                    "is the most for one map: give it lists of items"
                )
                raise UsageError(msg)
            if self._count > self._skip:
                self._items.append(item)
                self._changed.notify()

    def __enter__(self) -> Self:
        """Begin items from now on."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Begin what is left, unless the source has failed."""
        with self._changed:
            self._ended = True
            if error is not None:
                self._items.clear()
            self._changed.notify()
        self._thread.join()
        if error is None and self._trouble is not None:
            raise self._trouble

    def _work(self) -> None:
        started, due = time.monotonic(), 0.0
        while True:
            with self._changed:
                while not self._ended and not (self._whole() and time.monotonic() >= due):
                    wait = due - time.monotonic() if self._whole() else None
                    self._changed.wait(wait)
                count = len(self._items) if self._ended else self._whole()
                taken, self._items = self._items[:count], self._items[count:]
            if not taken:
                return
            entries = _lists(taken, self._size)
            try:
                self._begin(self._begun, entries)
            except BaseException as trouble:  # noqa: BLE001  (it is raised where items are given)
                with self._changed:
                    self._trouble = trouble
                return
            self._begun += len(entries)
            now = time.monotonic()
            due = now + min(_LONGEST, _PART * (now - started))

    def _whole(self) -> int:
        """Items that make whole entries."""
        return len(self._items) - len(self._items) % (self._size or 1)


def _lists(items: list[Any], size: int | None) -> list[Any]:
    if size is None:
        return items
    return [items[at : at + size] for at in range(0, len(items), size)]


def feeding(function: Callable[..., Any], put: Callable[[Any], object]) -> Callable[..., Any]:
    """Turn a function that gives items into one that hands each of them on as it comes.

    Args:
        function: A generator, sync or async, or a function that returns something to iterate over.
        put: Takes an item.
    """

    def fed(*args: Any, **kwargs: Any) -> Any:
        given = function(*args, **kwargs)
        if inspect.isawaitable(given):
            return _fed_later(given, put)
        if inspect.isasyncgen(given) or hasattr(given, "__aiter__"):
            return _fed_async(given, put)
        return _fed(given, put)

    return fed


def _fed(given: Any, put: Callable[[Any], object]) -> None:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        kind = "nothing" if given is None else type(given).__name__
        msg = f"a source of items is a generator, or returns a list of items; this one gave {kind}"
        raise UsageError(msg)
    for item in given:
        put(item)


async def _fed_async(given: Any, put: Callable[[Any], object]) -> None:
    async for item in given:
        put(item)


async def _fed_later(given: Any, put: Callable[[Any], object]) -> None:
    _fed(await given, put)
