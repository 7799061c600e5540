"""What a behaviour is, and what is seen of a run: the same on the test kit and on workers.

In: a flow, what is done to its run. Out: plain data, without times and ids of runs. Not here: the
behaviours themselves, running them (drivers).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.run.event import Event, EventType
from flowcore.run.record import NodeRecord, RunRecord

__all__ = ["B", "Behaviour", "Seen", "Tree", "apart", "differences", "observe", "uses"]

Tree = dict[str, Any]

N = "behaviour_nodes:"

#: What stands where nothing is said of the output.
UNSAID = object()


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A flow, what is done to its run, and what has to come of it."""

    name: str
    flow: Tree
    input: Any = None
    deploys: tuple[Tree, ...] = ()
    do: tuple[tuple[Any, ...], ...] = ()
    """What is done to the run, each once nothing moves any more: see ``drivers``."""
    state: str = "succeeded"
    output: Any = UNSAID
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Outputs of some nodes."""
    error: str | None = None
    """What the run's error begins with."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    """Of nodes, by their way: ``m/m[0]``."""
    said: Mapping[str, list[Any]] = field(default_factory=dict)
    """What nodes have said: tokens, log lines, events of their own, and what was done for them."""
    steps: tuple[str | None, ...] = ()
    """What came of what was done: types of errors."""
    own_words: bool = False
    """The test kit words an error otherwise, or it tells of times."""
    loose: bool = False
    """Which attempts had to wait depends on what else goes on."""
    racy: bool = False
    """Which of several failed first, or which portion an item is in, depends on that, too."""


def B(name: str, nodes: Tree, /, **more: Any) -> Behaviour:  # noqa: N802  (there are 200 of them)
    """A behaviour of some nodes; ``more`` are further keys of the flow, and of the behaviour."""
    own = {key: more.pop(key) for key in list(more) if key in Behaviour.__dataclass_fields__}
    return Behaviour(name=name, flow={"id": "flow", "nodes": nodes, **more}, **own)


def uses(function: str, /, **more: Any) -> Tree:
    """A node; what is no key of a node is what its function is given."""
    keys = {
        *("needs", "retry", "timeout", "cache", "fallback", "join", "output", "for_each", "undo"),
        *("max_parallel", "chunk_size", "tolerated_failures", "until", "max_iterations", "initial"),
        *("rate_limit", "concurrency", "circuit_breaker", "flow", "branches", "idempotency_key"),
    }
    node = {key: value for key, value in more.items() if key in keys}
    given = {key: value for key, value in more.items() if key not in {*keys, "if_"}}
    name = function if ":" in function or function in _BUILT_IN else N + function
    condition = {"if": more["if_"]} if "if_" in more else {}
    return {"uses": name, **node, **condition, **({"with": given} if given else {})}


_BUILT_IN = frozenset(
    {
        *("start", "end", "passthrough", "condition", "parallel", "workflow", "wait", "signal"),
        *("approval", "memory", "http", "llm", "tool", "message"),
    }
)


@dataclass(frozen=True)
class Seen:
    """What there is to be seen of a run and of those inside it."""

    state: str
    output: Any
    outputs: dict[str, Any]
    error: str | None
    nodes: dict[str, tuple[Any, ...]]
    said: dict[str, list[Any]]
    kinds: dict[str, list[str]]
    steps: list[str | None]


Reads = Callable[[str], RunRecord | None]


def observe(
    run: str,
    result: Any,
    *,
    read: Reads,
    events: Callable[[str], list[Event]],
    children: Callable[[str], list[str]],
    steps: list[str | None],
) -> Seen:
    """Look at a run that nothing moves any more."""
    nodes: dict[str, tuple[Any, ...]] = {}
    said: dict[str, list[Any]] = {}
    kinds: dict[str, list[str]] = {}
    for way, inner in _runs(run, "", children):
        record = read(inner)
        assert record is not None
        for name, node in record.nodes.items():
            nodes[f"{way}{name}"] = _node(node, run)
        for event in events(inner):
            _note(event, way, run, said, kinds)
    success = result.state.value == "succeeded"
    return Seen(
        state=result.state.value,
        output=result.output if success else None,
        outputs=dict(result.outputs),
        error=None if result.error is None else result.error.replace(run, "RUN"),
        nodes=dict(sorted(nodes.items())),
        said=dict(sorted(said.items())),
        kinds=dict(sorted(kinds.items())),
        steps=steps,
    )


