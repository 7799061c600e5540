"""Policies x signatures x ways of running: the flows, and what each cell has to come to.

In: a way of running. Out: a definition with a node, or a few, for each cell; the cells that are
wrong. Not here: workers (tests.engine).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SIGNATURES = ("bare", "one", "ctx_only", "generator", "later", "stream", "called")

Tree = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a node came to: state, type of error, output, attempts of its function."""

    state: str
    error: str | None
    output: Any
    attempts: int


@dataclass(frozen=True)
class Policy:
    """One policy: how a cell's nodes are written, and whether they came to the right thing."""

    temper: str
    keys: tuple[Tree, ...]
    """One node for each; one that is not the first runs after the one before."""
    holds: Callable[[list[Seen]], bool]
    in_canvas: bool = True
    at_once: bool = False
    """They do not run one after the other."""


def _value(seen: Seen) -> Any:
    """What the function itself gave: a generator's chunks, an item's output are lists around it."""
    value = seen.output
    if isinstance(value, dict) and "in" in value:
        value = value["in"]
    while isinstance(value, list) and value:
        value = value[-1]
    return value


def _failed(error: str, attempts: int = 1) -> Callable[[list[Seen]], bool]:
    return lambda cell: (
        [(one.state, one.error, one.attempts) for one in cell] == [("failed", error, attempts)]
    )


def _apart(seconds: float) -> Callable[[list[Seen]], bool]:
    def holds(cell: list[Seen]) -> bool:
        first, second = (_value(one)["began"] for one in cell)
        return bool(second - first >= seconds * 0.9)

    return holds


def _one_by_one(cell: list[Seen]) -> bool:
    first, second = sorted((_value(one)["began"], _value(one)["ended"]) for one in cell)
    return bool(first[1] <= second[0])


def _gave(cell: list[Seen]) -> bool:
    return all("once" in _value(one) for one in cell)


def _named(kind: str, **more: Any) -> Callable[[str], Tree]:
    return lambda name: {kind: {**more, "name": f"{kind}-{name}"}}


#: A callable stands where each cell needs a name of its own.
POLICIES: Mapping[str, Policy] = {
    "none": Policy("give", ({},), lambda cell: "once" in _value(cell[0])),
    "timeout": Policy("nap", ({"timeout": "50ms"},), _failed("NodeTimeoutError")),
    "timeout retried": Policy(
        "nap",
        ({"timeout": "50ms", "retry": {"max_attempts": 2, "delay": 0}},),
        _failed("NodeTimeoutError", 2),
    ),
    "retry": Policy(
        "fail", ({"retry": {"max_attempts": 3, "delay": 0}},), _failed("ConnectionError", 3)
    ),
    "retry_on": Policy(
        "fail",
        ({"retry": {"max_attempts": 3, "delay": 0, "retry_on": ["KeyError"]}},),
        _failed("ConnectionError"),
    ),
    "fallback": Policy(
        "fail",
        ({"fallback": {"value": 7}},),
        lambda cell: cell[0].state == "succeeded" and _value(cell[0]) == 7,
    ),
    "timeout, then fallback": Policy(
        "nap", ({"timeout": "50ms", "fallback": {"value": 7}},), lambda cell: _value(cell[0]) == 7
    ),
    "output": Policy("give", ({"output": {"type": "null"}},), _failed("OutputError")),
    "if": Policy(
        "fail", ({"if": "1 == 2"},), lambda cell: cell[0].state == "skipped", in_canvas=False
    ),
    "cache": Policy(
        "give",
        (_named("cache", ttl="1h", key="k"), _named("cache", ttl="1h", key="k")),  # type: ignore[arg-type]
        lambda cell: _value(cell[0])["once"] == _value(cell[1])["once"],
        in_canvas=False,
    ),
    "rate_limit": Policy(
        "give",
        (_named("rate_limit", limit=1, per=0.4), _named("rate_limit", limit=1, per=0.4)),  # type: ignore[arg-type]
        _apart(0.4),
        in_canvas=False,
    ),
    "concurrency": Policy(
        "hold",
        (_named("concurrency", limit=1), _named("concurrency", limit=1)),  # type: ignore[arg-type]
        _one_by_one,
        in_canvas=False,
        at_once=True,
    ),
    "queue": Policy("give", ({"queue": "flowcore"},), _gave),
    "tags": Policy("give", ({"tags": ["t"]},), _gave),
    "priority": Policy("give", ({"priority": 9}, {"priority": 1}), _gave, in_canvas=False),
    "idempotency_key": Policy("give", ({"idempotency_key": "k"},), _gave, in_canvas=False),
    "circuit_breaker": Policy(
        "fail",
        (_named("circuit_breaker", failures=1), _named("circuit_breaker", failures=1)),  # type: ignore[arg-type]
        lambda cell: [one.error for one in cell] == ["ConnectionError", "CircuitOpenError"],
        in_canvas=False,
    ),
}

#: How a node is made to run as something else than a plain node.
WAYS: Mapping[str, Tree] = {
    "plain": {},
    "map": {"for_each": [1]},
    "loop": {"max_iterations": 1},
    "map of loops": {"for_each": [1], "max_iterations": 1},
    "sub-flow": {"uses": "workflow"},
    "branch": {"uses": "parallel"},
}


def definition(way: str, *, canvas: bool = False, queue: str | None = "flowcore") -> Tree:
    """All cells of a way of running, as one flow in which no node stops another.

    Args:
        way: The way of running.
        canvas: Only what a canvas can keep.
        queue: A queue that is served; None: the nodes of that cell name none.
    """
    nodes: Tree = {}
    for name, policy in POLICIES.items():
        for signature in SIGNATURES:
            if canvas and not policy.in_canvas:
                continue
            for at, keys in enumerate(policy.keys):
                id = _id(name, signature, at)
                own = keys(f"{way}-{name}-{signature}") if callable(keys) else keys
                own = {**own, "queue": queue} if "queue" in own else own
                nodes[id] = _node(way, signature, policy.temper, own)
                if at and not policy.at_once:
                    nodes[id] |= {"needs": [_id(name, signature, at - 1)], "join": "all_done"}
    return {
        "id": "matrix",
        "nodes": nodes,
        "config": {"execution": {"fail_fast": False}},
    }


def _node(way: str, signature: str, temper: str, keys: Tree) -> Tree:
    node = {"uses": f"matrix_nodes:{signature}_{temper}", **keys}
    if signature == "one":
        node["with"] = {"x": 1}
    around = WAYS[way]
    if around.get("uses") == "workflow":
        config = {"execution": {"fail_fast": False}}
        return {"uses": "workflow", "flow": {"id": "inside", "nodes": {"in": node}, **config}}
    if around.get("uses") == "parallel":
        return {"uses": "parallel", "branches": {"in": node}}
    return {**node, **around}


def _id(policy: str, signature: str, at: int) -> str:
    return f"{policy.replace(', ', '-').replace(' ', '-')}.{signature}.{at}"


def wrong(see: Callable[[str], Seen], way: str, *, canvas: bool = False) -> list[str]:
    """The cells that did not come to what they have to.

    Args:
        see: Finds what a node came to, by its id.
        way: The way of running, for the message.
        canvas: Only what a canvas can keep.
    """
    found = []
    for name, policy in POLICIES.items():
        for signature in SIGNATURES:
            if canvas and not policy.in_canvas:
                continue
            cell = [see(_id(name, signature, at)) for at in range(len(policy.keys))]
            try:
                fine = policy.holds(cell)
            except (LookupError, TypeError):
                fine = False
            if not fine:
                found.append(f"{name} x {signature} x {way}: {cell}")
    return found
