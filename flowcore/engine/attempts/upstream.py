"""Values visible to a node: the outputs of its ancestors, fetched when first asked for.

In: the plan, the claim's outputs, a reader. Out: outputs by node, and the context of expressions.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flowcore.engine.attempts.scope import ChildScope
from flowcore.engine.values.output_batches import portions
from flowcore.engine.values.payloads import Payloads
from flowcore.plan.plan import Plan
from flowcore.ports.store import RunReader

__all__ = ["Upstream"]

_CHUNK = 64
_UNREAD = object()

#: What a map and a loop add to what their nodes see.
_OWN = frozenset({"item", "index", "state", "iteration", "upstream"})

#: Runs whose outside is remembered.
_OUTSIDES = 4


class _Recent:
    """The outsides of the latest runs: a map of 10,000 items is decoded once, not 10,000 times."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], tuple[RunReader, ChildScope]] = OrderedDict()

    def get(self, reader: RunReader, run: str) -> ChildScope | None:
        found = self._kept.get((id(reader), run))
        return found[1] if found else None

    def put(self, reader: RunReader, run: str, scoped: ChildScope) -> None:
        # With the reader, so that its number is not given to another one.
        self._kept[id(reader), run] = reader, scoped
        while len(self._kept) > _OUTSIDES:
            self._kept.popitem(last=False)


_RECENT = _Recent()


