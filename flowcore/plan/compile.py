"""COMPILE: a checked flow becomes a plan.

In: CheckedFlow. Out: Plan. Not here: rules (check), what happens next (engine).

Pure and linear in nodes + edges. The hash is the plan's own: over the merged form of needs and
edges, so that two spellings of one flow share one stored plan.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flowcore.check.check import CheckedFlow
from flowcore.errors import UnsupportedValueError
from flowcore.graph.flow import Config, FlowDefinition, MemoryConfig, NodeDefinition
from flowcore.plan.plan import Plan, Policy, layers, successors

__all__ = ["compile_plan"]

#: Looked up first: asking whether 100,000 values are Mappings is a tenth of the whole compile.
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NOTHING: Mapping[str, Any] = {}


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
    policies, policy_of = _intern(nodes, definition.config)
    pred = tuple(_numbers(flow.needs.get(id, ()), number) for id in flow.order)
    when = sorted(((number[a], number[b]), text) for (a, b), text in flow.when.items())
    plan = Plan(
        hash="",
        flow=definition.id,
        version=definition.version,
        ids=tuple(flow.order),
        params=tuple(_plain_mapping(node.with_) if node.with_ else _NOTHING for node in nodes),
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
    )
    return replace(plan, hash=_digest(plan, definition))


def _memory(config: MemoryConfig | None) -> dict[str, Any]:
    """What there is to say of memory; two names of one kind become one."""
    if config is None:
        return {}
    said = config.model_dump(exclude_none=True)
    return {**said, "type": said["type"].removesuffix("_buffer")}


def _numbers(ids: Sequence[str], number: Mapping[str, int]) -> tuple[int, ...]:
    """Turn ids into their numbers, rising."""
    return tuple(sorted(map(number.__getitem__, ids))) if ids else ()


def _intern(
    nodes: Iterable[NodeDefinition], config: Config
) -> tuple[tuple[Policy, ...], tuple[int, ...]]:
    """Give each distinct policy one number, in order of first use."""
    known: dict[tuple[object, ...], int] = {}
    policies: list[Policy] = []
    policy_of: list[int] = []
    defaults, default_retry = config.defaults, config.default_retry
    for node in nodes:
        said = node.model_fields_set
        retry = node.retry if "retry" in said else default_retry
        timeout = node.timeout if "timeout" in said else defaults.timeout
        queue = node.queue if "queue" in said else defaults.queue
        shared = (node.concurrency, node.rate_limit, node.circuit_breaker, node.cache)
        # As JSON: a value may hold lists, and 1, 1.0 and True are equal but not the same.
        instead = tuple(one.model_dump_json() for one in node.fallback)
        key = (node.uses, retry, timeout, queue, node.join, node.if_, *shared, instead)
        at = known.setdefault(key, len(policies))
        policy_of.append(at)
        if at == len(policies):
            policies.append(
                Policy(
                    uses=node.uses,
                    retry=retry,
                    timeout=timeout,
                    queue=queue,
                    join=node.join,
                    concurrency=node.concurrency,
                    rate_limit=node.rate_limit,
                    fallback=node.fallback,
                    circuit_breaker=node.circuit_breaker,
                    cache=node.cache,
                    condition=node.if_,
                )
            )
    return tuple(policies), tuple(policy_of)


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
