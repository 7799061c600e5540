"""DEFINE in Python: a flow is built from functions, operators and calls.

In: nodes (operators) and arguments. Out: the raw tree of a definition, in the YAML schema.
Not here: reading YAML (load), rules (check), running (client).

::

    with FlowBuilder("rag") as flow:
        fetch >> split >> parallel(index, report) >> notify

What the operators mean, and the traps of their precedence, stands in ``flowcore.graph.operators``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise, product
from types import TracebackType
from typing import Any, Self

from flowcore.errors import UsageError
from flowcore.graph.import_path import address_of
from flowcore.graph.node_spec import BreakerLike, CacheLike, FallbackLike, Items, NodeSpec
from flowcore.graph.operators import (
    Group,
    Linkable,
    Needs,
    NodeFunction,
    Operand,
    Step,
    close_flow,
    is_innermost,
    node,
    open_flow,
    parallel,
    span_of,
)
from flowcore.graph.policy import Concurrency, Join, RateLimit, Retry
from flowcore.graph.serialize import (
    configured,
    items_of,
    items_tree,
    merged_arguments,
    policy_keys,
    without,
)
from flowcore.graph.structured import Shapes

__all__ = ["FlowBuilder", "Group", "NodeFunction", "NodeSpec", "Step", "node", "parallel"]


class FlowBuilder(Shapes):
    """A flow under construction."""

    def __init__(  # noqa: PLR0913  (the keys of a definition, which is one flat thing)
        self,
        id: str,
        *,
        version: str = "1",
        description: str = "",
        tags: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        max_parallel: int | None = None,
        timeout: float | str | None = None,
    ) -> None:
        """Start an empty flow.

        Args:
            id: The flow's id.
            version: Its version.
            description: A sentence for people.
            tags: Words to find its runs by, beside those that a run is given.
            inputs: JSON Schema of each input, by name.
            config: The ``config`` of a definition.
            max_parallel: Nodes of one run under way at once; short for
                ``config.execution.max_parallel_nodes``.
            timeout: Seconds (or ``"5m"``) for a whole run; short for
                ``config.execution.timeout_seconds``.

        Raises:
            UsageError: A short form and its long form are both given.
        """
        self.id = id
        self.version = version
        self.description = description
        self._tags = [tags] if isinstance(tags, str) else list(tags)
        self._inputs = dict(inputs or {})
        self._config = configured(config or {}, max_parallel=max_parallel, timeout=timeout)
        self._nodes: dict[str, dict[str, Any]] = {}
        self._bare: dict[str, object] = {}
        self._when: dict[tuple[str, str], str] = {}
        self._closing: dict[str, FlowBuilder] = {}

    def __enter__(self) -> Self:
        open_flow(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        close_flow()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}, {len(self._nodes)} nodes>"

    def add(  # noqa: PLR0913  (the keys of a node, which is one flat thing)
        self,
        id: str,
        uses: str | Callable[..., Any],
        *,
        needs: Needs = (),
        retry: Retry | Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
        queue: str | None = None,
        join: Join | None = None,
        concurrency: Concurrency | Mapping[str, Any] | int | None = None,
        rate_limit: RateLimit | Mapping[str, Any] | str | None = None,
        fallback: FallbackLike | Sequence[FallbackLike] | None = None,
        circuit_breaker: BreakerLike | None = None,
        cache: CacheLike | None = None,
        priority: int | None = None,
        tags: str | Sequence[str] | None = None,
        idempotency_key: str | None = None,
        output: Mapping[str, Any] | None = None,
        if_: str | None = None,
        for_each: Items | None = None,
        max_parallel: int | None = None,
        chunk_size: int | None = None,
        tolerated_failures: float | str | None = None,
        until: str | None = None,
        max_iterations: int | None = None,
        initial: Any = None,
        undo: Callable[..., Any] | Mapping[str, Any] | None = None,
        with_: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Step:
        """Add a node.

        Args:
            id: The node's id.
            uses: ``"module:callable"``, a built-in node type, or a function.
            needs: Nodes that must settle first: ids, steps or decorated functions.
            retry: Overrides the decorator's.
            timeout: Overrides the decorator's.
            queue: Overrides the decorator's.
            join: Overrides the decorator's.
            concurrency: Overrides the decorator's.
            rate_limit: Overrides the decorator's.
            fallback: Overrides the decorator's.
            circuit_breaker: Overrides the decorator's.
            cache: Overrides the decorator's.
            priority: Overrides the decorator's.
            tags: Overrides the decorator's.
            idempotency_key: What ``ctx.idempotency_key`` is; may hold ``${{ expression }}``.
            output: JSON Schema of what the node gives.
            if_: CEL expression; the node is skipped where it is false.
            for_each: A list, or ``${{ expression }}``: the node runs for each ``item``. The name of
                a key stands for the list under it in what the one node before gives. Of a function
                that gives items one by one: the function, or its ``source(...)``.
            max_parallel: Of a ``for_each``: items at once.
            chunk_size: Of a ``for_each``: items that the node gets at once, as a list.
            tolerated_failures: Of a ``for_each``: a number of items, or a part such as ``"10%"``.
            until: CEL expression over ``output``, ``state``, ``iteration``: the node runs until
                it holds.
            max_iterations: How often it may, or without ``until`` does.
            initial: ``state`` in the first iteration.
            undo: What undoes the node should the run fail later: a function, or ``uses`` and
                ``with``.
            with_: Arguments, for those whose names mean something else here.
            **arguments: Arguments; text may hold ``${{ expression }}``.

        Returns:
            The step, ready for ``>>``.

        Raises:
            UsageError: The id is taken, or a worker could not import the function.
        """
        self._refuse_outer(id)
        if id in self._nodes:
            msg = (
                f"flow {self.id!r} has a node {id!r} already; "
                "give this one its own id, such as fetch.step(id='fetch2')"
            )
            raise UsageError(msg)
        spec = uses.__flowcore__ if isinstance(uses, NodeFunction) else NodeSpec(name=id)
        tree: dict[str, Any] = {"uses": uses if isinstance(uses, str) else address_of(uses)}
        if given := merged_arguments(id, with_ or {}, arguments):
            tree["with"] = given
        policies = policy_keys(
            tree["uses"],
            spec,
            retry=retry,
            timeout=timeout,
            queue=queue,
            join=join,
            concurrency=concurrency,
            rate_limit=rate_limit,
            fallback=fallback,
            circuit_breaker=circuit_breaker,
            cache=cache,
            priority=priority,
            tags=[tags] if isinstance(tags, str) else tags,
        )
        tree |= policies
        if isinstance(uses, NodeFunction):
            tree |= without(tree["uses"], policies)
        shape = {
            "idempotency_key": idempotency_key,
            "output": output,
            "if": if_,
            "for_each": items_tree(for_each),
            "max_parallel": max_parallel,
            "chunk_size": chunk_size,
            "tolerated_failures": tolerated_failures,
            "until": until,
            "max_iterations": max_iterations,
            "initial": initial,
            "undo": {"uses": address_of(undo)} if callable(undo) else undo,
        }
        tree |= {key: value for key, value in shape.items() if value is not None}
        before = self._ids(needs)
        self._nodes[id] = tree
        if isinstance(uses, NodeFunction) and id == spec.name:
            self._bare[id] = uses  # `fetch` as it is now means this node
        step = Step(id, self)
        for source in before:
            self.edge(source, step)
        return step

    def _refuse_outer(self, id: str) -> None:
        """Refuse outer nodes inside ``with flow.finally_:``, whose nodes are written there."""
        for part, builder in self._closing.items():
            if is_innermost(builder):
                name = f"flow.{part}{'_' if part == 'finally' else ''}"
                msg = f"'with {name}:' is open, and this goes to the flow around it; "
                raise UsageError(f"{msg}write {name}.add({id!r}, ...)")

    @property
    def on_failure(self) -> "FlowBuilder":
        """Nodes that run when the run has failed: open it with ``with`` and write nodes into it."""
        return self._closing.setdefault("on_failure", FlowBuilder(self.id))

    @property
    def finally_(self) -> "FlowBuilder":
        """Nodes that run in any case, last: open it with ``with`` and write nodes into it."""
        return self._closing.setdefault("finally", FlowBuilder(self.id))

    def bare(self, function: NodeFunction[..., Any]) -> Step:
        """Find the node of a function that is used without ``step``, or add it under its name.

        Raises:
            UsageError: Another node has that name.
        """
        name = function.__flowcore__.name
        if self._bare.get(name) is not function:
            self.add(name, function)
        return Step(name, self)

    def chain(self, *steps: Operand) -> Group:
        """Let each of these run after the one before it: ``>>`` as a call.

        ``flow.chain(fetch, split, [index, report], notify)`` is ``fetch >> split >> [index, report]
        >> notify``; checkers that warn of expressions without a use do not warn of it.

        Args:
            *steps: Nodes, chains, and lists of what runs side by side.

        Raises:
            UsageError: There are none, or one is of another flow.
        """
        open_flow(self)
        try:
            spans = [span_of(step) for step in steps]
            if not spans:
                raise UsageError("chain() needs at least one node")
            for before, after in pairwise(spans):
                for source, target in product(before.last, after.first):
                    self.edge(source, target)
        finally:
            close_flow()
        return Group(first=spans[0].first, last=spans[-1].last)

    def edge(
        self,
        source: str | Linkable,
        target: str | Linkable,
        *,
        when: str | None = None,
    ) -> None:
        """Let ``target`` run after ``source``.

        Args:
            source: Id, step or decorated function.
            target: Id, step or decorated function.
            when: CEL expression; the edge holds only if it does. Given to an edge that exists
                already, it becomes that edge's condition.

        Raises:
            UsageError: A node would follow itself, belongs to another flow, is not in this one, or
                the edge has another condition already.
        """
        before, after = self._id(source), self._id(target)
        if before == after:
            msg = (
                f"node {before!r} cannot run after itself; to use the function twice, "
                f"give it another id: {before}.step(id='{before}2')"
            )
            raise UsageError(msg)
        if after not in self._nodes:
            msg = f"flow {self.id!r} has no node {after!r}; add it before joining it"
            raise UsageError(msg)
        if when is not None and self._when.setdefault((before, after), when) != when:
            msg = f"edge {before} -> {after} has a condition already; join the two with '&&'"
            raise UsageError(msg)
        needs = self._nodes[after].setdefault("needs", [])
        if before not in needs:
            needs.append(before)

    def definition(self) -> dict[str, Any]:
        """The flow as a tree in the schema of the YAML form; changing it changes nothing here."""
        tree: dict[str, Any] = {"id": self.id, "version": self.version}
        if self.description:
            tree["description"] = self.description
        if self._tags:
            tree["tags"] = self._tags
        if self._inputs:
            tree["inputs"] = self._inputs
        tree["nodes"] = {id: self._node_tree(id) for id in self._nodes}
        if self._when:
            tree["edges"] = [
                {"from": source, "to": target, "when": when}
                for (source, target), when in self._when.items()
            ]
        for part, builder in self._closing.items():
            if nodes := builder.definition()["nodes"]:
                tree[part] = nodes
        if self._config:
            tree["config"] = self._config
        return deepcopy(tree)

    def _node_tree(self, id: str) -> dict[str, Any]:
        """One node; an edge with a condition is written as an edge, not among the needs."""
        tree = {key: value for key, value in self._nodes[id].items() if key != "needs"}
        before = self._nodes[id].get("needs", ())
        needs = [n for n in before if (n, id) not in self._when]
        items = tree.get("for_each")
        if isinstance(items, str) and "${{" not in items:
            tree["for_each"] = items_of(id, items, before)
        return {**tree, "needs": needs} if needs else tree

    def _id(self, operand: object) -> str:
        """The id of something that is, or becomes, a node of this flow."""
        if isinstance(operand, str):
            return operand
        if isinstance(operand, NodeFunction):
            return self.bare(operand).id
        if isinstance(operand, Step) and operand.flow is self:
            return operand.id
        msg = f"{operand!r} is not a node of flow {self.id!r}"
        raise UsageError(msg)

    def _ids(self, needs: object) -> list[str]:
        """Ids of what a node needs; one of it may stand without a list around it."""
        if isinstance(needs, str):
            return [needs]
        if isinstance(needs, Group):
            return [self._id(step) for step in needs.last]
        if isinstance(needs, Linkable) or not isinstance(needs, Iterable):
            return [self._id(needs)]
        return [id for need in needs for id in self._ids(need)]
