"""No node is recorded to have begun before what is before it ended, whatever clocks do."""

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcore.ports.store import AttemptRef, Outcome
from flowcore.ports.unit import BatchSize, CompletedNode, Granularity, UnitProgress, UnitRef
from flowcore.run.event import EventType
from tests.contract.harness import Harness, make_plan

#: Each example has a run of its own.
_RUNS = itertools.count()

#: How long nodes take and what is between them, in microseconds, which no millisecond tells apart.
_STEPS = st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 900)), min_size=2, max_size=12)

#: How the server's clock moves between two looks, in seconds.
_CLOCK = st.sampled_from([0.0, 0.001, 0.0, 0.3, -0.5, -3600.0])


def _times(it: Harness, run: str) -> tuple[dict[str, float], dict[str, float]]:
    began = {str(e.node): e.time for e in it.log(run) if e.type is EventType.NODE_STARTED}
    ended = {str(e.node): e.time for e in it.log(run) if e.type is EventType.NODE_SUCCEEDED}
    return began, ended


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=_STEPS, clock=st.lists(_CLOCK, min_size=16, max_size=16), every=st.integers(1, 4))
def test_a_start_is_not_before_the_end_of_what_is_before_it(
    it: Harness, steps: list[tuple[int, int]], clock: list[float], every: int
) -> None:
    """A chain: the first and the last node have messages of their own, a unit has the others."""
    run = f"run{next(_RUNS)}"
    count = len(steps) + 2
    plan = make_plan([[at - 1] if at else [] for at in range(count)])
    it.submit(plan, run)
    grain = Granularity(packs={0: BatchSize(cost=0.0001, least=1, most=1, here=True)}, budget=10.0)
    assert it.claim(0, run=run) is not None
    it.advance(clock[-1])
    ticket = AttemptRef(run=run, node=0, attempt=1)
    advance = it.store.settle(ticket, Outcome(kind="succeeded", output=b"\x01"), grain=grain)
    assert advance.kept == (1,)
    unit = UnitRef(run=run, unit=advance.unit or "")
    now, waiting = 0, []
    for at, (takes, between) in enumerate(steps, start=1):
        began = now = now + between
        now += takes
        waiting.append((at, began, now))
        last = at == len(steps)
        if at % every and not last:
            continue
        it.advance(clock[at])
        ms = (now + 100) // 1000
        done = [
            CompletedNode(node, b"\x01", took=e // 1000 - b // 1000, ago=ms - e // 1000)
            for node, b, e in waiting
        ]
        news = UnitProgress(done=done, age=ms, give_back=last)
        assert it.store.flush(
            unit, news, plan, worker="w", grain=Granularity() if last else grain
        ).accepted
        waiting = []
    it.advance(clock[0])
    it.do(count - 1, run=run)
    began_at, ended_at = _times(it, run)
    names = list(plan.ids)
    early = [
        (before, after)
        for before, after in itertools.pairwise(names)
        if began_at[after] < ended_at[before]
    ]
    assert early == []
