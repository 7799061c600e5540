"""The plan: what a checked flow compiles to.

In: nothing. Out: Plan, its wire form, and the questions an engine asks of it.
Not here: compiling (compile), drawing (explain).

Nodes are numbered in the canonical topological order: by layer (longest path from a start),
then in the author's order. So every predecessor has a smaller number than its successors, and
"the fold of the ancestors in canonical order" is the fold in order of numbers.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import repeat
from typing import Any, Literal

import msgpack

from flowcore.plan.policy import Policy

__all__ = ["Plan", "Scope"]

WIRE_VERSION = 5

#: What the nodes of a plan are that a structured node has made: see ``plan.children``.
Scope = Literal["", "map", "loop", "parallel", "epilogue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A flow as arrays of numbers: groups to start, chords to count down.

    ``succ``/``pred`` hold, for each node, a tuple of node numbers in rising order.
    """

    hash: str
    """Content hash of everything else in the plan (hex, 128 bit): see ``digest``."""
    flow: str
    version: str
    ids: tuple[str, ...]
    params: tuple[Mapping[str, Any], ...]
    """Per node: its ``with``."""
    policies: tuple[Policy, ...]
    policy_of: tuple[int, ...]
    pred: tuple[tuple[int, ...], ...]
    succ: tuple[tuple[int, ...], ...]
    when: Mapping[tuple[int, int], str]
    """Conditions of edges, by (source, target)."""
    levels: tuple[int, ...]
    """Per node: its layer, the longest path from a start."""
    inputs: Mapping[str, Any]
    max_parallel: int | None = None
    timeout: float | None = None
    fail_fast: bool = True
    spared: int = 0
    """How many of its nodes may fail without any consequence."""
    streaming: bool = True
    """Whether tokens and log records of nodes are events."""
    buffer_size: int = 100
    """Events of one node that may wait to be written."""
    tags: tuple[str, ...] = ()
    """Words to find its runs by."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the definition says of memory."""
    scope: Scope = ""
    first: int = 0
    """Of a loop: the iteration that its first node is; of a map: the item."""
    _conditional: set[int] = field(default_factory=set, init=False, repr=False, compare=False)
    _fellows: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.ids)

    @property
    def starts(self) -> tuple[int, ...]:
        """Nodes without predecessors: the first group."""
        return tuple(i for i, pred in enumerate(self.pred) if not pred and i != self.epilogue)

    @property
    def sinks(self) -> tuple[int, ...]:
        """Nodes without successors: their outputs are the run's output."""
        return tuple(i for i, succ in enumerate(self.succ) if not succ and i != self.epilogue)

    @property
    def epilogue(self) -> int | None:
        """The last node, if it is what is done when all others have settled."""
        body = self.policies[self.policy_of[-1]].body if self.policy_of else None
        return len(self) - 1 if body is not None and body.kind == "epilogue" else None

    @property
    def epilogue_condition(self) -> Literal["", "f", "a"]:
        """When an epilogue has something to do: upon failure, or always; empty without one."""
        if self.epilogue is None:
            return ""
        body = self.policy(self.epilogue).body
        return "a" if body is not None and body.last else "f"

    @property
    def queues(self) -> frozenset[str | None]:
        """Queues that nodes travel on, those of the runs inside too; None is the default one."""
        return frozenset(_queues(self.policies))

    def policy(self, node: int) -> Policy:
        """The policy of one node."""
        return self.policies[self.policy_of[node]]

    def siblings(self, node: int) -> int:
        """Count the nodes that have the very same successors, ``node`` included."""
        if not self._fellows:
            self._fellows.update(Counter(map(id, self.succ)))
        return self._fellows[id(self.succ[node])]

    def label(self, node: int) -> str:
        """The node's id as the author wrote it: an item of a map has the map's."""
        return self.ids[node].partition("[")[0]

    def is_conditional(self, node: int) -> bool:
        """Return whether an edge from this node has a condition."""
        if not self._conditional and self.when:
            self._conditional.update(source for source, _ in self.when)
        return node in self._conditional

    def ancestors(self, node: int) -> Iterator[int]:
        """All nodes upstream of ``node``, each once, from the highest number down."""
        seen = set(self.pred[node])
        frontier = [-source for source in seen]  # negated: heapq keeps the smallest in front
        heapify(frontier)
        while frontier:
            nearest = -heappop(frontier)
            yield nearest
            for source in self.pred[nearest]:
                if source not in seen:
                    seen.add(source)
                    heappush(frontier, -source)

    def digest(self) -> str:
        """Compute the content hash: equal for equal plans, whatever order their mappings have."""
        # Arguments go in as JSON: its encoder sorts keys at the speed of C.
        loose = json.dumps(
            [_folded(self.params), self.inputs], sort_keys=True, separators=(",", ":")
        )
        content = {**self._content(), "params": loose, "inputs": None}
        packed = msgpack.packb(content, use_bin_type=True)
        return hashlib.blake2b(packed, digest_size=16).hexdigest()

    def _content(self) -> dict[str, Any]:
        """All that cannot be derived, the hash excepted, in wire form."""
        return {
            "v": WIRE_VERSION,
            "flow": self.flow,
            "version": self.version,
            "ids": self.ids,
            "params": _folded(self.params),
            "policies": [policy.to_wire() for policy in self.policies],
            "policy_of": self.policy_of,
            "pred": self.pred,
            "when": [[*edge, text] for edge, text in sorted(self.when.items())],
            "inputs": self.inputs,
            "max_parallel": self.max_parallel,
            "timeout": self.timeout,
            "fail_fast": self.fail_fast,
            "spared": self.spared,
            "streaming": [self.streaming, self.buffer_size],
            "memory": self.memory,
            "scope": [self.scope, self.first],
            **({"tags": self.tags} if self.tags else {}),
        }

    def to_bytes(self) -> bytes:
        """The wire form (msgpack): what the store keeps under ``hash``."""
        packed: bytes = msgpack.packb({"hash": self.hash, **self._content()})
        return packed

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Plan":
        """Read the wire form back; equal to the plan it came from.

        Raises:
            ValueError: It was written by an incompatible release.
        """
        raw = msgpack.unpackb(packed, strict_map_key=False)
        if raw["v"] != WIRE_VERSION:
            msg = f"plan has wire version {raw['v']}, this release reads {WIRE_VERSION}"
            raise ValueError(msg)
        pred = tuple(map(tuple, raw["pred"]))
        streaming, buffer_size = raw["streaming"]
        scope, first = raw["scope"]
        return cls(
            hash=raw["hash"],
            flow=raw["flow"],
            version=raw["version"],
            ids=tuple(raw["ids"]),
            params=tuple(one for count, one in raw["params"] for one in repeat(one, count)),
            policies=tuple(map(Policy.from_wire, raw["policies"])),
            policy_of=tuple(raw["policy_of"]),
            pred=pred,
            succ=successors(pred),
            when={(source, target): text for source, target, text in raw["when"]},
            levels=layers(pred),
            inputs=raw["inputs"],
            max_parallel=raw["max_parallel"],
            timeout=raw["timeout"],
            fail_fast=raw["fail_fast"],
            spared=raw["spared"],
            streaming=streaming,
            buffer_size=buffer_size,
            memory=raw["memory"],
            tags=tuple(raw.get("tags", ())),
            scope=scope,
            first=first,
        )


