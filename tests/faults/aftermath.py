"""What is left when all is over: keys, and a log of what really ran.

In: the world after its runs' retention; the executions. Out: what should not be.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from flowcore.run.event import Event, EventType
from tests.faults.executions import Execution
from tests.faults.ledger import PowerLoss
from tests.faults.world import BROKER, RUNS, World

__all__ = ["leftovers", "wrong_executions"]

#: The board of workers, the key that signs messages, and what was refused or left: no run's.
_STAY = (b"fc:workers", b"fc:secret", b"fc:refused", b"fc:troubles")

#: Celery notes for a day that it does not know the task of a message that is garbage.
_GARBAGE = b"celery-task-meta-none-"

#: A plan stays for an hour after the retention of its last run.
_PLAN_KEPT = 3600.0
_PLANS = (b"fc:plan:", b"fc:web:")


def leftovers(world: World) -> tuple[list[str], int]:
    """Keys that nothing will ever remove, and messages kombu holds for dead workers.

    The latter are kombu's: it restores them after its visibility timeout, and they find their
    attempts over.
    """
    with world.server.client(RUNS) as runs, world.server.client(BROKER) as broker:
        ends = time.monotonic() + 10
        while broker.llen(world.queue) and time.monotonic() < ends:
            time.sleep(0.1)
        found = []
        for key in runs.scan_iter(count=1000):
            left = runs.pttl(key) / 1000
            kept = key.startswith(_PLANS) and 0 < left <= world.times.retention + _PLAN_KEPT
            if not key.startswith((*_STAY, _GARBAGE)) and not kept:
                found.append(f"{key.decode('utf-8', 'replace')} ({left:.0f} s)")
        if waiting := broker.llen(world.queue):
            found.append(f"{waiting} messages that nobody consumes")
        return found, int(broker.hlen("unacked"))


def wrong_executions(
    executions: Sequence[Execution],
    logs: Mapping[str, Sequence[Event]],
    power_losses: Sequence[PowerLoss],
    *,
    kin: Collection[str] = (),
) -> list[str]:
    """Hold the log of executions against the event logs of the runs that ended.

    Each attempt was run once at most, and only if it was claimed. A power loss may undo a claim,
    and give its number to a second one. What a unit ran ahead and could not record, because its
    worker was lost or its run was stopped, was a first attempt that nobody knows of.
    """
    ran: dict[tuple[str, str, int], list[Execution]] = {}
    for one in executions:
        ran.setdefault((one.run, one.node, one.attempt), []).append(one)
    claimed = {
        (run, event.nodes[0], event.attempt or 1)
        for run, events in logs.items()
        for event in events
        if event.type is EventType.NODE_STARTED
    }
    lost = Counter(
        run
        for run, events in logs.items()
        for event in events
        if event.type in {EventType.NODE_LOST, EventType.RUN_STOPPING}
    )
    problems = []
    for key, times in ran.items():
        run, node, attempt = key
        excused = sum(any(loss.covers(one.began) for loss in power_losses) for one in times)
        if attempt == 1:
            excused += lost[run]
        if len(times) - excused > 1:
            problems.append(f"{run}: attempt {attempt} of {node} was run {len(times)} times")
        if run in logs and key not in claimed and not excused:
            problems.append(f"{run}: attempt {attempt} of {node} was run without a claim")
    succeeded = Counter(
        (run, name)
        for run, events in logs.items()
        for event in events
        if event.type is EventType.NODE_SUCCEEDED
        for name in event.nodes
    )
    done = {(one.run, one.node) for one in executions}
    problems += [
        f"{run}: {node} succeeded, but never ran"
        for run, node in succeeded
        if (run, node) not in done and run.partition("/")[0] not in kin
    ]
    return problems
