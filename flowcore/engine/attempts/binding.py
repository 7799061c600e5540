"""Binding of arguments to the parameters of a node's function.

In: a function's signature, the node's ``with``, the upstream. Out: keyword arguments.

A parameter takes the first of these that there is:
1. its value in ``with``;
2. the Context, when it is named ``ctx`` or annotated ``Context``; the upstream value whole, when
   it is named ``upstream``;
3. the output of an ancestor with that id, or the value it has under that very name;
4. that key in the fold of the ancestors' outputs (maps), the latest in canonical order first,
   then in the run's input;
5. the upstream value, when no other parameter is required that ``with`` does not give;
6. its default.

In a map or a loop a sole required parameter takes the item or the state, though the run has an
input of its name, unless another parameter is a key of that item or state: then all are named.

A parameter that is required, finds nothing and is not the only one is a BindingError: it is never
given a whole mapping because a key of it is missing.
"""

from collections.abc import Mapping
from typing import Any

from flowcore.engine.attempts.upstream import Upstream
from flowcore.errors import BindingError
from flowcore.nodes.context import Context
from flowcore.nodes.signature import Signature
from flowcore.plan.plan import Plan

__all__ = ["bind"]

#: Names that a message lists.
_TOLD = 5


def bind(
    signature: Signature,
    given: Mapping[str, Any],
    *,
    plan: Plan,
    node: int,
    upstream: Upstream,
    context: Context,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments of one call.

    Raises:
        BindingError: ``with`` names something the function does not take, or a required
            parameter has no value.
    """
    if not signature.known:
        return ((), dict(given)) if given else ((upstream.value_of(node),), {})
    _refuse_extra(signature, given, plan, node)
    arguments = {**given, **dict.fromkeys(signature.context, context)}
    missing = _find(signature, arguments, node, upstream)
    wanted = [name for name in signature.required if name not in given]
    if missing and missing == wanted and len(missing) == 1:
        arguments[missing.pop()] = upstream.value_of(node)
    if missing:
        raise BindingError(_unbound(plan, node, missing, upstream))
    return _positional(signature, arguments), arguments


def _positional(signature: Signature, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Take out what can be given by place only; a gap before one of them is its default."""
    last = max(
        (at for at, name in enumerate(signature.positional) if name in arguments), default=-1
    )
    defaults = dict(signature.defaults)
    return tuple(
        arguments.pop(name) if name in arguments else defaults[name]
        for name in signature.positional[: last + 1]
    )


def _find(
    signature: Signature, arguments: dict[str, Any], node: int, upstream: Upstream
) -> list[str]:
    """Add what is found upstream to the arguments; return what is required and was not found."""
    wanted = [name for name in signature.required if name not in arguments]
    missing: list[str] = []
    late: dict[str, Any] = {}
    by_name = False
    for name in (*signature.required, *signature.optional):
        if name in arguments:
            continue
        found, value = _value(name, node, upstream)
        if found:
            arguments[name] = value
            by_name = by_name or not upstream.is_own(name)
            continue
        found, value = upstream.lookup_input(name)
        if found:
            late[name] = value
        elif name in signature.required:
            missing.append(name)
    if upstream.is_scoped and not by_name and len(wanted) == 1 and wanted[0] in late:
        del late[wanted[0]]
        missing = wanted
    arguments.update(late)
    return missing


def _value(name: str, node: int, upstream: Upstream) -> tuple[bool, Any]:
    """Find a parameter's value upstream."""
    if name == "upstream":
        return True, upstream.value_of(node)
    return upstream.lookup(node, name)


def _refuse_extra(signature: Signature, given: Mapping[str, Any], plan: Plan, node: int) -> None:
    uses = plan.policy(node).uses
    for name in signature.context:
        if name in given:
            msg = f"node {plan.ids[node]!r} gives {name!r}, which is the Context of {uses}"
            raise BindingError(f"{msg}: it is given by itself")
    takes = {*signature.required, *signature.optional}
    extra = [name for name in given if name not in takes]
    if extra and not signature.open:
        msg = (
            f"node {plan.ids[node]!r} gives {', '.join(map(repr, extra))}, which "
            f"{uses} does not take "
            f"(it takes {', '.join(sorted(takes)) or 'nothing'})"
        )
        raise BindingError(msg)


def _unbound(plan: Plan, node: int, missing: list[str], upstream: Upstream) -> str:
    """Name what has no value, and where it was looked for."""
    before = [plan.ids[source] for source in plan.pred[node]]
    places = ["'with'", *before[:_TOLD], *(["others"] if len(before) > _TOLD else [])]
    if upstream.is_scoped:
        places.append("the item" if plan.scope == "map" else "the state")
    inputs = ", ".join(map(str, [*upstream.inputs][:_TOLD]))
    places.append(f"the run's input ({inputs})" if inputs else "the run's input")
    return (
        f"{plan.policy(node).uses} needs {', '.join(map(repr, missing))}, and neither "
        f"{', '.join(places[:-1])} nor {places[-1]} gives a value by that name; "
        f"add e.g. with: {{{missing[0]}: ${{{{ … }}}}}}"
    )