class Upstream:
    """Outputs of one run, seen from one node."""

    def __init__(
        self,
        *,
        run: str,
        plan: Plan,
        reader: RunReader,
        known: Mapping[int, bytes] | None = None,
        payloads: Payloads | None = None,
    ) -> None:
        """Start from the outputs that came with the claim.

        Args:
            run: The run's id.
            plan: Its plan.
            reader: For what did not come with the claim.
            known: Blobs by node.
            payloads: For values that are kept elsewhere; each is fetched when it is read.
        """
        self._run = run
        self._plan = plan
        self._reader = reader
        self._payloads = payloads or Payloads()
        self._asked: set[int] = set(known or ())
        self._blobs: dict[int, bytes] = dict(known or {})
        self._values: dict[int, Any] = {}
        self._input: Any = _UNREAD
        self._inputs: Mapping[str, Any] | None = None
        self._scope: ChildScope | None = None

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The run's input; a run whose input is not a map has none by name."""
        if self._inputs is None:
            whole = self._scoped.inputs if self._scoped else self.input
            self._inputs = whole if isinstance(whole, Mapping) else {}
        return self._inputs

    @property
    def _scoped(self) -> ChildScope | None:
        """Outer values of a structured node's nodes; None for those of a flow."""
        if self._scope is None and self._plan.scope:
            self._scope = _RECENT.get(self._reader, self._run)
            if self._scope is None:
                self._scope = ChildScope(self._plan, self.input)
                _RECENT.put(self._reader, self._run, self._scope)
        return self._scope

    @property
    def input(self) -> Any:
        """The run's input as it was given."""
        if self._input is _UNREAD:
            blob = self._reader.input(self._run)
            self._input = self._payloads.unpack(blob, what="input of the run")
        return self._input

    def put(self, node: int, value: Any) -> None:
        """Add an output that is not stored yet: the node's own."""
        self._asked.add(node)
        self._values[node] = value

    def put_packed(self, node: int, packed: bytes) -> None:
        """Add an output that is on its way to the store."""
        self._asked.add(node)
        self._blobs[node] = packed

    def fetch(self, nodes: Iterable[int], *, decode: bool = False) -> None:
        """Make sure the blobs of these outputs, where they exist, are here.

        Decoded at once, a large join is in memory once and not twice.
        """
        missing = [node for node in nodes if node not in self._asked]
        for part in portions(self._reader, self._run, missing):
            self._blobs.update(part)
            for node in part if decode else ():
                self._value(node)
        self._asked.update(missing)

    def outputs(self, nodes: Iterable[int]) -> dict[int, Any]:
        """Return the outputs that exist, in the order asked."""
        wanted = list(nodes)
        self.fetch(wanted, decode=True)
        return {node: self._value(node) for node in wanted if self._exists(node)}

    def output(self, node: int) -> Any:
        """Return one output; None if there is none."""
        if node in self._values:
            return self._values[node]
        if node not in self._blobs:
            self.fetch([node])
        return self._value(node) if self._exists(node) else None

    def _exists(self, node: int) -> bool:
        return node in self._values or node in self._blobs

    def _value(self, node: int) -> Any:
        if node not in self._values:
            blob = self._blobs[node]
            self._values[node] = self._payloads.unpack(blob, what=self._name(node))
            del self._blobs[node]
        return self._values[node]

    def value_of(self, node: int) -> Any:
        """The upstream value of a node without a ``with``.

        The run's input for a start, the output of a sole predecessor, else a map of the
        predecessors' outputs by id.
        """
        before = self._plan.pred[node]
        scoped = self._scoped
        if scoped is not None and (not before or scoped.stands_alone(node)):
            return scoped.flows_into(node)
        if not before:
            return self.input
        if len(before) == 1:
            return self.output(before[0])
        found = self.outputs(before)
        return {self._plan.ids[source]: value for source, value in found.items()}

    def lookup(self, node: int, name: str) -> tuple[bool, Any]:
        """Find ``name`` in the fold of the ancestors' updates.

        An ancestor with that id gives its output, or, where that is a map which itself has the
        name as a key, the value under it. Otherwise the latest ancestor, in the
        canonical order, whose output is a map with that key. The run's input comes last: see
        ``lookup_input``.
        """
        scoped = self._scoped
        if scoped is None:
            return self._folded(node, name)
        own = scoped.own(node, self.output)
        if name in own:
            whole = own.get("state", own.get("item"))
            if isinstance(whole, Mapping) and name in whole:
                return True, whole[name]
            return True, own[name]
        return scoped.lookup(name, self.value_of(node), own)

    def _folded(self, node: int, name: str) -> tuple[bool, Any]:
        found, value = self._by_id(node, name)
        if found:
            return True, value
        batch: list[int] = []
        for ancestor in self._plan.ancestors(node):
            batch.append(ancestor)
            if len(batch) == _CHUNK:
                if (hit := self._search(batch, name)) is not None:
                    return True, self._values[hit][name]
                batch = []
        if (hit := self._search(batch, name)) is not None:
            return True, self._values[hit][name]
        return False, None

    def _by_id(self, node: int, name: str) -> tuple[bool, Any]:
        """The output of an ancestor that has this name for its id, if it gave one."""
        for ancestor in self._plan.ancestors(node):
            if self._plan.ids[ancestor] == name:
                found = self.outputs([ancestor])
                value = found.get(ancestor)
                if isinstance(value, Mapping) and name in value:
                    return True, value[name]
                return ancestor in found, value
        return False, None

    def lookup_input(self, name: str) -> tuple[bool, Any]:
        """Find ``name`` in the run's input."""
        return name in self.inputs, self.inputs.get(name)

    def is_own(self, name: str) -> bool:
        """Return whether a structured node defines this name for its nodes, for any input."""
        return self.is_scoped and name in _OWN

    @property
    def is_scoped(self) -> bool:
        """True if the node is an item or an iteration."""
        return self._plan.scope in {"map", "loop"}

    def _own(self, node: int | None) -> dict[str, Any]:
        """The names that a structured node adds for one of its nodes."""
        if self._scoped is None or node is None:
            return {}
        return self._scoped.own(node, self.output)

    def _search(self, batch: list[int], name: str) -> int | None:
        self.fetch(batch)
        for node in batch:
            if not self._may_have(node, name):
                continue
            value = self._value(node)
            if isinstance(value, Mapping) and name in value:
                return node
        return None

    def _may_have(self, node: int, name: str) -> bool:
        """Return whether to look into an output; one kept elsewhere has its names listed."""
        blob = self._blobs.get(node)
        if blob is None:
            return node in self._values
        reference = self._payloads.reference(blob, what=self._name(node))
        return reference is None or reference.may_have(name)

    def _name(self, node: int) -> str:
        return f"output of node {self._plan.ids[node]!r}"

    def context(
        self,
        refs: Iterable[str],
        *,
        names: Collection[str],
        states: Mapping[int, str] | None = None,
        node: int | None = None,
    ) -> dict[str, Any]:
        """Build what expressions read: ``inputs``, each node by id, and ``nodes``.

        Args:
            refs: Ids of the nodes they read.
            names: All names they read; the run's input is fetched only if it is one of them.
            states: States that are not recorded yet, by node.
            node: Whose expressions they are; one that has an output reads it as ``output``.
        """
        if self._scoped is not None:
            context = self._scoped.context(self._own(node))
            if node is not None and self._exists(node):
                context["output"] = self.output(node)
            if self._plan.scope != "epilogue":
                return context
            nodes = self._nodes(refs, states)
            return {**nodes, **context, "nodes": {**context["nodes"], **nodes}}
        inputs = self.inputs if "inputs" in names else {}
        nodes = self._nodes(refs, states)
        return {**nodes, "nodes": nodes, "inputs": inputs}

    def _nodes(
        self, refs: Iterable[str], states: Mapping[int, str] | None
    ) -> dict[str, dict[str, Any]]:
        """The nodes of this run that are read, by id."""
        ids = self._plan.ids
        wanted = [ids.index(ref) for ref in refs if ref in ids]
        found = self.outputs(wanted)
        settled = dict(states or {})
        unknown = [node for node in wanted if node not in found and node not in settled]
        if unknown:
            settled.update(
                (node, state.value)
                for node, state in self._reader.states(self._run, unknown).items()
            )
        return {
            self._plan.ids[node]: {
                "output": found.get(node),
                "state": settled.get(node, "succeeded"),
            }
            for node in wanted
        }
