"""An input that nothing would read, of a run that is run again from a node on.

In: a plan, where to begin, the new input. Out: an error, where it can be told that no node that
runs again reads it. Not here: binding itself (engine.attempts.binding).

``rerun --from b -i n=5`` keeps what came before ``b`` as it was: if only that has read ``n``, the
new run is the old one, and whoever typed it believes otherwise. It is refused only where it is
certain; what a function takes is known where its module can be imported.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from flowcore.errors import FlowcoreError, UsageError
from flowcore.nodes.resolve import resolve
from flowcore.nodes.signature import signature_of
from flowcore.plan.plan import Plan

__all__ = ["refuse_unread"]

#: The word that an expression reads the input by.
_INPUTS = "inputs"
#: Names of nodes that a message lists.
_TOLD = 5


def refuse_unread(plan: Plan, begin: str, given: Any, settled: Collection[str]) -> None:
    """Raise when no node that runs again can read a new input.

    Args:
        plan: The run's plan.
        begin: The node to begin with.
        given: The new input; None: none was given.
        settled: Nodes that have succeeded: those that are not after ``begin`` are taken over.

    Raises:
        UsageError: It would change nothing.
    """
    if given is None or begin not in plan.ids:
        return
    again = _again(plan, plan.ids.index(begin), settled)
    names = frozenset(given) if isinstance(given, Mapping) else None
    if plan.inputs and not (names or frozenset()) <= plan.inputs.keys():
        return  # what is wrong with it is said where it is checked
    if any(_may_read(plan, node, names) for node in again):
        return
    shown = ", ".join(plan.ids[node] for node in sorted(again)[:_TOLD])
    what = f"input {', '.join(map(repr, sorted(map(str, names))))}" if names else "input"
    msg = (
        f"{what} would change nothing: of the nodes that run again ({shown}) none reads it; "
        "begin at one that does, or leave --from out to run everything again"
    )
    raise UsageError(msg)


def _again(plan: Plan, begin: int, settled: Collection[str]) -> set[int]:
    """The nodes that run: where it begins, what is after it, and what has not succeeded."""
    again = {begin}
    for node in range(len(plan)):
        if plan.ids[node] not in settled or not again.isdisjoint(plan.pred[node]):
            again.add(node)
    return again


def _may_read(plan: Plan, node: int, names: frozenset[str] | None) -> bool:
    """Return whether a node may read the input, or the parts of it that are named."""
    policy = plan.policy(node)
    if not plan.pred[node] or policy.body is not None:
        return True  # the input flows into it; its items may read it by name
    edges = [plan.when[edge] for edge in plan.when if node in edge]
    if any(_INPUTS in text for text in _texts([plan.params[node], policy, edges])):
        return True
    if ":" not in policy.uses or policy.uses.startswith("celery:"):
        return False  # a built-in node takes what its ``with`` says, and what flows in
    return _may_bind(policy.uses, plan.params[node], names)


def _may_bind(uses: str, given: Mapping[str, Any], names: frozenset[str] | None) -> bool:
    """Return whether a function takes something of the input by the name of a parameter."""
    try:
        signature = signature_of(resolve(uses).function)
    except FlowcoreError:
        return True  # not here: nothing is known of it
    if not signature.known or signature.context:
        return True  # ctx.inputs is the input
    free = {*signature.required, *signature.optional}.difference(given)
    return bool(free if names is None else free & names)


def _texts(value: Any) -> Iterator[str]:
    """All texts in plain data and models."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, BaseModel):
        yield from _texts(value.model_dump())
    elif is_dataclass(value):
        yield from _texts([getattr(value, each.name) for each in fields(value)])