def _runs(run: str, way: str, children: Callable[[str], list[str]]) -> Iterator[tuple[str, str]]:
    yield way, run
    for child in sorted(children(run)):
        yield from _runs(child, f"{way}{child.rpartition('/')[2]}/", children)


def _node(node: NodeRecord, run: str) -> tuple[Any, ...]:
    error = node.error
    if error is None:
        return node.state.value, node.attempts, None
    words, trace = (str(text).replace(run, "RUN") for text in (error.message, error.traceback))
    return node.state.value, node.attempts, (error.type, words, error.code, trace)


_SAID = {
    EventType.NODE_EMITTED,
    EventType.NODE_TOKEN,
    EventType.NODE_LOG,
    EventType.NODE_FALLBACK,
    EventType.NODE_CACHED,
    EventType.NODE_CIRCUIT,
}

#: What depends on which worker looked when: messages, and what happens to many nodes at once.
_UNORDERED = {
    *(EventType.NODES_DISPATCHED, EventType.NODES_SKIPPED, EventType.NODES_CANCELLED),
    *(EventType.NODES_REUSED, EventType.STREAM_GAP),
}


def _note(
    event: Event, way: str, run: str, said: dict[str, list[Any]], kinds: dict[str, list[str]]
) -> None:
    kind = event.type.value.partition(".")[2]
    if event.type in _SAID:
        data = {key: value for key, value in event.data.items() if key != "worker"}
        about = (kind, repr(data).replace(run, "RUN"))
        said.setdefault(f"{way}{event.node}", []).append(about)
    if event.type not in _UNORDERED:
        where = f"{way}{event.node}" if event.nodes else way or "."
        kinds.setdefault(where, []).append(kind)


def apart(behaviour: Behaviour, kit: Seen, workers: Seen) -> list[str]:
    """Where what is seen on the test kit and on workers is not the same."""
    found = []
    for part in Seen.__dataclass_fields__:
        ours, theirs = getattr(kit, part), getattr(workers, part)
        if (part == "kinds" and behaviour.loose) or (part in _RACES and behaviour.racy):
            continue
        if behaviour.own_words and part in {"error", "nodes"}:
            ours, theirs = _kinds_of_errors(ours), _kinds_of_errors(theirs)
        if repr(ours) != repr(theirs):
            found.append(_first_difference(part, ours, theirs))
    return found


_RACES = frozenset({"error", "nodes", "kinds", "said"})


def _kinds_of_errors(told: Any) -> Any:
    if isinstance(told, dict):
        return {way: (*node[:2], node[2] and node[2][0]) for way, node in told.items()}
    return str(told).split(": ")[:2]


def _first_difference(part: str, ours: Any, theirs: Any) -> str:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = [*ours, *(name for name in theirs if name not in ours)]
        name = next(one for one in names if repr(ours.get(one)) != repr(theirs.get(one)))
        part, ours, theirs = f"{part} of {name}", ours.get(name), theirs.get(name)
    return f"{part}: {str(ours)[:400]!r} on the kit, {str(theirs)[:400]!r} on workers"


def differences(behaviour: Behaviour, seen: Seen) -> list[str]:
    """What is not as the behaviour says."""
    found = [
        f"{what}: expected {expected!r}, came {came!r}"[:600]
        for what, expected, came in _expected(behaviour, seen)
        if repr(expected) != repr(came)
    ]
    if behaviour.error is not None and not str(seen.error).startswith(behaviour.error):
        found.append(f"error: expected {behaviour.error!r}, came {str(seen.error)[:300]!r}")
    return found


def _expected(behaviour: Behaviour, seen: Seen) -> Iterator[tuple[str, Any, Any]]:
    """What is said of a run, and what came."""
    nowhere: tuple[Any, ...] = (None, None, None)
    yield "state", behaviour.state, seen.state
    if behaviour.output is not UNSAID:
        yield "output", behaviour.output, seen.output
    for name, value in behaviour.outputs.items():
        yield f"output of {name}", value, seen.outputs.get(name)
    for name, count in behaviour.attempts.items():
        yield f"attempts of {name}", count, seen.nodes.get(name, nowhere)[1]
    for name, state in behaviour.states.items():
        yield f"state of {name}", state, seen.nodes.get(name, nowhere)[0]
    for name, about in behaviour.said.items():
        yield f"what {name} said", about, seen.said.get(name)
    yield "steps", list(behaviour.steps), seen.steps
