"""The events of a task whose function runs several times: together they are one run's output."""

from collections.abc import Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.agents.message import Artifact, Message, Part, TaskState, TaskUpdate, artifacts_of
from flowcore.engine.agents.event_writer import MAX_TASK, EventWriter
from flowcore.errors import AgentTaskStateError, UnsupportedValueError
from flowcore.ports.agents import TaskClaim, TaskLease
from tests.deep import count


class Store:
    """Keeps the events of one task."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes]] = []
        self.is_lost = False

    def emit(self, hold: TaskLease, number: int, kind: str, body: bytes) -> bool:
        if self.is_lost:
            return False
        if number > len(self.events):
            assert number == len(self.events) + 1, "numbers have no gaps"
            self.events.append((kind, body))
        return True

    def updates(self, task: str, *, after: int = 0, wait: float = 0.0) -> Sequence[TaskUpdate]:
        return [
            self._update(seq, kind, msgpack.unpackb(body))
            for seq, (kind, body) in enumerate(self.events, 1)
            if seq > after
        ]

    def artifacts(self) -> list[tuple[str, str, list[Any]]]:
        return _shown(artifacts_of(self.updates("t")))

    def writer(self, *, again: bool) -> EventWriter:
        claim = TaskClaim(
            hold=TaskLease(task="t", token=1),
            agent="writer",
            context="c",
            messages=(),
            emitted=len(self.events),
            tries=0,
            again=again,
        )
        return EventWriter(claim, self)  # type: ignore[arg-type]

    def _update(self, seq: int, kind: str, found: dict[str, Any]) -> TaskUpdate:
        return TaskUpdate(
            seq=seq,
            task_id="t",
            context_id="c",
            timestamp="",
            state=TaskState.WORKING,
            said=Message.from_json(found) if kind == "status" else None,
            artifact=None if kind == "status" else Artifact.from_json(found),
            append=kind == "append",
            withdrawn=kind == "withdraw",
        )


def _shown(artifacts: Sequence[Artifact]) -> list[tuple[str, str, list[Any]]]:
    return sorted(
        (each.artifact_id, each.name, [repr(part.to_json()) for part in each.parts])
        for each in artifacts
    )


#: What a function does: an artifact, whole or in pieces, or a status.
_VALUES: st.SearchStrategy[Any] = st.sampled_from(["a", "b", "", 1, True, 1.0, [1], [True], None])
_PART = st.one_of(
    st.builds(lambda text: Part(text=text), st.sampled_from(["a", "b", ""])),
    st.builds(lambda data: Part(data=data), _VALUES),
)
_PIECE = st.builds(
    Artifact,
    artifact_id=st.sampled_from(["result", "notes"]),
    parts=st.lists(_PART, max_size=3).map(tuple),
    name=st.sampled_from(["", "", "n"]),
)
_STEP = st.one_of(
    st.tuples(st.just("piece"), _PIECE),
    st.tuples(st.just("piece"), _PIECE),
    st.tuples(st.just("whole"), _PIECE),
    st.tuples(st.just("status"), st.sampled_from(["reads", "writes"])),
)
_RUN = st.tuples(st.booleans(), st.lists(_STEP, max_size=6), st.booleans())


def _do(writer: EventWriter, steps: Sequence[tuple[str, Any]]) -> None:
    for kind, value in steps:
        getattr(writer, kind)(value)


@settings(max_examples=count(150, 5000))
@given(runs=st.lists(_RUN, min_size=1, max_size=4))
def test_the_events_of_several_runs_are_the_output_of_the_last(
    runs: Sequence[tuple[bool, Sequence[tuple[str, Any]], bool]],
) -> None:
    """Cut off in its midst or not, another try or the same one that goes on."""
    store = Store()
    for again, steps, ends in runs:
        writer = store.writer(again=again)
        _do(writer, steps)
        if ends:
            writer.close()
    last = store.writer(again=runs[-1][0])
    _do(last, runs[-1][1])
    last.close()
    alone = Store()
    only = alone.writer(again=False)
    _do(only, runs[-1][1])
    only.close()
    assert store.artifacts() == alone.artifacts()


@settings(max_examples=count(50, 1000))
@given(steps=st.lists(_STEP, max_size=6))
def test_a_turn_that_makes_the_same_again_tells_nothing(
    steps: Sequence[tuple[str, Any]],
) -> None:
    once = [each for each in steps if each[0] != "whole"]
    store = Store()
    first = store.writer(again=False)
    _do(first, once)
    first.close()
    before = list(store.events)
    second = store.writer(again=False)
    _do(second, once)
    second.close()
    assert store.events == before


def test_another_try_begins_anew_even_with_the_same_pieces() -> None:
    store = Store()
    for again in (False, True):
        writer = store.writer(again=again)
        for text in "ab":
            writer.piece(Artifact(artifact_id="result", parts=(Part(text=text),)))
        writer.close()
    assert [kind for kind, _ in store.events] == ["artifact", "append"] * 2


def test_a_lost_task_takes_no_events() -> None:
    store = Store()
    writer = store.writer(again=False)
    store.is_lost = True
    with pytest.raises(AgentTaskStateError, match="no longer this worker's"):
        writer.status("reads")


def test_what_one_run_tells_has_a_bound() -> None:
    writer = Store().writer(again=False)
    piece = Artifact(artifact_id="result", parts=(Part(text="x" * 1_000_000),))
    for _ in range(MAX_TASK // 1_000_100):
        writer.piece(piece)
    with pytest.raises(UnsupportedValueError, match="more than the 67,108,864 bytes"):
        writer.piece(piece)
