"""Check how nodes hang together: names that exist, no cycles, everything reachable.

In: a draft with nodes and edges. Out: Graph: numbers, predecessors, layers, order.
Not here: what nodes read from each other (expressions).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.graph.document import Path

__all__ = ["Graph", "check_graph"]

SHOWN_OF_CYCLE = 12


@dataclass(slots=True, kw_only=True)
class Graph:
    """Nodes by number, in the author's order."""

    ids: tuple[str, ...]
    number: dict[str, int]
    pred: list[dict[int, None]]
    """Predecessors of each node, in the author's order, each once."""
    when: dict[tuple[int, int], str]
    levels: list[int]
    """The longest path from a start to each node."""
    acyclic: bool = True

    def order(self) -> list[int]:
        """The canonical order: by layer, then the author's."""
        return sorted(range(len(self.ids)), key=self.levels.__getitem__)

    def succ(self) -> list[list[int]]:
        """Successors of each node."""
        after: list[list[int]] = [[] for _ in self.ids]
        for node, before in enumerate(self.pred):
            for source in before:
                after[source].append(node)
        return after


def check_graph(draft: Draft) -> Graph:
    """Connect the nodes, noting names that do not exist, cycles and unreachable nodes."""
    ids = tuple(draft.nodes)
    graph = Graph(
        ids=ids,
        number={key: index for index, key in enumerate(ids)},
        pred=[{} for _ in ids],
        when={},
        levels=[0] * len(ids),
    )
    before = len(draft.problems.found)
    for node, raw in enumerate(draft.nodes.values()):
        for source, path in raw.needs():
            _connect(draft, graph, source, node, path)
    _connect_edges(draft, graph)
    succ = graph.succ()
    _Layers(graph, succ).fill(draft)
    # What hangs on a name that does not exist, or on a cycle, is not reported a second time.
    if len(draft.problems.found) == before:
        _check_starts(draft, succ)
    return graph


def _find(draft: Draft, graph: Graph, key: str, path: Path) -> int | None:
    number = graph.number.get(key)
    if number is None:
        hint = draft.problems.near(key, graph.number)
        draft.problems.add("FC203", f"node {quote(key)} is not defined", path, hint)
    return number


def _connect(draft: Draft, graph: Graph, source: str, node: int, path: Path) -> bool:
    before = _find(draft, graph, source, path)
    if before == node:
        what = f"node {quote(source)} cannot run after itself"
        draft.problems.add("FC207", what, path, "remove it")
    elif before is not None:
        graph.pred[node][before] = None
        return True
    return False


def _connect_edges(draft: Draft, graph: Graph) -> None:
    for raw in draft.edges:
        node = _find(draft, graph, raw.edge.target, raw.target_path)
        if node is None:
            _find(draft, graph, raw.edge.source, raw.source_path)
            continue
        if not _connect(draft, graph, raw.edge.source, node, raw.source_path):
            continue
        if raw.edge.when is not None:
            pair = (graph.number[raw.edge.source], node)
            if graph.when.setdefault(pair, raw.edge.when) != raw.edge.when:
                what = (
                    f"a second condition from {quote(raw.edge.source)} to {quote(raw.edge.target)}"
                )
                hint = "join them with &&"
                draft.problems.add("FC216", what, (*raw.path, "when"), hint)


class _Layers:
    """Kahn's algorithm; where it gets stuck there is a cycle, which is noted and taken out."""

    def __init__(self, graph: Graph, succ: list[list[int]]) -> None:
        self._graph, self._succ = graph, succ
        self._waiting = [len(before) for before in graph.pred]
        self._done = [False] * len(graph.ids)
        self._ready = deque(node for node, count in enumerate(self._waiting) if not count)

    def fill(self, draft: Draft) -> None:
        self._drain()
        for node in range(len(self._done)):
            while not self._done[node]:
                cycle = self._cycle(node)
                _note_cycle(draft, self._graph, cycle)
                self._graph.acyclic = False
                self._settle(cycle)
                self._drain()

    def _drain(self) -> None:
        while self._ready:
            self._settle([self._ready.popleft()])

    def _settle(self, nodes: Iterable[int]) -> None:
        levels = self._graph.levels
        for node in nodes:
            self._done[node] = True
        for node in nodes:
            for after in self._succ[node]:
                levels[after] = max(levels[after], levels[node] + 1)
                self._waiting[after] -= 1
                if not self._waiting[after] and not self._done[after]:
                    self._ready.append(after)

    def _cycle(self, node: int) -> list[int]:
        """Walk upstream among what is left, until a node comes again."""
        seen: dict[int, int] = {}
        walk: list[int] = []
        while node not in seen:
            seen[node] = len(walk)
            walk.append(node)
            node = next(before for before in self._graph.pred[node] if not self._done[before])
        found = walk[seen[node] :][::-1]
        first = found.index(min(found))
        return found[first:] + found[:first]


def _note_cycle(draft: Draft, graph: Graph, cycle: list[int]) -> None:
    names = [graph.ids[node] for node in [*cycle, cycle[0]]]
    if len(names) > SHOWN_OF_CYCLE:
        half = SHOWN_OF_CYCLE // 2
        names = [*names[:half], "…", *names[-half:]]
    what = f"a cycle of {len(cycle)} nodes: {' -> '.join(names)}"
    path = _declared(draft, graph.ids[cycle[-1]], graph.ids[cycle[0]])
    draft.problems.add("FC208", what, path, "remove one of these edges")


def _declared(draft: Draft, source: str, target: str) -> Path:
    """Return the place where an edge is written."""
    for need, path in draft.nodes[target].needs():
        if need == source:
            return path
    for raw in draft.edges:
        if (raw.edge.source, raw.edge.target) == (source, target):
            return raw.source_path
    return draft.nodes[target].path


def _check_starts(draft: Draft, succ: list[list[int]]) -> None:
    """With explicit ``start`` nodes, everything has to come after one of them."""
    nodes = list(draft.nodes.items())
    starts = [number for number, (_, raw) in enumerate(nodes) if raw.fields.get("uses") == "start"]
    if not starts:
        return
    reached = set(_downstream(starts, succ))
    for number, (key, raw) in enumerate(nodes):
        if number not in reached:
            what = f"node {quote(key)} is not reachable from a start node"
            hint = f"add needs: [{nodes[starts[0]][0]}], or remove the start nodes"
            draft.problems.add("FC209", what, raw.path, hint, at_key=True)


def _downstream(starts: list[int], succ: list[list[int]]) -> Iterator[int]:
    seen = set(starts)
    frontier = list(starts)
    while frontier:
        node = frontier.pop()
        yield node
        fresh = [after for after in succ[node] if after not in seen]
        seen.update(fresh)
        frontier += fresh
