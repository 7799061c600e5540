"""Policies of nodes and specs of structured nodes, in compiled form.

In: nothing. Out: Policy and StructuredSpec, and their wire forms. Not here: the author's models
of them (graph.policy, graph.flow).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from flowcore.graph.decorators import laid_over, marked_keys
from flowcore.graph.flow import NodeDefinition
from flowcore.graph.policy import (
    Cache,
    CircuitBreaker,
    Concurrency,
    Fallback,
    Model,
    RateLimit,
    Retry,
    from_plan,
)

__all__ = ["BodyKind", "Policy", "StructuredSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Settings for running a node; shared by all nodes that have the same ones."""

    uses: str
    retry: Retry | None = None
    timeout: float | None = None
    queue: str | None = None
    join: str = "all_success"
    concurrency: Concurrency | None = None
    rate_limit: RateLimit | None = None
    fallback: tuple[Fallback, ...] = ()
    circuit_breaker: CircuitBreaker | None = None
    cache: Cache | None = None
    condition: str | None = None
    """The node's ``if``: CEL over what is upstream."""
    output: Mapping[str, Any] | None = None
    """JSON Schema of what the node gives."""
    priority: int | None = None
    """Where its messages stand in their queue; None: where those of its run do."""
    tags: tuple[str, ...] = ()
    """Words to find it by."""
    keeps_place: bool | None = None
    """Whether it keeps its place under ``concurrency`` while it waits: so does an item of a map."""
    idempotency_key: str | None = None
    """What ``ctx.idempotency_key`` is; None: the run and the node."""
    body: "StructuredSpec | None" = None
    """What a structured node starts; the rest of its policy is for that start alone."""
    own: Mapping[str, Any] | None = None
    """What the definition itself says of the node, where its function was not at hand when the
    flow was compiled: the worker lays it over what the decorator says. None: both are in here."""
    marked: tuple[str, ...] = ()
    """Keys that come from the decorator: ``timeout``, ``retry.delay``; for people to see."""

    @property
    def alone(self) -> bool:
        """True if such a node has a message to itself.

        The pool's hard time limit belongs to a message; and what waits for a limit gives its
        worker back.
        """
        return bool(self.timeout or self.guarded)

    @property
    def guarded(self) -> bool:
        """True if state that all workers share decides whether the node's function is called."""
        return bool(self.concurrency or self.rate_limit or self.circuit_breaker or self.cache)

    def decided(self, below: Mapping[str, Any]) -> Self:
        """The policy that such a node has, by what its function's decorator says.

        Which queue it is sent to, with which priority, and when its turn comes (``join``) is
        decided before its worker can ask: these stay as they are.

        Args:
            below: What the decorator says, as a definition would have it.
        """
        own = self.own or {}
        said = {key: value for key, value in below.items() if key not in _SENT}
        merged = laid_over({key: own[key] for key in own if key in said}, said)
        model = NodeDefinition.model_validate({"uses": self.uses, **merged})
        changed = {key: getattr(model, key) for key in merged}
        return replace(self, own=None, marked=marked_keys(merged, said), **changed)

    def to_wire(self) -> dict[str, Any]:
        """Return the policy as plain data."""
        given = {key: value for key in _PLAIN if (value := getattr(self, key)) is not None}
        models = {key: model.model_dump() for key in _MODELS if (model := getattr(self, key))}
        chain = [one.model_dump() for one in self.fallback]
        body = {"body": self.body.to_wire()} if self.body else {}
        lists = {"fallback": chain, "tags": self.tags, "marked": self.marked}
        return {**given, **models, **{key: one for key, one in lists.items() if one}, **body}

    @classmethod
    def from_wire(cls, given: Mapping[str, Any]) -> Self:
        """Read what ``to_wire`` wrote."""
        plain = {key: given[key] for key in _PLAIN if key in given}
        models: dict[str, Any] = {
            key: from_plan(kind, given[key]) for key, kind in _MODELS.items() if key in given
        }
        chain = tuple(from_plan(Fallback, one) for one in given.get("fallback", ()))
        body = StructuredSpec.from_wire(given["body"]) if "body" in given else None
        tags, marked = tuple(given.get("tags", ())), tuple(given.get("marked", ()))
        return cls(**plain, **models, fallback=chain, tags=tags, marked=marked, body=body)


#: What is decided when a node becomes ready, wherever that is.
_SENT = frozenset({"queue", "join", "priority"})

_PLAIN = (
    *("uses", "timeout", "queue", "join", "condition", "output"),
    *("priority", "idempotency_key", "keeps_place", "own"),
)
_MODELS: Mapping[str, type[Model]] = {
    "retry": Retry,
    "concurrency": Concurrency,
    "rate_limit": RateLimit,
    "circuit_breaker": CircuitBreaker,
    "cache": Cache,
}


BodyKind = Literal["map", "loop", "parallel", "flow", "epilogue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredSpec:
    """The run that a structured node starts; ``plan.children`` makes its plan."""

    kind: BodyKind
    inner: tuple[Policy, ...] = ()
    """The policy of an item, of an iteration, or of each branch."""
    over: Any = None
    """Of a map: the items, or a template of them."""
    source: bool = False
    """Of a map: its items come from the node's function, and ``params`` is what they are given."""
    max_parallel: int | None = None
    chunk_size: int | None = None
    """Of a map: items that one node gets as a list."""
    tolerated: int | float = 0
    """Of a map: how many items may fail; a fraction of them if it is not a whole number."""
    until: str | None = None
    """Of a loop: CEL; what it holds for is the last iteration."""
    most: int | None = None
    """Of a loop: iterations."""
    initial: tuple[Any, ...] = ()
    """Of a loop: ``state`` in the first iteration, or a template of it; empty: what flows in."""
    ids: tuple[str, ...] = ()
    """Of branches: their names. Of an epilogue: the nodes that can be undone."""
    params: tuple[Mapping[str, Any], ...] = ()
    """The ``with`` of branches, of what undoes nodes, of the items that a function gives."""
    plan: bytes = b""
    """Of a sub-flow: its plan, in wire form. Of an epilogue: what is done upon failure."""
    last: bytes = b""
    """Of an epilogue: what is done in any case."""
    name: str | None = None
    """Of a sub-flow that was not looked up yet: the name it was deployed under."""

    def to_wire(self) -> dict[str, Any]:
        """Return the spec as plain data."""
        said = {name: value for name in _BODY if (value := getattr(self, name)) != _UNSAID[name]}
        return {**said, "inner": [policy.to_wire() for policy in self.inner]}

    @classmethod
    def from_wire(cls, given: Mapping[str, Any]) -> Self:
        """Read what ``to_wire`` wrote."""
        said = {name: given[name] for name in _BODY if name in given}
        for name in ("ids", "params", "initial"):
            said[name] = tuple(said.get(name, ()))
        return cls(**said, inner=tuple(map(Policy.from_wire, given["inner"])))


_BODY = tuple(name for name in StructuredSpec.__dataclass_fields__ if name != "inner")
_UNSAID = {name: StructuredSpec.__dataclass_fields__[name].default for name in _BODY}
