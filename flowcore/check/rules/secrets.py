"""Check references to secrets: that each is named, and stands where nothing is recorded.

In: a draft. Out: problems. Not here: values, which only workers have (engine.attempts.secrets).

A secret may be read by what a node gives its function, its ``with``, and by ``config.llm``. The
values of all other texts are recorded, sent or compared: conditions, items, keys of limits and
caches, the input of a sub-flow, the arguments of a Celery task.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.expr.cel import ExpressionSyntaxError, compile_expression
from flowcore.expr.secrets import SECRETS, SecretNameError, secret_names
from flowcore.expr.template import OPEN, compile_text
from flowcore.graph.document import Path
from flowcore.nodes.types.celery_task import PREFIX
from flowcore.nodes.types.structured import WITH_FLOW

__all__ = ["check_secrets"]

#: Fields that are expressions as they stand.
_CONDITIONS = frozenset({"if", "until", "when"})

#: Fields that are definitions of their own, and checked as such.
_NESTED = frozenset({"flow", "branches", "undo"})

#: Parts that are checked otherwise: as nodes, as edges, key by key.
_PARTS = frozenset({"nodes", "edges", "on_failure", "finally", "config"})

_HINT = "read it in the 'with' of the node that needs it"

#: Types that keep what they are given, with the reason.
_RECORDED: Mapping[str, str] = {
    "wait": "what a node waits for is recorded",
    "signal": "what a node waits for is recorded",
    "approval": "what a node waits for is recorded",
    "condition": "what a condition compares shows in what it chooses",
    "memory": "what is remembered is kept in clear",
    **dict.fromkeys(WITH_FLOW, "the input of a sub-flow is recorded"),
}


def check_secrets(draft: Draft) -> None:
    """Note secrets that are read by no name, or where their values would be kept."""
    for raw in draft.nodes.values():
        for field, value in raw.fields.items():
            if isinstance(value, str) and SECRETS not in value:
                continue
            path = (*raw.path, field)
            if field in _NESTED or (field == "for_each" and isinstance(value, Mapping)):
                continue
            why = _recorded(raw.fields.get("uses")) if field == "with" else _outside(field)
            _check(draft, value, path, why, bare=field in _CONDITIONS)
    for raw_edge in draft.edges:
        _check(draft, raw_edge.edge.when, (*raw_edge.path, "when"), _outside("when"), bare=True)
    for path, value in _head(draft.document.tree):
        key = str(path[-1])
        _check(draft, value, path, None if key == "llm" else _outside(key))


def _head(tree: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the parts of a definition other than its nodes and edges."""
    given = tree if isinstance(tree, Mapping) else {}
    config = given.get("config")
    for key, value in given.items():
        if key not in _PARTS:
            yield (key,), value
    for key, value in config.items() if isinstance(config, Mapping) else ():
        yield ("config", key), value


def _outside(field: str) -> str:
    return f"the value of {quote(field)} is recorded"


def _recorded(uses: object) -> str | None:
    """Say why a node of this type cannot be given a secret; None: it can."""
    if isinstance(uses, str) and uses.startswith(PREFIX):
        return "the arguments of a Celery task are sent in a message"
    return _RECORDED.get(uses) if isinstance(uses, str) else None


def _check(draft: Draft, value: Any, path: Path, why: str | None, *, bare: bool = False) -> None:
    """Check the texts of one field.

    Args:
        draft: The definition.
        value: The field's value.
        path: Its place.
        why: The reason that no secret can stand there; None: it can.
        bare: The text is an expression, without ``${{ }}``.
    """
    for place, text in _texts(value, path):
        for expression, start in _expressions(text, bare=bare):
            _check_expression(draft, expression, place, start, why)


def _check_expression(draft: Draft, text: str, path: Path, start: int, why: str | None) -> None:
    try:
        names = list(secret_names(text))
    except SecretNameError as error:
        at = start + error.offset
        draft.problems.add("FC260", error.reason, path, error.hint, offset=at)
        return
    for name, offset in names if why is not None else ():
        what = f"secret {quote(name)} cannot be read here: {why}"
        draft.problems.add("FC261", what, path, _HINT, offset=start + offset)


def _expressions(text: str, *, bare: bool) -> Iterator[tuple[str, int]]:
    """The expressions of a text that read secrets, each with its place in it."""
    if SECRETS not in text:
        return
    try:
        if bare and OPEN not in text:
            found = [(0, compile_expression(text))]
        else:
            found = list(compile_text(text).expressions)
    except ExpressionSyntaxError:
        return  # that is told already
    for start, expression in found:
        if SECRETS in expression.names:
            yield expression.text, start


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
