#!/usr/bin/env python3
"""Run recorded scientific workflows on the native engine and check every step of them.

Each WfFormat file of a folder becomes a flow of sleeps whose longest path takes ``--critical-path``
seconds, and runs on the embedded server with one worker. The run's event log then shows whether
each node ran exactly once, and none before all its parents had ended; and how much time passed
beyond what the workflow itself needs. The exit code says whether all runs were right (0), or not
(1); times never fail a run unless ``--max-ratio`` says so.

    scripts/wfinstances.py FOLDER
    FLOWCORE_WFINSTANCES=FOLDER scripts/wfinstances.py --rounds 3 --json

``best`` in the table is the makespan of a list scheduler without any overhead on as many slots:
a workflow that is wider than the worker cannot do better than that.
"""

import argparse
import heapq
import json
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.client.flow import Flow
from flowcore.errors import FlowcoreError
from flowcore.importers.wfformat import convert, critical_path_of, read
from flowcore.run.event import Event, EventType

__all__ = ["Measured", "check_order", "least_makespan", "main", "measure", "opened"]

VARIABLE = "FLOWCORE_WFINSTANCES"
TIMEOUT = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of one file came to."""

    file: str
    nodes: int
    edges: int
    critical_path: float
    """Seconds of the longest path."""
    best: float
    """Seconds that a list scheduler without overhead needs on the worker's slots."""
    makespan: float
    """Seconds from the run's creation to its last event, on the store's clock."""
    ratio: float
    """Makespan by critical path."""
    overhead_ms: float
    """Median milliseconds from the end of a node's last parent to the node's start."""
    overhead_p95_ms: float
    problems: tuple[str, ...] = ()
    """What was wrong; empty when each node ran once, after its parents, and the run succeeded."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run every file, print the table; 0 when all were right."""
    options = _options(argv)
    files = sorted(options.folder.glob("*.json"))
    if not files:
        print(f"no .json files in {options.folder}", file=sys.stderr)
        return 2
    measured: list[Measured] = []
    with opened(slots=options.concurrency, pool=options.pool) as session:
        for _ in range(options.rounds):
            for file in files:
                one = measure(session, file, options.critical_path, slots=options.concurrency)
                print(f"{one.file}: {one.makespan:.3f} s", file=sys.stderr)
                measured.append(one)
    shown = _middle(measured)
    if options.json:
        print(json.dumps([asdict(one) for one in shown], indent=2))
    else:
        print(table(shown))
    slow = [one for one in shown if options.max_ratio and one.ratio > options.max_ratio]
    for one in slow:
        print(f"{one.file}: ratio {one.ratio:.3f} > {options.max_ratio}", file=sys.stderr)
    return 1 if slow or any(one.problems for one in shown) else 0


