"""Showing what the in-memory store keeps.

In: kept runs. Out: the records that readers get. Not here: any change.
"""

from dataclasses import replace

from flowcore.ports.store import RunQuery
from flowcore.run.fold import fold_nodes
from flowcore.run.record import DeadLetter, Failure, RunRecord, RunSummary
from flowcore.stores.inmemory.runs.run import StoreData, StoredRun

__all__ = ["dead_letters", "matches", "recency", "record", "summary"]


def summary(run: StoredRun) -> RunSummary:
    """Show the run as a row."""
    total = len(run.nodes)
    return RunSummary(
        id=run.new.id,
        flow=run.plan.flow,
        version=run.plan.version,
        state=run.state,
        created=run.created / 1000,
        started=None if run.started is None else run.started / 1000,
        finished=None if run.finished is None else run.finished / 1000,
        total=total,
        settled=total - run.left,
        tags=run.new.tags,
        plan=run.plan.hash,
        error=_error(run),
        namespace=run.new.namespace,
        priority=run.new.priority,
        origin=run.new.origin,
        parent=run.parent,
        stop=run.stop,
        resumes=run.resumes,
    )


def record(run: StoredRun) -> RunRecord:
    """Show the run with its nodes."""
    ids = run.plan.ids
    row = summary(run)
    kept = {name: getattr(row, name) for name in RunSummary.__dataclass_fields__}
    nodes = fold_nodes(
        run.events,
        states=dict(zip(ids, run.nodes, strict=True)),
        failures={ids[int(node)]: why for node, why in run.failures.items() if node.isdigit()},
    )
    return RunRecord(**kept, nodes=nodes)


def matches(run: StoredRun, query: RunQuery) -> bool:
    """Return whether a run matches the filter of a list."""
    return (
        (run.parent.run if run.parent else None) == query.part_of
        and (not query.states or run.state in query.states)
        and (query.flow is None or run.plan.flow == query.flow)
        and (query.tag is None or query.tag in run.new.tags)
    )


def dead_letters(world: StoreData) -> list[DeadLetter]:
    """Show all dead letters, latest first."""
    latest = sorted(world.dead.items(), key=lambda one: (one[1], "{}|{}".format(*one[0]).encode()))
    return [
        DeadLetter(
            run=run,
            flow=world.runs[run].plan.flow,
            node=world.runs[run].plan.ids[node],
            time=at / 1000,
            failure=world.runs[run].failures[str(node)],
        )
        for (run, node), at in reversed(latest)
    ]


def recency(run: StoredRun) -> tuple[int, bytes]:
    """Sort key of lists: runs of one millisecond are told apart by id, as in a sorted set."""
    return run.created, run.new.id.encode()


def _error(run: StoredRun) -> Failure | None:
    if run.cause is None or (failure := run.failures.get(run.cause)) is None:
        return None
    if failure.node is None and run.cause.isdigit():
        return replace(failure, node=run.plan.ids[int(run.cause)])
    return failure
