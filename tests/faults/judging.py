"""Holding one run that has ended against what it must come to.

In: a case, the run's handle. Out: what is wrong, in sentences; the events, for later.
"""

from collections import Counter
from collections.abc import Sequence

from flowcore.client.run import Run
from flowcore.ports.backend import ExecutionResult
from flowcore.run.event import Event, EventType
from tests.faults.cases import Case

__all__ = ["judge", "wrong_events"]

_SETTLES = {
    EventType.NODE_SUCCEEDED,
    EventType.NODE_FAILED,
    EventType.NODES_SKIPPED,
    EventType.NODES_CANCELLED,
}


def judge(run: Run, case: Case, *, max_lost: int) -> tuple[list[str], list[Event]]:
    """Compare a run that has ended with the fault-free one.

    Raises:
        FlowcoreError: The store cannot be asked now.
    """
    result = run.wait(timeout=5)
    events = list(run.events())
    problems = [*_wrong_result(result, case), *wrong_events(events, case, max_lost=max_lost)]
    return [f"{run.id}: {problem}" for problem in problems], events


def _wrong_result(result: ExecutionResult, case: Case) -> list[str]:
    expected, problems = case.expected, []
    states = {name: record.state.value for name, record in result.nodes.items()}
    if result.state.value != expected.state:
        problems.append(f"ended as {result.state.value}, not {expected.state} ({result.error})")
    if states != expected.states:
        odd = {n: s for n, s in states.items() if expected.states.get(n) != s}
        problems.append(f"has nodes that ended as {odd}")
    if dict(result.outputs) != expected.outputs:
        names = sorted(expected.outputs.keys() | result.outputs.keys())
        off = [n for n in names if result.outputs.get(n) != expected.outputs.get(n)]
        problems.append(f"has wrong or missing outputs: {off}")
    if case.error and case.error not in (result.error or ""):
        problems.append(f"failed with {result.error!r}, not {case.error}")
    return problems


def wrong_events(events: Sequence[Event], case: Case, *, max_lost: int) -> list[str]:
    """Check the log: no gap, one end, each node settled once, no attempt started twice."""
    problems = []
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        problems.append("has a gap in its event log")
    ends = [event.type.is_terminal for event in events]
    if ends.count(True) != 1 or not ends[-1]:
        problems.append("does not have one terminal event, the last one")
    settled = Counter(name for event in events if event.type in _SETTLES for name in event.nodes)
    if settled != Counter(case.plan.ids):
        odd = {name: settled[name] for name in case.plan.ids if settled[name] != 1}
        problems.append(f"settled nodes other than once: {odd}")
    return [*problems, *_wrong_attempts(events, case, max_lost)]


def _wrong_attempts(events: Sequence[Event], case: Case, max_lost: int) -> list[str]:
    problems = []
    started: dict[str, list[int]] = {}
    lost: Counter[str] = Counter()
    for event in events:
        if event.type is EventType.NODE_STARTED:
            started.setdefault(event.nodes[0], []).append(event.attempt or 1)
        elif event.type is EventType.NODE_LOST:
            lost.update(event.nodes)
    for node, attempts in started.items():
        own = case.attempts.get(node, 1)
        if attempts != sorted(set(attempts)):
            problems.append(f"started {node} as attempts {attempts}, which are not in order")
        if len(attempts) > own + min(lost[node], max_lost):
            problems.append(f"started {node} {len(attempts)} times, but lost it {lost[node]} times")
        if case.attempts_exactly not in (None, len(attempts)):
            problems.append(f"started {node} {len(attempts)} times, not {case.attempts_exactly}")
    return problems
