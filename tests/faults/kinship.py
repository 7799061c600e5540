"""Holding a run with runs inside it against what it must come to.

In: a case, the run's handle. Out: what is wrong, in sentences; the events of all the runs. States
are looked at by rules, because a cancel may come at any moment; outputs are those of the case.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from flowcore.assembly.session import Session
from flowcore.client.run import Run
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.run.event import Event, EventType
from flowcore.run.record import RunRecord
from flowcore.run.status import NodeState, RunState
from tests.faults.cases import Case
from tests.faults.executions import Execution
from tests.faults.meddling import family

__all__ = ["judge_kin", "late_executions"]

_CLOSING = "finally"
_CANCELS = ("cancel", "halt")


def judge_kin(
    session: Session, run: Run, case: Case, *, retention: float
) -> tuple[list[str], Mapping[str, list[Event]]]:
    """Look at a run that has ended, and at all inside it.

    Raises:
        FlowcoreError: The store cannot be asked now.
    """
    result = run.wait(timeout=5)
    problems = [f"{run.id}: {problem}" for problem in _wrong_result(result, case)]
    records: dict[str, RunRecord] = {}
    if time.time() > run.summary().created + retention - 2:
        return problems, {run.id: list(run.events())}  # the retention of early runs may be over
    for name in (run.id, *family(session, run.id)):
        record = session.runtime.reader.record(name)
        if record is None:
            problems.append(f"{name}: is gone, though it is part of {run.id}")
        else:
            records[name] = record
    logs = {name: list(session.runtime.events.read(name)) for name in records}
    problems += _twice(records)
    for name, record in records.items():
        plan = session.runtime.store.get_plan(record.plan)
        found = [
            *_wrong_place(record, records, case),
            *_wrong_log(record, logs[name]),
            *_wrong_end(record, plan, records, logs),
        ]
        problems += [f"{name}: {problem}" for problem in found]
    return problems, logs


def _twice(records: Mapping[str, RunRecord]) -> list[str]:
    """Nodes whose sub-flow was begun anew though the run of before had not undone what it did."""
    good = Counter(
        (one.parent.run, one.parent.name, name.partition("@t")[0])
        for name, one in records.items()
        if one.parent is not None and one.state is RunState.SUCCEEDED and "@r" not in name
    )
    return [
        f"{root} has succeeded {count} times" for (*_, root), count in good.items() if count > 1
    ]


def _wrong_result(result: ExecutionResult, case: Case) -> list[str]:
    problems = []
    allowed = {case.expected.state, *(["cancelled"] if case.plot in _CANCELS else [])}
    if result.state.value not in allowed:
        problems.append(f"ended as {result.state.value} ({result.error}; plot {case.plot})")
    for node, wanted in case.outputs.items():
        given = result.outputs.get(node)
        succeeded = result.nodes[node].state is NodeState.SUCCEEDED
        if (succeeded and given != wanted) or not (succeeded or case.plot in _CANCELS):
            problems.append(f"{node} gave {given!r}, not {wanted!r} (plot {case.plot})")
    return problems


def _wrong_place(record: RunRecord, records: Mapping[str, RunRecord], case: Case) -> list[str]:
    """Check that it has ended, as the one around it has, and not after that."""
    problems = []
    if not record.state.is_terminal:
        problems.append(f"is {record.state}, though the run around it has ended")
    if odd := {n: one.state.value for n, one in record.nodes.items() if not one.state.is_terminal}:
        problems.append(f"has ended ({record.state}), and has nodes that have not: {odd}")
    over = records.get(record.parent.run) if record.parent is not None else None
    if over is None:
        return problems
    if (record.finished or 0) > (over.finished or 0) + 0.01:
        problems.append(f"ended at {record.finished}, after {over.id}, at {over.finished}")
    good = over.state is RunState.SUCCEEDED and case.plot != "mend"
    anew = any(name.startswith(f"{record.id}@t") for name in records)
    if good and record.state is not RunState.SUCCEEDED and not anew:
        problems.append(f"is {record.state}, in a run that has succeeded")
    return problems


def _wrong_log(record: RunRecord, events: Sequence[Event]) -> list[str]:
    problems = []
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        problems.append("has a gap in its event log")
    ends = [event.type.is_terminal for event in events]
    if ends.count(True) != record.resumes + 1 or not ends[-1]:
        problems.append(f"has {ends.count(True)} ends, and {record.resumes} resumes")
    started: dict[str, list[int]] = {}
    settled: Counter[str] = Counter()
    for event in events:
        if event.type is EventType.NODE_STARTED:
            started.setdefault(event.nodes[0], []).append(event.attempt or 1)
        elif event.type is EventType.NODE_SUCCEEDED:
            settled.update(event.nodes)
    odd = {name: all_ for name, all_ in started.items() if all_ != sorted(all_)}
    if odd:
        problems.append(f"started attempts out of order: {odd}")
    if not record.resumes and (twice := {n: c for n, c in settled.items() if c > 1}):
        problems.append(f"has nodes that succeeded more than once: {twice}")
    return problems


def _wrong_end(
    record: RunRecord,
    plan: Plan,
    records: Mapping[str, RunRecord],
    logs: Mapping[str, Sequence[Event]],
) -> list[str]:
    """Check that exactly what has succeeded was undone, in reverse; and that the rest was done."""
    body = plan.policy(plan.epilogue).body if plan.epilogue is not None else None
    if body is None or record.resumes:
        return []
    bad = record.state is not RunState.SUCCEEDED
    good = [n for n in body.ids if record.nodes[n].state is NodeState.SUCCEEDED]
    wanted = [f"undo {name}" for name in reversed(good)] if bad else []
    wanted += list(Plan.from_bytes(body.plan).ids) if body.plan and _failed(record) else []
    wanted += list(Plan.from_bytes(body.last).ids) if body.last else []
    closing = f"{record.id}/{_CLOSING}"
    if closing not in records:
        return [f"has had no end, which is {wanted}"] if wanted else []
    done = [
        name
        for event in logs[closing]
        if event.type is EventType.NODE_SUCCEEDED
        for name in event.nodes
    ]
    if done != wanted:
        return [f"ended ({record.state}) with {done}, not {wanted}"]
    return []


def _failed(record: RunRecord) -> bool:
    return record.state is RunState.FAILED


def late_executions(
    executions: Sequence[Execution],
    logs: Mapping[str, Sequence[Event]],
    resumed: Collection[str],
    forgotten: Callable[[float], bool],
) -> list[str]:
    """What ran in a run, or in one inside it, when that run's own end had begun.

    Args:
        executions: All there were.
        logs: Events of runs: an attempt that was lost may begin late, when its worker is back.
        resumed: Runs that have gone on after an end.
        forgotten: Whether the server has forgotten what was at this time.
    """
    lost = {
        (run, node, event.attempt or 1)
        for run, events in logs.items()
        for event in events
        if event.type is EventType.NODE_LOST
        for node in event.nodes
    }
    closed: dict[str, float] = {}
    for one in executions:
        over, _, last = one.run.rpartition("/")
        if last == _CLOSING and not forgotten(one.began):
            closed[over] = min(one.began, closed.get(over, one.began))
    problems = []
    for one in executions:
        parts = one.run.split("/")
        if parts[0] in resumed or (one.run, one.node, one.attempt) in lost:
            continue
        for depth in range(1, len(parts) + 1):
            over = "/".join(parts[:depth])
            inside = len(parts) > depth and parts[depth] == _CLOSING
            if over in closed and not inside and one.began > closed[over] + 0.01:
                late = one.began - closed[over]
                problems.append(f"{one} began {late:.3f} s after the end of {over} had")
    return problems
