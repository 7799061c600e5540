"""A plan as a genuine Celery canvas, to embed in a canvas of one's own.

In: Plan. Out: a signature made of ``chain`` and ``group``, which Celery runs as chords, and the
tasks it calls. Not here: the native engine, which needs none of this, and is faster.

A DAG is not series-parallel in general, so the canvas goes layer by layer. After each group stands
a gathering task: Celery 5.7 runs ``chain(group, group, group)`` wrong. What travels from task to
task is one JSON object, the *state*::

    {"plan": base64, "run": id, "input": ..., "failed": ["why this run will fail", ...],
     "settled": {id: {"state": ..., "output": ..., "dead": [ids of successors]}}, "sig": ...}

Whoever hands a state on signs it; whoever gets one verifies it before anything else. The first
node of a group passes the state on; the others return only how they settled. An output is dropped
once no node downstream of it is left.
"""

import base64
import json
import random
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol, TypeAlias, cast

from celery import Celery, Task, chain, group
from celery.canvas import Signature

from flowcore.celery.canvas.reader import CanvasReader
from flowcore.celery.canvas.unsupported import refuse_large, refuse_unkept
from flowcore.celery.signing import SIGNATURE, Keyring
from flowcore.engine.attempts.conditions import dead_edges
from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.policies.retry import next_delay
from flowcore.engine.runs.inputs import accept_input
from flowcore.engine.values.failure import error_names, qualified_name
from flowcore.errors import RunFailedError
from flowcore.errors.advice import advice_of
from flowcore.graph.policy import Retry
from flowcore.plan.joins import JoinInput, is_fatal_skip, is_tolerated, runs
from flowcore.plan.plan import Plan
from flowcore.run.status import NodeState
from flowcore.run.wire import pack, unpack

__all__ = ["Canvas", "CanvasFailedError", "RunNode", "canvas_text", "register", "to_canvas"]

State: TypeAlias = dict[str, Any]

#: JSON, because msgpack writes a broken message for a signature that holds a group: it asks the
#: mapping for its length, and a group answers with the number of its tasks.
_OPTIONS: dict[str, Any] = {"shared": False, "ignore_result": False, "serializer": "json"}

#: What ``to_canvas`` returns: part of any canvas of Celery's.
Canvas: TypeAlias = Signature


class CanvasFailedError(RunFailedError):
    """A flow failed inside a canvas; there is no run to look at."""

    def __init__(self, message: str) -> None:
        """Take one argument: Celery makes exceptions again from their ``args``."""
        super().__init__(message, run_id="")


class RunNode(Protocol):
    """Runs one attempt of one node in this process."""

    def __call__(self, plan: Plan, node: int, *, upstream: Upstream, run: str, attempt: int) -> Any:
        """Bind, call and return the output.

        Args:
            plan: The plan.
            node: The node's number.
            upstream: What the node sees.
            run: What tells this canvas from others.
            attempt: 1 for the first try.

        Raises:
            Exception: Whatever the node raised; the caller retries or records it.
        """
        ...


def to_canvas(
    plan: Plan,
    *,
    app: Celery,
    keys: Keyring,
    input: Any = None,
    queue: Callable[[str], str] = str,
) -> Signature:
    """Build the canvas of a plan.

    Running it gives what a run of the plan outputs: the output of the sole sink, or
    ``{id: output}`` of several (those that succeeded).

    Args:
        plan: The plan.
        app: The app whose workers have ``register``-ed the canvas tasks.
        keys: Signs what travels.
        input: The run's input, JSON.
        queue: Names the broker's queue of a node that has one of its own.

    Returns:
        A signature to ``apply_async``; immutable at its front: ``other.s() | to_canvas(...)``
        waits for ``other`` and ignores its result.

    Raises:
        UsageError: The plan is larger than Celery's own canvas can carry, has no nodes, has
            what needs a run, or the input is not what the flow declares.
    """
    refuse_unkept(plan)
    layers = _layers(plan)
    packed = base64.b64encode(zlib.compress(plan.to_bytes())).decode("ascii")
    input = accept_input(plan.inputs, {} if input is None else input)
    state: State = {
        "plan": packed,
        "input": unpack(pack(input, what="input")),
        "settled": {},
        "failed": [],
    }
    refuse_large(layers, len(json.dumps(state, default=str)))
    begin = (_signed(state, keys),)
    steps: list[Signature] = [app.signature("flowcore.canvas_begin", begin, immutable=True)]
    for layer in layers:
        signatures = [
            _signature(
                plan, app, keys, queue, {"plan": plan.hash, "node": node, "carry": node == layer[0]}
            )
            for node in layer
        ]
        if len(layer) == 1:
            steps.extend(signatures)
        else:
            steps.append(group(signatures, app=app))
            steps.append(app.signature("flowcore.canvas_gather"))
    steps.append(app.signature("flowcore.canvas_end"))
    return cast("Signature", chain(*steps, app=app))


