"""COMPILE: a checked flow becomes a plan.

In: CheckedFlow. Out: Plan. Not here: rules (check), what happens next (engine).

Pure and linear in nodes + edges. The hash is the plan's own: over the merged form of needs and
edges, so that two spellings of one flow share one stored plan.
"""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flowcore.check.check import CheckedFlow
from flowcore.check.rules.finalizers import UNDO
from flowcore.check.rules.structure import CHOOSING, as_template, choices
from flowcore.errors import UnsupportedValueError
from flowcore.graph.decorators import POLICIES
from flowcore.graph.flow import Config, FlowDefinition, MemoryConfig, NodeDefinition
from flowcore.nodes.types.celery_task import PREFIX, task_params
from flowcore.nodes.types.structured import EPILOGUE, STRUCTURED, WITH_FLOW
from flowcore.plan.plan import Plan, layers, successors
from flowcore.plan.policy import Policy, StructuredSpec

__all__ = ["compile_plan"]

#: Looked up first: asking whether 100,000 values are Mappings is a tenth of the whole compile.
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NOTHING: Mapping[str, Any] = {}
#: What the decorator of a function that gives items does not say of it.
_NOT_OF_SOURCES: Mapping[str, Any] = {
    **dict.fromkeys(("concurrency", "rate_limit", "fallback", "circuit_breaker", "cache")),
    "tags": [],
}
#: Keys that make a node of any type one that starts others.
_STRUCTURED = frozenset({"for_each", "until", "max_iterations"})


def compile_plan(flow: CheckedFlow) -> Plan:
    """Compile a checked flow.

    Args:
        flow: A flow without problems, in canonical order.

    Returns:
        The plan. Equal flows give equal plans with equal hashes, whether their edges are
        spelled as ``needs`` or as ``edges``, in whatever order.

    Raises:
        UnsupportedValueError: An argument in a ``with`` cannot be carried by msgpack.
    """
    with _collector_paused():
        return _compile(flow)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Make no garbage collection while everything that is made stays.

    Compiling makes a million objects and no cycles; looking for cycles among them took half of
    the time for 100,000 nodes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _compile(flow: CheckedFlow) -> Plan:
    """Number the nodes, turn ids into numbers, intern policies, hash."""
    definition = flow.definition
    number = {id: index for index, id in enumerate(flow.order)}
    nodes = [definition.nodes[id] for id in flow.order]
    sources = compile_plan(flow.sources) if flow.sources is not None else None
    policies, policy_of = _intern(zip(flow.order, nodes, strict=True), flow, sources)
    params = tuple(_params(node, definition.config) for node in nodes)
    if sources is not None:
        given = dict(zip(sources.ids, sources.params, strict=True))
        params = tuple(given.get(id, own) for id, own in zip(flow.order, params, strict=True))
    pred = tuple(_numbers(flow.needs.get(id, ()), number) for id in flow.order)
    when = sorted(((number[a], number[b]), text) for (a, b), text in _when(flow).items())
    plan = Plan(
        hash="",
        flow=definition.id,
        version=definition.version,
        ids=tuple(flow.order),
        params=params,
        policies=policies,
        policy_of=policy_of,
        pred=pred,
        succ=successors(pred),
        when=dict(when),
        levels=layers(pred),
        inputs=_plain_mapping(definition.inputs),
        max_parallel=definition.config.max_parallel,
        timeout=definition.config.timeout,
        fail_fast=definition.config.execution.fail_fast,
        streaming=definition.config.streaming.enabled,
        buffer_size=definition.config.streaming.buffer_size,
        memory=_memory(definition.config.memory),
        tags=definition.tags,
    )
    if flow.closing:
        plan = _with_epilogue(plan, _epilogue(flow))
    return replace(plan, hash=_digest(plan, definition))


def _epilogue(flow: CheckedFlow) -> StructuredSpec:
    """Put what runs at the end into one body."""
    undo = flow.closing.get(UNDO)
    done = compile_plan(undo) if undo is not None else None
    # In the order of the flow: they are undone in the opposite one.
    order = [done.ids.index(id) for id in flow.order if id in done.ids] if done else []
    parts = {
        part: compile_plan(flow.closing[part]).to_bytes()
        for part in ("on_failure", "finally")
        if part in flow.closing
    }
    return StructuredSpec(
        kind="epilogue",
        ids=tuple(done.ids[at] for at in order) if done else (),
        params=tuple(done.params[at] for at in order) if done else (),
        inner=tuple(done.policy(at) for at in order) if done else (),
        plan=parts.get("on_failure", b""),
        last=parts.get("finally", b""),
    )


