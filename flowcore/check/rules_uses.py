"""Check that every `uses` names something that can be called, each distinct name once.

In: a draft. Out: problems. Not here: how names are resolved (nodes.resolve).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.check.draft import Draft
from flowcore.graph.source import Path
from flowcore.nodes.resolve import PlannedNodeError, RefusedError, UnresolvedError, resolve

__all__ = ["check_uses"]


def check_uses(draft: Draft, allowed: frozenset[str], *, imports: bool) -> None:
    """Resolve what nodes use.

    Args:
        draft: Nodes whose shape is known.
        allowed: Module prefixes; see ``nodes.resolve``.
        imports: Whether modules may be imported; else only names of types are looked up.
    """
    places = _places(draft)
    for uses, paths in places.items():
        if ":" in uses and not imports:
            continue
        try:
            resolve(uses, allowed=allowed)
        except UnresolvedError as error:
            for path in paths:
                draft.problems.add(_code(error), error.reason, path, error.suggestion)


def _places(draft: Draft) -> dict[str, list[Path]]:
    """Where each name stands."""
    places: dict[str, list[Path]] = {}
    for raw in draft.nodes.values():
        uses = raw.fields.get("uses")
        if isinstance(uses, str) and uses:
            places.setdefault(uses, []).append((*raw.path, "uses"))
        for function, path in _fallbacks(raw.fields.get("fallback"), (*raw.path, "fallback")):
            places.setdefault(function, []).append(path)
    memory = draft.config.memory if draft.config else None
    for key in ("counter", "summariser", "embed"):
        if uses := getattr(memory, key, None):
            places.setdefault(uses, []).append(draft.memory_path(key))
    return places


def _fallbacks(given: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """The functions of a chain of fallbacks, or of one."""
    several = list(enumerate(given)) if isinstance(given, list | tuple) else [(None, given)]
    for at, one in several:
        uses = one.get("uses") if isinstance(one, Mapping) else None
        if isinstance(uses, str) and uses:
            yield uses, (*path, "uses") if at is None else (*path, at, "uses")


def _code(error: UnresolvedError) -> str:
    if isinstance(error, PlannedNodeError):
        return "FC218"
    return "FC221" if isinstance(error, RefusedError) else "FC210"
