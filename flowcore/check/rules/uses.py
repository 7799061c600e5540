"""Check that every `uses` names something that can be called, each distinct name once.

In: a draft. Out: problems. Not here: how names are resolved (nodes.resolve).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.check.naming import Naming
from flowcore.graph.document import Path
from flowcore.nodes.resolve import PlannedNodeError, RefusedError, UnresolvedError
from flowcore.nodes.types.builtin import BUILTIN
from flowcore.nodes.types.celery_task import PREFIX

__all__ = ["check_queues", "check_uses"]


def check_uses(draft: Draft, naming: Naming) -> None:
    """Judge what nodes use.

    Args:
        draft: Nodes whose shape is known.
        naming: How names are judged.
    """
    _check_tools(draft)
    for uses, paths in _places(draft).items():
        try:
            naming.judge(uses)
        except UnresolvedError as error:
            for path in paths:
                draft.problems.add(_code(error), error.reason, path, error.suggestion)


def check_queues(draft: Draft, naming: Naming) -> None:
    """Note queues that no worker serves, if it is known which ones are served.

    Args:
        draft: Nodes whose shape is known.
        naming: What is known of workers.
    """
    if naming.queues is None:
        return
    places = [
        (raw.model.queue, (*raw.path, "queue"))
        for raw in draft.nodes.values()
        if raw.model and not raw.model.uses.startswith(PREFIX)
    ]
    if draft.config is not None:
        places.append((draft.config.defaults.queue, draft.config_path("defaults", "queue")))
    for queue, path in places:
        if queue is not None and queue not in naming.queues:
            hint = draft.problems.near(queue, naming.queues) or "start one with --queues"
            draft.problems.add("FC230", f"no live worker serves {quote(queue)}", path, hint)


def _places(draft: Draft) -> dict[str, list[Path]]:
    """Return the places of each name."""
    places: dict[str, list[Path]] = {}
    for raw in draft.nodes.values():
        uses = raw.fields.get("uses")
        if isinstance(uses, str) and uses:
            places.setdefault(uses, []).append((*raw.path, "uses"))
        if "fallback" not in raw.fields:
            continue
        for function, path in _fallbacks(raw.fields.get("fallback"), (*raw.path, "fallback")):
            places.setdefault(function, []).append(path)
    for uses, path in _tools(draft):
        places.setdefault(uses, []).append(path)
    memory = draft.config.memory if draft.config else None
    for key in ("counter", "summariser", "embed"):
        if uses := getattr(memory, key, None):
            places.setdefault(uses, []).append(draft.memory_path(key))
    return places


def _tools(draft: Draft) -> Iterator[tuple[str, Path]]:
    """The functions that nodes may choose from; a name alone is another backend's."""
    is_chosen = _has_tool_node(draft)
    for at, uses in enumerate(draft.config.tools if draft.config else ()):
        if ":" in uses or (is_chosen and uses not in BUILTIN):
            yield uses, draft.config_path("tools", at)


def _has_tool_node(draft: Draft) -> bool:
    return any(raw.fields.get("uses") == "tool" for raw in draft.nodes.values())


def _check_tools(draft: Draft) -> None:
    """A tool is called with its arguments alone, which types and tasks are not."""
    if not _has_tool_node(draft):
        return
    for at, uses in enumerate(draft.config.tools if draft.config else ()):
        if uses in BUILTIN or uses.startswith(PREFIX):
            kind = "node type" if uses in BUILTIN else "task"
            what = f"{quote(uses)} is a {kind}, and not a tool"
            hint = "a tool is a function: module:function"
            draft.problems.add("FC210", what, draft.config_path("tools", at), hint)


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
