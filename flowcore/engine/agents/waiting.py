"""Agents that wait for others without holding a place.

In: words of the store about tasks, on the host's loop. Out: turns that go on.
Nobody depends on a word: whoever hears none looks into the store after a second.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from flowcore.agents.message import Task, TaskState, TaskUpdate
from flowcore.engine.agents.slots import Places
from flowcore.errors import AgentTaskError
from flowcore.ports.agents import TaskStore

__all__ = ["Ears", "TurnWaiting"]

#: Seconds after which one that waits looks into the store, if it was told nothing.
_LOOK = 1.0


class Ears:
    """Who waits for news of which task; used on the loop, except for ``expect``."""

    def __init__(self) -> None:
        """Know of nobody yet."""
        self._ended: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._news: dict[str, set[asyncio.Event]] = defaultdict(set)

    def wake(self, kind: str, task: str) -> None:
        """Wake those who wait for the end of a task (``d``), or for anything new."""
        for each in (self._ended, self._news) if kind == "d" else (self._news,):
            for event in each.get(task, ()):
                event.set()

    async def listen(self, task: str, event: asyncio.Event, *, news: bool) -> None:
        """Wait until there may be news."""
        ears = self._news if news else self._ended
        ears[task].add(event)
        try:
            await asyncio.wait_for(event.wait(), _LOOK)
        except TimeoutError:
            pass
        finally:
            self.forget(task, event, news=news)

    def expect(self, task: str) -> asyncio.Event:
        """Keep the end of a task in mind, should it come before anybody waits for it."""
        event = asyncio.Event()
        self._ended[task].add(event)
        return event

    def forget(self, task: str, event: asyncio.Event, *, news: bool) -> None:
        """Wait no more."""
        ears = self._news if news else self._ended
        ears[task].discard(event)
        if not ears[task]:
            del ears[task]


class TurnWaiting:
    """Implements ``Waiting`` for one turn."""

    def __init__(self, instance: str, ears: Ears, store: TaskStore, places: Places) -> None:
        """Wait with these."""
        self.instance = instance
        self._ears = ears
        self._store = store
        self._places = places
        self._expected: dict[str, asyncio.Event] = {}
        self._waits = 0

    def expect(self, task: str) -> None:
        """Be told that this task will be waited for."""
        self._expected[task] = self._ears.expect(task)

    def forget(self) -> None:
        """Wait for nothing any more."""
        for task, event in self._expected.items():
            self._ears.forget(task, event, news=False)

    async def news(self, task: str, *, after: int) -> Sequence[TaskUpdate]:
        """Return the events of a task after one, once there are any."""
        self._begin()
        try:
            while not (found := self._store.updates(task, after=after)):
                await self._ears.listen(task, asyncio.Event(), news=True)
        finally:
            self._end()
        return found

    async def ended(self, task: str, *, look: bool) -> Task:
        """Return a task once it has ended, or asks; ``look`` if that may have been long ago."""
        event = self._expected.pop(task, None) or asyncio.Event()
        self._begin()
        try:
            while True:
                if not look:
                    await self._ears.listen(task, event, news=False)
                    event = asyncio.Event()
                look = False
                found = self._store.get(task)
                if found is None:
                    raise AgentTaskError(f"task {task!r} is gone: it is past its retention")
                if found.state.is_terminal or found.state is TaskState.INPUT_REQUIRED:
                    return found
        finally:
            self._ears.forget(task, event, news=False)
            self._end()

    def _begin(self) -> None:
        """Give the place to others; a turn has one, however many it waits for."""
        self._waits += 1
        if self._waits == 1:
            self._places.give()

    def _end(self) -> None:
        self._waits -= 1
        if not self._waits:
            self._places.take()