def _options(argv: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    given = os.environ.get(VARIABLE)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path(given) if given else None,
        help=f"folder of WfFormat files; {VARIABLE} when left out",
    )
    parser.add_argument("--critical-path", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--concurrency", type=int, default=32, help="slots of the one worker")
    parser.add_argument("--pool", choices=["threads", "prefork"], default="threads")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each file; shows the median")
    parser.add_argument("--max-ratio", type=float, help="fail above this makespan / critical path")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(argv)
    if options.folder is None:
        parser.error(f"name a folder of WfFormat files, or set {VARIABLE}")
    return options


@contextmanager
def opened(*, slots: int, pool: str = "threads") -> Iterator[Session]:
    """Open a session on an embedded server of its own, with one worker that is ready."""
    with tempfile.TemporaryDirectory(prefix="fc-wf-") as home:
        settings = replace(Settings.from_env(), redis_url=None, broker_url=None, home=Path(home))
        with Session(settings) as session:
            session.ensure_workers([None], concurrency=slots, pool=pool)
            # A run whose time does not count: after it, worker and connections are up.
            nodes = {f"warm_{n}": {"uses": "sleep", "with": {"seconds": 0.1}} for n in range(slots)}
            Flow.load({"id": "warm-up", "nodes": nodes}).run(session=session, timeout=TIMEOUT)
            yield session


def measure(session: Session, file: Path, critical_path: float, *, slots: int) -> Measured:
    """Run one file and look at its events."""
    tree = convert(read(file), critical_path=critical_path)
    seconds = {key: node["with"]["seconds"] for key, node in tree["nodes"].items()}
    before = {key: tuple(node.get("needs", ())) for key, node in tree["nodes"].items()}
    run = Flow.load(tree).enqueue(session=session)
    problems: list[str] = []
    try:
        run.wait(TIMEOUT)
    except FlowcoreError as error:
        problems.append(str(error))
        run.cancel()
        run.wait(TIMEOUT)
    events = list(run.events())
    problems += check_order(events, before)
    makespan = events[-1].time - events[0].time
    waits = _waits(events, before) or [0.0]
    longest = critical_path_of(seconds, before)
    return Measured(
        file=file.stem,
        nodes=len(before),
        edges=sum(map(len, before.values())),
        critical_path=longest,
        best=least_makespan(seconds, before, slots=slots),
        makespan=makespan,
        ratio=makespan / longest,
        overhead_ms=1000 * statistics.median(waits),
        overhead_p95_ms=1000 * waits[int(0.95 * (len(waits) - 1))],
        problems=tuple(problems),
    )


def check_order(events: Sequence[Event], before: Mapping[str, Sequence[str]]) -> list[str]:
    """Say what is wrong with a run: nodes not run exactly once, or before a parent's end.

    Both by the order of the log and by the times in it.

    Args:
        events: All events of the run, in the log's order.
        before: The parents of each node.

    Returns:
        Sentences; none when all is right.
    """
    started = Counter(e.node for e in events if e.type is EventType.NODE_STARTED)
    ended = Counter(e.node for e in events if e.type is EventType.NODE_SUCCEEDED)
    wrong = [
        f"node {key!r} started {started[key]} times and succeeded {ended[key]} times"
        for key in before
        if (started[key], ended[key]) != (1, 1)
    ]
    done: set[str | None] = set()
    for event in events:
        if event.type is EventType.NODE_SUCCEEDED:
            done.add(event.node)
        elif event.type is EventType.NODE_STARTED:
            early = [one for one in before.get(event.node or "", ()) if one not in done]
            wrong += [f"node {event.node!r} started before {one!r} had ended" for one in early]
    if not wrong:
        wrong = _early(events, before)
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        wrong.append("the event log has gaps")
    if not events or events[-1].type is not EventType.RUN_SUCCEEDED:
        wrong.append(f"the run ended with {events[-1].type if events else 'nothing'}")
    return wrong


def _early(events: Sequence[Event], before: Mapping[str, Sequence[str]]) -> list[str]:
    """Name nodes whose recorded start is before the recorded end of a parent."""
    began = {e.node: e.time for e in events if e.type is EventType.NODE_STARTED}
    ended = {e.node: e.time for e in events if e.type is EventType.NODE_SUCCEEDED}
    return [
        f"node {key!r} is said to have started before {one!r} had ended"
        for key, parents in before.items()
        for one in parents
        if key in began and one in ended and began[key] < ended[one]
    ]


def least_makespan(
    seconds: Mapping[str, float], before: Mapping[str, Sequence[str]], *, slots: int
) -> float:
    """Return the makespan of first come, first served on ``slots`` slots, without any overhead.

    Source: R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on Applied
    Mathematics 17 (1969): list scheduling.
    """
    waiting = {key: len(set(sources)) for key, sources in before.items()}
    after: dict[str, list[str]] = {key: [] for key in before}
    for key, sources in before.items():
        for source in set(sources):
            after[source].append(key)
    ready = [key for key, count in waiting.items() if not count]
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            key = ready.pop(0)
            heapq.heappush(running, (now + seconds[key], key))
        now, key = heapq.heappop(running)
        for target in after[key]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return now


def _waits(events: Sequence[Event], before: Mapping[str, Sequence[str]]) -> list[float]:
    """Seconds between the end of a node's last parent (or the run's creation) and its start."""
    ended = {e.node: e.time for e in events if e.type is EventType.NODE_SUCCEEDED}
    created = events[0].time
    starts = {e.node: e.time for e in events if e.type is EventType.NODE_STARTED}
    return sorted(
        starts[key] - max((ended.get(one, created) for one in parents), default=created)
        for key, parents in before.items()
        if key in starts
    )


def _middle(measured: Sequence[Measured]) -> list[Measured]:
    """Of the rounds of each file the one with the median makespan, with the problems of all."""
    rounds: dict[str, list[Measured]] = {}
    for one in measured:
        rounds.setdefault(one.file, []).append(one)
    shown = []
    for several in rounds.values():
        ordered = sorted(several, key=lambda one: one.makespan)
        wrong = tuple(problem for one in several for problem in one.problems)
        shown.append(replace(ordered[len(ordered) // 2], problems=wrong))
    return shown


def table(measured: Sequence[Measured]) -> str:
    """Write the results as text."""
    wide = max(len(one.file) for one in measured)
    head = (
        f"{'file':<{wide}}  nodes  edges  critical    best  makespan  ratio  by best"
        "  node-to-node ms (p95)"
    )
    lines = [head]
    for one in measured:
        lines.append(
            f"{one.file:<{wide}}  {one.nodes:5}  {one.edges:5}  {one.critical_path:6.2f} s"
            f"  {one.best:4.2f} s  {one.makespan:6.3f} s  {one.ratio:5.3f}    "
            f"{one.makespan / one.best:5.3f}  {one.overhead_ms:9.1f} ({one.overhead_p95_ms:.1f})"
        )
        lines += [f"    WRONG: {problem}" for problem in one.problems]
    wrong = sum(bool(one.problems) for one in measured)
    lines.append(
        f"{wrong} of {len(measured)} runs are wrong"
        if wrong
        else f"all {len(measured)} right: each node ran once, after its parents, and all succeeded"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
