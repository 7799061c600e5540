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
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.engine.upstream import Upstream
from flowcore.errors import BindingError
from flowcore.nodes.context import Context
from flowcore.plan.plan import Plan

__all__ = ["Signature", "bind", "signature_of"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a function takes, as far as binding cares."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    """Positional-only parameters, in order; they are in required or optional too."""
    context: tuple[str, ...] = ()
    open: bool = False
    """Takes any further keyword argument."""
    known: bool = True
    """False for callables that do not tell (some written in C)."""


@functools.lru_cache(maxsize=4096)
def signature_of(function: Callable[..., Any]) -> Signature:
    """Read a function's signature once."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Signature(open=True, known=False)
    named = [p for p in parameters if p.kind in _NAMED or p.kind is p.POSITIONAL_ONLY]
    context = tuple(p.name for p in named if _is_context(p))
    rest = [p for p in named if p.name not in context]
    return Signature(
        required=tuple(p.name for p in rest if p.default is p.empty),
        optional=tuple(p.name for p in rest if p.default is not p.empty),
        positional=tuple(p.name for p in named if p.kind is p.POSITIONAL_ONLY),
        context=context,
        open=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return parameter.name == "ctx"
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return parameter.name == "ctx" or text.split(".")[-1] == "Context"


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
    missing: list[str] = []
    for name in (*signature.required, *signature.optional):
        if name in arguments:
            continue
        found, value = _value(name, node, upstream)
        if found:
            arguments[name] = value
        elif name in signature.required:
            missing.append(name)
    if len(missing) == 1:
        arguments[missing.pop()] = upstream.value_of(node)
    if missing:
        raise BindingError(_unbound(plan, node, missing))
    positional = tuple(arguments.pop(name) for name in signature.positional if name in arguments)
    return positional, arguments


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