def _with_epilogue(plan: Plan, body: StructuredSpec) -> Plan:
    """Add the last node, which no edge leads to."""
    pred = (*plan.pred, ())
    return replace(
        plan,
        ids=(*plan.ids, EPILOGUE),
        params=(*plan.params, _NOTHING),
        policies=(*plan.policies, Policy(uses=EPILOGUE, body=body)),
        policy_of=(*plan.policy_of, len(plan.policies)),
        pred=pred,
        succ=successors(pred),
        levels=layers(pred),
    )


def _memory(config: MemoryConfig | None) -> dict[str, Any]:
    """Compile the memory settings; two names of one kind become one."""
    if config is None:
        return {}
    said = config.model_dump(exclude_none=True)
    return {**said, "type": said["type"].removesuffix("_buffer")}


def _numbers(ids: Sequence[str], number: Mapping[str, int]) -> tuple[int, ...]:
    """Turn ids into their numbers, rising."""
    return tuple(sorted(map(number.__getitem__, ids))) if ids else ()


def _intern(
    nodes: Iterable[tuple[str, NodeDefinition]], flow: CheckedFlow, sources: Plan | None
) -> tuple[tuple[Policy, ...], tuple[int, ...]]:
    """Give each distinct policy one number, in order of first use."""
    known: dict[tuple[object, ...], int] = {}
    policies: list[Policy] = []
    policy_of: list[int] = []
    config = flow.definition.config
    defaults, default_retry = config.defaults, config.default_retry
    for id, node in nodes:
        said = node.model_fields_set
        # The branches of a parallel node have the defaults, and it has what it says itself.
        told = node.uses == "parallel"
        retry = node.retry if told or "retry" in said else default_retry
        timeout = node.timeout if told or "timeout" in said else defaults.timeout
        queue = node.queue if "queue" in said else defaults.queue
        priority = node.priority if "priority" in said else defaults.priority
        tags = node.tags if "tags" in said else defaults.tags
        shared = (
            *(node.concurrency, node.rate_limit, node.circuit_breaker, node.cache),
            *(priority, tags, node.idempotency_key),
        )
        # As JSON: a value may hold lists, and 1, 1.0 and True are equal but not the same.
        instead = tuple(one.model_dump_json() for one in node.fallback)
        body = id if not said.isdisjoint(_STRUCTURED) or node.uses in STRUCTURED else None
        output = json.dumps(node.output, sort_keys=True) if node.output is not None else None
        own = _own(node) if id in flow.unknown else None
        marked = flow.marked.get(id, ())
        key = (
            node.uses,
            retry,
            timeout,
            queue,
            node.join,
            node.if_,
            *shared,
            instead,
            output,
            body,
            None if own is None else json.dumps([own, _tool(node)], sort_keys=True),
            marked,
        )
        at = known.setdefault(key, len(policies))
        policy_of.append(at)
        if at == len(policies):
            # Where a Celery task goes, and how long it may take, is said to it (_params).
            elsewhere = node.uses.startswith(PREFIX)
            policy = Policy(
                uses=node.uses,
                retry=retry,
                timeout=None if elsewhere else timeout,
                queue=None if elsewhere else queue,
                join=node.join,
                concurrency=node.concurrency,
                rate_limit=node.rate_limit,
                fallback=node.fallback,
                circuit_breaker=node.circuit_breaker,
                cache=node.cache,
                condition=node.if_,
                priority=priority,
                tags=tags,
                idempotency_key=node.idempotency_key,
                output=None if node.output is None else _plain_mapping(node.output),
                own=own,
                marked=marked,
            )
            if body is not None:
                policy = _structured(policy, node, id, flow)
                if sources is not None and id in sources.ids:
                    policy = _sourced(policy, node, config, sources.policy(sources.ids.index(id)))
            policies.append(policy)
    return tuple(policies), tuple(policy_of)


def _own(node: NodeDefinition) -> dict[str, Any]:
    """Return the definition's own settings for running a node."""
    said = node.model_fields_set.intersection(POLICIES)
    if not said:
        return {}
    return node.model_dump(mode="json", include=said, exclude_unset=True)


def _tool(node: NodeDefinition) -> Any:
    """The function that a ``tool`` names, whose decorator a worker will ask."""
    return str(node.with_.get("name")) if node.uses == "tool" else None


def _structured(policy: Policy, node: NodeDefinition, id: str, flow: CheckedFlow) -> Policy:
    """Put a node's modifiers around it, the innermost first: its type, a loop, a map."""
    inner = replace(policy, join="all_success", condition=None)
    if node.uses in WITH_FLOW:
        sub = flow.flows[id]
        if isinstance(sub, CheckedFlow):
            body = StructuredSpec(kind="flow", plan=compile_plan(sub).to_bytes())
        else:
            body = StructuredSpec(kind="flow", name=sub)
        inner = replace(inner, body=body)
    elif node.uses == "parallel":
        inner = replace(inner, body=_branches(flow.flows[id]))
    if node.until is not None or node.max_iterations is not None:
        loop = StructuredSpec(
            kind="loop",
            inner=(inner,),
            until=node.until,
            most=node.max_iterations,
            initial=(_plain(node.initial),) if "initial" in node.model_fields_set else (),
        )
        inner = _around(inner, loop)
    if node.for_each is not None:
        items = StructuredSpec(
            kind="map",
            inner=(inner,),
            over=None if isinstance(node.for_each, Mapping) else _plain(node.for_each),
            max_parallel=node.max_parallel,
            chunk_size=node.chunk_size,
            tolerated=node.tolerated_failures,
        )
        inner = _around(inner, items)
    return replace(inner, join=policy.join, condition=policy.condition)