def _queues(policies: Iterable[Policy]) -> Iterator[str | None]:
    for policy in policies:
        yield policy.queue
        if (body := policy.body) is not None:
            yield from _queues(body.inner)
            for packed in filter(None, (body.plan, body.last)):
                yield from Plan.from_bytes(packed).queues


def _folded(params: tuple[Mapping[str, Any], ...]) -> list[tuple[int, Mapping[str, Any]]]:
    """Say once what stands in a row: the items of a map share one mapping."""
    folded: list[tuple[int, Mapping[str, Any]]] = []
    last: Mapping[str, Any] | None = None
    for one in params:
        if one is last:
            folded[-1] = (folded[-1][0] + 1, one)
        else:
            folded.append((1, one))
            last = one
    return folded


def successors(pred: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Turn lists of predecessors into lists of successors; equal lists are one object."""
    succ: list[list[int]] = [[] for _ in pred]
    for node, before in enumerate(pred):
        for source in before:
            succ[source].append(node)
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    return tuple(known.setdefault(one, one) for one in map(tuple, succ))


def layers(pred: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Give each node its layer: 0 for a start, else one more than its deepest predecessor."""
    levels: list[int] = []
    for before in pred:
        levels.append(1 + max(map(levels.__getitem__, before)) if before else 0)
    return tuple(levels)
