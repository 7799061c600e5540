"""How a node's function gets its arguments.

In: a function's signature, the node's ``with``, the upstream. Out: keyword arguments.

A parameter takes the first of these that there is:
1. its value in ``with``;
2. the Context, when it is named ``ctx`` or annotated ``Context``; the upstream value whole, when
   it is named ``upstream``;
3. the output of an ancestor with that id, or the value it has under that very name;
4. that key in the fold of the ancestors' outputs (maps), the latest in canonical order first,
   then in the run's input;
5. the upstream value, when it is the only required parameter left without a value;
6. its default.

In a map or a loop the only required parameter takes the item or the state, though the run has an
input of its name.
"""

from collections.abc import Mapping
from typing import Any

from flowcore.engine.upstream import Upstream
from flowcore.errors import BindingError
from flowcore.nodes.context import Context
from flowcore.nodes.signature import Signature
from flowcore.plan.plan import Plan

__all__ = ["bind"]


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
    if len(missing) == 1:
        arguments[missing.pop()] = upstream.value_of(node)
    if missing:
        raise BindingError(_unbound(plan, node, missing))
    positional = tuple(arguments.pop(name) for name in signature.positional if name in arguments)
    return positional, arguments


def _find(
    signature: Signature, arguments: dict[str, Any], node: int, upstream: Upstream
) -> list[str]:
    """Add what is found upstream to the arguments; return what is required and was not found."""
    bare = arguments.keys() <= {*signature.context}
    missing: list[str] = []
    late: dict[str, Any] = {}
    for name in (*signature.required, *signature.optional):
        if name in arguments:
            continue
        found, value = _value(name, node, upstream)
        if found:
            arguments[name] = value
            bare = False
            continue
        found, value = upstream.lookup_input(name)
        if found:
            late[name] = value
        elif name in signature.required:
            missing.append(name)
    if upstream.is_scoped and bare and len(signature.required) == 1:
        late.pop(signature.required[0], None)
        missing = [*signature.required]
    arguments.update(late)
    return missing


def _value(name: str, node: int, upstream: Upstream) -> tuple[bool, Any]:
    """Find a parameter's value upstream."""
    if name == "upstream":
        return True, upstream.value_of(node)
    return upstream.lookup(node, name)


def _refuse_extra(signature: Signature, given: Mapping[str, Any], plan: Plan, node: int) -> None:
    takes = {*signature.required, *signature.optional, *signature.context}
    extra = [name for name in given if name not in takes]
    if extra and not signature.open:
        msg = (
            f"node {plan.ids[node]!r} gives {', '.join(map(repr, extra))}, which "
            f"{plan.policy(node).uses} does not take "
            f"(it takes {', '.join(sorted(takes)) or 'nothing'})"
        )
        raise BindingError(msg)


def _unbound(plan: Plan, node: int, missing: list[str]) -> str:
    before = ", ".join(plan.ids[source] for source in plan.pred[node][:5]) or "the run's input"
    return (
        f"{plan.policy(node).uses} needs {', '.join(map(repr, missing))}, and neither 'with' nor "
        f"{before} gives a value by that name; add e.g. with: {{{missing[0]}: ${{{{ … }}}}}}"
    )
