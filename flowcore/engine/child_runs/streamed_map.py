"""SOURCES: a map whose items come from a function, and begin while that still runs.

In: an attempt of such a map's node. Out: that it waits for its items, their outputs, a failure.
Not here: lists that are there from the beginning (structured), when items begin (item_feed).

Its items are runs of their own, ``RUN/NODE``, ``RUN/NODE@7``, each with those that had come when it
was made, from the seventh on; ``RUN/NODE@end`` says that there are no more. A source that is begun
again, since it failed or its worker died, is expected to give the same items once more: those that
have begun are not begun again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.child_runs.child_run import (
    Children,
    ChildRunFailed,
    child_run_id,
    failure_of,
    may_retry_child,
    outer_scope,
    parent_of,
    wait_for_child,
)
from flowcore.engine.child_runs.item_feed import ItemFeed
from flowcore.engine.values.output_batches import portions
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import ChildRunError, OrphanError
from flowcore.plan.children import end_plan, map_plan
from flowcore.plan.policy import StructuredSpec
from flowcore.ports.store import Outcome, RunReader
from flowcore.run.record import Failure, RunSummary
from flowcore.run.status import NodeState, RunState

__all__ = ["Drain", "StreamedMaps"]

#: Calls the source's function, and gives each item that comes of it to what it is given.
Drain: TypeAlias = Callable[[Callable[[Any], object]], object]

_END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The runs of a map's items."""

    root: str
    ids: Mapping[int, str]
    """By the number of the first entry of each."""
    ended: bool
    """Whether there are no more."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every run, in the order of their entries."""
        end = (f"{self.root}@{_END}",) if self.ended else ()
        return (*(self.ids[first] for first in sorted(self.ids)), *end)