def canvas_text(plan: Plan) -> str:
    """Write the canvas as Python-like text, a step a line.

    Args:
        plan: The plan, of any size.

    Returns:
        Text ending in a newline.
    """
    steps = ["begin"]
    for layer in _layers(plan):
        ids = ", ".join(plan.ids[node] for node in layer)
        steps.append(ids if len(layer) == 1 else f"group({ids}), gather")
    return "\n".join(["chain(", *(f"    {step}," for step in [*steps, "end"]), ")"]) + "\n"


def _layers(plan: Plan) -> list[list[int]]:
    """The nodes of each layer."""
    layers: list[list[int]] = [[] for _ in range(max(plan.levels, default=-1) + 1)]
    for node, level in enumerate(plan.levels):
        layers[level].append(node)
    return layers


def _signature(
    plan: Plan,
    app: Celery,
    keys: Keyring,
    queue: Callable[[str], str],
    given: Mapping[str, Any],
) -> Signature:
    """The call that runs one node."""
    policy = plan.policy(given["node"])
    # Monitors find a task by its tags in its arguments.
    given = {**given, "tags": list(policy.tags)} if policy.tags else given
    kwargs = {**given, SIGNATURE: keys.sign_value(given)}
    signature = app.signature("flowcore.canvas_node", kwargs=kwargs)
    return signature.set(queue=queue(policy.queue)) if policy.queue else signature


def _signed(state: State, keys: Keyring) -> State:
    """The state with a signature of all of it."""
    return {**state, SIGNATURE: keys.sign_value(state)}


def _verified(signed: Any, keys: Keyring) -> State:
    """Verify a signed payload and return its content."""
    state = dict(signed) if isinstance(signed, Mapping) else {}
    signature = state.pop(SIGNATURE, None)
    if not keys.verify_value(state, signature):
        raise keys.refuse("a message of a canvas", "its signature is not right")
    return state


def register(app: Celery, *, run_node: RunNode, keys: Callable[[], Keyring]) -> None:
    """Give a worker's app the tasks that a canvas calls.

    Args:
        app: The worker's app.
        run_node: Runs one attempt of one node.
        keys: Gives the process's keys.
    """

    @app.task(name="flowcore.canvas_begin", bind=True, **_OPTIONS)
    def begin(task: "Task[Any, Any]", state: State) -> State:
        # One canvas may be sent many times, and each is told from the others by this.
        return _signed({**_verified(state, keys()), "run": f"canvas-{task.request.id}"}, keys())

    @app.task(name="flowcore.canvas_node", bind=True, max_retries=None, **_OPTIONS)
    def run(task: "Task[Any, Any]", signed: State, **given: Any) -> State:
        state, call = _verified(signed, keys()), _verified(given, keys())
        opened, node = _open(state["plan"]), call["node"]
        if call["plan"] != opened.plan.hash:
            raise keys().refuse("a message of a canvas", "it calls a node of another plan")
        mine = _attempt(task, opened.plan, node, state, run_node)
        return _signed(_pass_on(opened, node, state, mine) if call["carry"] else mine, keys())

    @app.task(name="flowcore.canvas_gather", **_OPTIONS)
    def gather(parts: list[State]) -> State:
        return _signed(_merged([_verified(part, keys()) for part in parts]), keys())

    @app.task(name="flowcore.canvas_end", **_OPTIONS)
    def end(signed: State) -> Any:
        state = _verified(signed, keys())
        if state["failed"]:
            raise CanvasFailedError(state["failed"][0])
        return _output(_open(state["plan"]).plan, state["settled"])


def _attempt(
    task: "Task[Any, Any]", plan: Plan, node: int, state: State, run_node: RunNode
) -> State:
    """One attempt of one node: what it adds to the state, or an exception that ends the canvas."""
    try:
        call = partial(run_node, run=state["run"], attempt=task.request.retries + 1)
        settled, fatal = _settle(plan, node, state, call)
    except Exception as error:
        final = advice_of(error).final
        _retry(task, None if final else plan.policy(node).retry, error)
        if instead := plan.policy(node).fallback:
            settled, fatal = _succeeded(plan, node, _upstream(plan, state), instead[0].value), None
        else:
            settled, fatal = _failed(plan, node, state, error)
        if fatal and plan.fail_fast:
            raise
    if fatal and plan.fail_fast:
        raise CanvasFailedError(fatal)
    return {"settled": {plan.ids[node]: settled}, "failed": [fatal] if fatal else []}


