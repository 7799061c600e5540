"""The runs of a test in words, for the test that fails.

In: a store. Out: the state of each node, what it waits for, why it failed and where. Not here: the
command line, which shows runs of real workers (cli).
"""

from collections.abc import Iterator

from flowcore.ports.reader import RunQuery
from flowcore.run.record import NodeRecord, RunRecord
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.store import InMemoryStore

__all__ = ["report_of"]

_MOST_RUNS = 20
_MOST_NODES = 50

#: What a run is shown for only if nothing else is.
_DULL = frozenset({NodeState.SUCCEEDED, NodeState.SKIPPED, NodeState.PENDING})


def report_of(store: InMemoryStore) -> str:
    """Tell of the runs that have not succeeded, the first one first."""
    rows = store.list_runs(RunQuery(limit=_MOST_RUNS))
    found = [store.record(row.id) for row in rows if row.state is not RunState.SUCCEEDED]
    return "\n\n".join("\n".join(_run(store, one)) for one in reversed(found) if one is not None)


def _run(store: InMemoryStore, record: RunRecord) -> Iterator[str]:
    yield f"run {record.id} of flow {record.flow}: {record.state}"
    nodes = list(_nodes(store, record, ""))
    if len(nodes) > _MOST_NODES:
        nodes = [one for one in nodes if one[1].state not in _DULL] or nodes
    shown = nodes[:_MOST_NODES]
    width = max((len(path) for path, _ in shown), default=0)
    for path, node in shown:
        yield f"  {path:<{width}}  {node.state:<10} {_about(node)}".rstrip()
    if len(nodes) > len(shown):
        yield f"  and {len(nodes) - len(shown)} more"
    for path, node in shown:
        if node.error is not None and node.error.traceback:
            yield f"\nnode {path}, attempt {node.attempts}:\n{node.error.traceback.rstrip()}"


def _nodes(store: InMemoryStore, record: RunRecord, way: str) -> Iterator[tuple[str, NodeRecord]]:
    """The nodes of a run, each before those inside it."""
    children = {child.rpartition("/")[2]: child for child in store.children(record.id)}
    for name, node in record.nodes.items():
        yield f"{way}{name}", node
        inside = store.record(children.pop(name)) if name in children else None
        if inside is not None and inside.state is not RunState.SUCCEEDED:
            yield from _nodes(store, inside, f"{way}{name}/")
    for name, child in children.items():
        inside = store.record(child)
        if inside is not None and inside.state is not RunState.SUCCEEDED:
            yield from _nodes(store, inside, f"{way}{name}/")


def _about(node: NodeRecord) -> str:
    words = [f"{node.attempts} attempts"] if node.attempts > 1 else []
    if node.waits:
        words.append(node.waits)
    if node.error is not None:
        first = node.error.message.strip().partition("\n")[0]
        words.append(f"{node.error.type}: {first}" if first else node.error.type)
    return "; ".join(words)