class StreamedMaps:
    """Runs maps whose items come from a function."""

    def __init__(self, reader: RunReader, payloads: Payloads, children: Children) -> None:
        """Keep the ports."""
        self._reader = reader
        self._payloads = payloads
        self._children = children

    def turn(
        self, work: AttemptContext, body: StructuredSpec, drain: Drain, key: Callable[[], str]
    ) -> Any:
        """Have a turn.

        Args:
            work: The attempt.
            body: What the node starts.
            drain: Calls the source.
            key: Gives what stands for the source's arguments, for which it gives the same items.

        Returns:
            The node's output; or an ``Outcome``: it waits.

        Raises:
            ChildRunFailed: An item has failed.
            Exception: What the source raised.
        """
        parts = self._parts(work)
        if work.resumed is not None:
            return self._come_to(work, body, parts)
        if work.before_emit is not None:
            work.before_emit()  # the store has to know that this attempt is running
        try:
            return self._come_to(work, body, self._begin(work, body, parts, drain, key()))
        except OrphanError:
            return Outcome(kind="cancelled")  # somebody else has the node

    # ── the first turn ──────────────────────────────────────────────────────────────────────────

    def _begin(
        self, work: AttemptContext, body: StructuredSpec, parts: _Parts, drain: Drain, given: str
    ) -> _Parts:
        """Have every item begun, and let those go on that began in an earlier attempt."""
        over = self._reader.summary(work.run)
        life = over.resumes if over is not None else 0
        if life and parts.all and self._given(parts) != given:
            parts = _Parts(root=f"{child_run_id(work)}@r{life}", ids={}, ended=False)
        found = {id: self._reader.summary(id) for id in parts.all}
        for id, summary in found.items():
            if summary is None or summary.state not in {RunState.FAILED, RunState.CANCELLED}:
                continue
            if may_retry_child(work, summary):
                self._children.resume(id, parent_of(work))
        if not parts.ended:
            start = partial(self._start, work, body, parts.root, given)
            begun = sum(one.total for one in found.values() if one is not None)
            with ItemFeed(start, name=work.name, begun=begun, size=body.chunk_size) as feed:
                drain(feed.put)
            last: dict[str, Any] = {"inputs": {}, "outer": {}, "upstream": None}
            last |= {"source": given, "entries": feed.begun}
            end = end_plan(work.plan, work.node, body)
            self._children.start(f"{parts.root}@{_END}", end, last, parent_of(work))
        return self._parts(work)

    def _start(
        self,
        work: AttemptContext,
        body: StructuredSpec,
        root: str,
        given: str,
        first: int,
        items: list[Any],
    ) -> None:
        """Begin some items."""
        for id in self._parts(work).all if work.plan.fail_fast else ():
            summary = self._reader.summary(id)
            if summary is not None:
                _refuse(work, body, summary)  # there is no use in more of them
        plan = map_plan(work.plan, work.node, body, len(items), first=first, limit=root)
        input = {**outer_scope(work, body), "items": items, "source": given}
        self._children.start(f"{root}@{first}" if first else root, plan, input, parent_of(work))

    def _given(self, parts: _Parts) -> str:
        """Return the arguments of the source that yielded these items."""
        blob = self._reader.input(parts.all[0])
        found: str = self._payloads.unpack(blob, what="input of the run")["source"]
        return found

    def _parts(self, work: AttemptContext) -> _Parts:
        """The runs that the node has started; of several sets, those of the latest."""
        base, sets = child_run_id(work), dict[int, list[str]]()
        for id, node in self._reader.children(work.run).items():
            if node == work.node:
                life, at = _place(id.removeprefix(base))
                sets.setdefault(life, []).append(at)
        if not sets:
            return _Parts(root=base, ids={}, ended=False)
        life = max(sets)
        root, found = f"{base}@r{life}" if life else base, sets[life]
        ids = {int(at): f"{root}@{at}" if int(at) else root for at in found if at != _END}
        return _Parts(root=root, ids=ids, ended=_END in found)

    # ── the others ──────────────────────────────────────────────────────────────────────────────

    def _come_to(self, work: AttemptContext, body: StructuredSpec, parts: _Parts) -> Any:
        """Return the outputs of the items, when all of them have ended."""
        found: list[RunSummary] = []
        for id in parts.all:
            summary = self._reader.summary(id)
            if summary is None:
                raise ChildRunError(f"run {id!r} is no longer kept")
            if work.plan.fail_fast:
                _refuse(work, body, summary)
            found.append(summary)
        entries = found[:-1]  # the last one is the end
        self._refuse_too_many(work, body, entries)
        for summary in found:
            if not summary.state.is_terminal:
                count = sum(one.total for one in entries)
                return wait_for_child(summary.id, f"runs {count} item{'s' if count != 1 else ''}")
        for summary in found:
            _refuse(work, body, summary)
        self._refuse_gaps(parts, entries)
        return [value for one in entries for value in self._outputs(one)]

    def _refuse_gaps(self, parts: _Parts, entries: Sequence[RunSummary]) -> None:
        """Raise when a server that lost its last second has lost items with it."""
        blob = self._reader.input(parts.all[-1])
        total: int = self._payloads.unpack(blob, what="input of the run")["entries"]
        begun = 0
        for first, one in zip(sorted(parts.ids), entries, strict=True):
            if first != begun:
                break
            begun += one.total
        if begun != total:
            msg = f"items from {begun} on are gone: the server has lost what it was told of them"
            raise ChildRunError(f"{msg}; run the flow again")

    def _refuse_too_many(
        self, work: AttemptContext, body: StructuredSpec, entries: Sequence[RunSummary]
    ) -> None:
        """Raise when more items have failed than may, of all runs together."""
        if not body.tolerated:
            return
        total = sum(one.total for one in entries)
        most = body.tolerated if isinstance(body.tolerated, int) else int(body.tolerated * total)
        failed = 0
        for one in entries:
            states = self._reader.states(one.id, range(one.total))
            failed += sum(state is NodeState.FAILED for state in states.values())
        if failed > most:
            what = f"{failed} of {total} items have failed, and {most} may"
            error = ChildRunError(what)
            raise ChildRunFailed(
                Failure(type="ChildRunError", code=error.code, message=what, node=work.name)
            )

    def _outputs(self, part: RunSummary) -> list[Any]:
        blobs: dict[int, bytes] = {}
        for portion in portions(self._reader, part.id, range(part.total)):
            blobs.update(portion)
        what = "output of an item"
        return [
            self._payloads.unpack(blobs[at], what=what) if at in blobs else None
            for at in range(part.total)
        ]


def _place(rest: str) -> tuple[int, str]:
    """Of which set a run is, and its first entry, from the end of its id."""
    words = rest.split("@")[1:]
    life = int(words.pop(0)[1:]) if words and words[0].startswith("r") else 0
    return life, words[0] if words else "0"


def _refuse(work: AttemptContext, body: StructuredSpec, summary: RunSummary) -> None:
    """Raise when a run has ended badly."""
    if summary.state.is_terminal and summary.state is not RunState.SUCCEEDED:
        raise failure_of(work, body, summary)