def _retry(task: "Task[Any, Any]", retry: Retry | None, error: Exception) -> None:
    """Leave by an exception of Celery's if the node gets another attempt."""
    delay = next_delay(
        retry,
        failures=task.request.retries + 1,
        names=error_names(error),
        random=random.random,
        after=advice_of(error).after,
    )
    if delay is None:
        return
    if task.request.is_eager:
        time.sleep(delay)  # apply() would start the next attempt at once
    raise task.retry(exc=error, countdown=delay) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A plan that came in a message, and what is asked of it again and again."""

    plan: Plan
    number: Mapping[str, int]
    last_need: tuple[int, ...]
    """Per node: the last layer that may read its output; beyond the last one for a sink."""


@lru_cache(maxsize=64)
def _open(packed: str) -> _Opened:
    """Unpack a plan, once per process."""
    plan = Plan.from_bytes(zlib.decompress(base64.b64decode(packed)))
    needed = [0] * len(plan)
    beyond = max(plan.levels, default=0) + 1
    for node in reversed(range(len(plan))):
        succ = plan.succ[node]
        # A successor that is itself a sink reads on its own layer, and hands nothing on.
        needed[node] = max(
            (needed[s] if plan.succ[s] else plan.levels[s] for s in succ), default=beyond
        )
    number = {id: node for node, id in enumerate(plan.ids)}
    return _Opened(plan=plan, number=number, last_need=tuple(needed))


def _pass_on(opened: _Opened, node: int, state: State, mine: State) -> State:
    """The state for what comes after the layer of ``node``, without what nobody needs."""
    level = opened.plan.levels[node]
    kept = {
        id: how
        for id, how in state["settled"].items()
        if opened.last_need[opened.number[id]] > level
    }
    return _merged([{**state, "settled": kept}, mine])


def _merged(parts: Sequence[State]) -> State:
    """Merge the outputs of a layer's nodes; the first of them passed the state on."""
    return {
        **parts[0],
        "settled": {id: how for part in parts for id, how in part["settled"].items()},
        "failed": [fatal for part in parts for fatal in part["failed"]],
    }


def _upstream(plan: Plan, state: Mapping[str, Any]) -> Upstream:
    """Return the upstream outputs that nodes see, out of the state."""
    seen = CanvasReader(plan, input=state["input"], settled=state["settled"])
    return Upstream(run=state["run"], plan=plan, reader=seen)


def _settle(
    plan: Plan, node: int, state: Mapping[str, Any], run_node: Callable[..., Any]
) -> tuple[State, str | None]:
    """Run or skip a node; return how it settled, and why that fails the run, if it does."""
    arrivals = [_arrival(state["settled"][plan.ids[p]], plan.ids[node]) for p in plan.pred[node]]
    join = plan.policy(node).join
    if not runs(join, arrivals):
        hopeless = is_fatal_skip(join, arrivals)
        return {"state": NodeState.SKIPPED.value, "dead": []}, (
            f"no predecessor of {plan.ids[node]!r} succeeded" if hopeless else None
        )
    upstream = _upstream(plan, state)
    value = run_node(plan, node, upstream=upstream)
    return _succeeded(plan, node, upstream, value), None


def _succeeded(plan: Plan, node: int, upstream: Upstream, value: Any) -> State:
    """Return the record of a node that succeeded with ``value``."""
    output = unpack(pack(value, what=f"output of node {plan.ids[node]!r}"))
    upstream.put(node, output)
    dead = dead_edges(plan, node, upstream, state=NodeState.SUCCEEDED.value)
    return {
        "state": NodeState.SUCCEEDED.value,
        "output": output,
        "dead": [plan.ids[target] for target in dead],
    }


def _failed(
    plan: Plan, node: int, state: Mapping[str, Any], error: Exception
) -> tuple[State, str | None]:
    """Return the record of a node that failed for good, and the run's error if it fails too."""
    try:
        dead = dead_edges(plan, node, _upstream(plan, state), state=NodeState.FAILED.value)
    except Exception:  # noqa: BLE001  (the node's own error is the one to tell)
        dead = ()
    how = {"state": NodeState.FAILED.value, "dead": [plan.ids[target] for target in dead]}
    if is_tolerated(plan, node, dead=frozenset(dead)):
        return how, None
    return how, f"node {plan.ids[node]!r} failed: {qualified_name(type(error))}: {error}"


def _arrival(how: Mapping[str, Any], target: str) -> JoinInput:
    """One predecessor, seen from ``target``."""
    return JoinInput(state=NodeState(how["state"]), holds=target not in how["dead"])


def _output(plan: Plan, settled: Mapping[str, Mapping[str, Any]]) -> Any:
    """The run's output: of the sole sink, or by id of several."""
    sinks = [plan.ids[sink] for sink in plan.sinks]
    found = {id: settled[id]["output"] for id in sinks if "output" in settled[id]}
    return found.get(sinks[0]) if len(sinks) == 1 else found