def _sourced(policy: Policy, node: NodeDefinition, config: Config, source: Policy) -> Policy:
    """Have a map's items come from a function, whose policy its node then has."""
    if policy.body is None:
        raise TypeError(policy)
    body = replace(policy.body, source=True, params=(_params(node, config),))
    return replace(
        source,
        body=body,
        queue=source.queue or policy.queue,
        join=policy.join,
        condition=policy.condition,
        own=None if source.own is None else {**_NOT_OF_SOURCES, **source.own},
    )


def _around(policy: Policy, body: StructuredSpec) -> Policy:
    """A node that starts others: what is said of how it runs is said of them."""
    # Not under the name of what it starts, which takes another time than this does.
    kind = {"map": "for_each", "loop": "loop"}.get(body.kind)
    uses = f"{kind} {policy.uses}" if kind else policy.uses
    return Policy(uses=uses, queue=policy.queue, tags=policy.tags, body=body)


def _branches(sub: "CheckedFlow | str | None") -> StructuredSpec:
    """The branches of a parallel node, which were checked as a flow of their own."""
    if not isinstance(sub, CheckedFlow):
        raise TypeError(sub)
    plan = compile_plan(sub)
    return StructuredSpec(
        kind="parallel",
        ids=plan.ids,
        params=plan.params,
        inner=tuple(map(plan.policy, range(len(plan)))),
    )


def _when(flow: CheckedFlow) -> dict[tuple[str, str], str]:
    """Conditions of edges; what a ``condition`` node chooses is one of them."""
    when = dict(flow.when)
    for id, node in flow.definition.nodes.items():
        if node.uses not in CHOOSING:
            continue
        chosen = f"nodes[{json.dumps(id)}].output"
        every = node.with_.get("match") == "all"
        for target in choices(node.with_):
            name = json.dumps(target)
            text = f"{name} in {chosen}" if every else f"{chosen} == {name}"
            given = when.get((id, target))
            when[id, target] = text if given is None else f"({given}) && {text}"
    return when


def _params(node: NodeDefinition, config: Config) -> Mapping[str, Any]:
    """A node's arguments; the cases of a ``condition`` are expressions, however written."""
    if node.uses.startswith(PREFIX):
        timeout = node.timeout if "timeout" in node.model_fields_set else config.defaults.timeout
        return task_params(_plain_mapping(node.with_), queue=node.queue, timeout=timeout)
    beneath: Mapping[str, Any] = _NOTHING
    if node.uses == "llm" and config.llm is not None:
        beneath = config.llm.model_dump(exclude_none=True)
    elif node.uses == "tool":
        beneath = {"tools": list(config.tools)}
    if not node.with_ and not beneath:
        return _NOTHING
    given = {**beneath, **_plain_mapping(node.with_)}
    if node.uses in CHOOSING:
        cases = given.get("cases") or {}
        given["cases"] = {name: as_template(text) for name, text in cases.items()}
    return given


def _plain_mapping(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """Copy a mapping so that it reads back from the wire equal, and shares nothing."""
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    """Copy a JSON value; tuples become the lists that the wire makes of them anyway."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain_mapping(value) if isinstance(value, Mapping) else value


def _digest(plan: Plan, definition: FlowDefinition) -> str:
    """Hash the plan; name the node when a value of its cannot be packed."""
    try:
        return plan.digest()
    except (TypeError, ValueError, OverflowError) as problem:
        culprit = _unpackable(plan, definition)
        msg = (
            f"{culprit} holds a value that JSON cannot carry ({problem}); "
            "pass text, numbers, booleans, null, lists and mappings"
        )
        raise UnsupportedValueError(msg) from problem


def _unpackable(plan: Plan, definition: FlowDefinition) -> str:
    """Say which part of the plan cannot be packed."""
    for id, params in zip(plan.ids, plan.params, strict=True):
        probe = replace(plan, ids=(id,), params=(params,), inputs={}, pred=((),), policy_of=(0,))
        try:
            probe.digest()
        except (TypeError, ValueError, OverflowError):
            return f"'with' of node {id!r}"
    return f"flow {definition.id!r}"
