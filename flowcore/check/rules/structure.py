"""Check nodes that start others: maps, loops, branches, sub-flows, and the choice between nodes.

In: a draft and its graph. Out: problems, and the flows inside this one, checked. Not here: what
these nodes do (engine), what their expressions read (expressions).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Protocol, TypeVar

from flowcore.check.diagnostic import Diagnostic, describe, quote
from flowcore.check.draft import Draft, RawNode
from flowcore.check.rules.graph import Graph
from flowcore.errors import DefinitionError
from flowcore.expr.template import OPEN
from flowcore.graph.decorators import POLICIES
from flowcore.graph.diagnostic import InvalidFlowError
from flowcore.graph.document import Document, Path
from flowcore.graph.flow import MOST_ITEMS
from flowcore.graph.load import load_file
from flowcore.nodes.types.structured import WITH_FLOW

__all__ = [
    "CHOOSING",
    "SOURCE_KEYS",
    "Nested",
    "as_template",
    "check_inside",
    "check_sources",
    "check_structure",
    "choices",
    "scope_names",
]

_Checked_co = TypeVar("_Checked_co", covariant=True)


class Nested(Protocol[_Checked_co]):
    """Checks a definition inside this one."""

    def __call__(
        self, document: Document, *, branches: bool = False, keys: Collection[str] = POLICIES
    ) -> _Checked_co:
        """Check it; with ``branches``, its nodes' expressions are those of the flow around.

        Decorators of its functions may say ``keys``.
        """
        ...


#: Types that choose between the nodes after them.
CHOOSING = frozenset({"condition", "switch"})

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}(?:@[A-Za-z0-9_.\-]{1,100})?")
_FILE = re.compile(r".*(?:[/\\]|\.(?:ya?ml|json)$)")

#: Keys that mean something only beside another one.
_BESIDE = (
    ("for_each", ("max_parallel", "chunk_size", "tolerated_failures")),
    ("until' or 'max_iterations", ("initial",)),
)
#: Keys of one type, or of some.
_OF_TYPES: Mapping[str, frozenset[str]] = {
    "flow": WITH_FLOW,
    "branches": frozenset({"parallel"}),
}
_NEEDED = {"for_each": "for_each", "map": "for_each", "loop": "until' or 'max_iterations"}
#: Keys that a branch cannot have: why not, and what to do instead.
_NOT_OF_BRANCHES: Mapping[str, tuple[str, str]] = {
    "needs": ("runs at once with the others and cannot need anything", "use uses: workflow"),
    "undo": ("is not a node of the flow that could be undone", "write it on the node around it"),
}
#: Keys of a function that gives a map its items.
SOURCE_KEYS = frozenset({"uses", "with", "retry", "timeout", "queue"})


_OF_NONE = frozenset[str]()
_OF_MAPS = frozenset({"item", "index"})
_OF_LOOPS = frozenset({"state", "iteration"})


def scope_names(fields: Mapping[str, Any]) -> frozenset[str]:
    """The names that expressions of a node can read, beside nodes and inputs."""
    names = _OF_MAPS if fields.get("for_each") is not None else _OF_NONE
    return names | _OF_LOOPS if is_loop(fields) else names


def is_loop(fields: Mapping[str, Any]) -> bool:
    """Return whether a node is a loop; null means it is not."""
    return fields.get("until") is not None or fields.get("max_iterations") is not None


def as_template(text: Any) -> Any:
    """Write a case as a template, if it is written as an expression."""
    return f"${{{{ {text} }}}}" if isinstance(text, str) and OPEN not in text else text


def choices(given: Mapping[str, Any]) -> Iterator[str]:
    """The nodes that a ``condition`` chooses from, in its order."""
    cases, default = given.get("cases"), given.get("default")
    names = list(cases) if isinstance(cases, Mapping) else []
    yield from names
    if isinstance(default, str) and default not in names:
        yield default


def check_structure(
    draft: Draft, graph: Graph, nested: Nested[_Checked_co]
) -> dict[str, _Checked_co | str]:
    """Note what does not fit together; return the flows inside this one by their node.

    Args:
        draft: Nodes whose shape is known.
        graph: How they hang together.
        nested: Checks a definition inside this one.
    """
    succ = graph.succ()
    flows: dict[str, _Checked_co | str] = {}
    for id, raw in draft.nodes.items():
        _check_keys(draft, raw)
        uses = _uses(raw)
        if uses in WITH_FLOW:
            found = _sub_flow(draft, raw, nested)
            if found is not None:
                flows[id] = found
        elif uses == "parallel":
            checked = _branches(draft, raw, nested)
            if checked is not None:
                flows[id] = checked
        elif uses in CHOOSING:
            after = [graph.ids[target] for target in succ[graph.number[id]]]
            _check_choice(draft, raw, after)
    return flows


def _uses(raw: RawNode) -> str:
    uses = raw.fields.get("uses")
    return uses if isinstance(uses, str) else ""


def _check_keys(draft: Draft, raw: RawNode) -> None:
    fields, uses = raw.fields, _uses(raw)
    loops = is_loop(fields)
    there = {"for_each": fields.get("for_each") is not None, "until' or 'max_iterations": loops}
    for key, others in _BESIDE:
        for other in others:
            if other in fields and not there[key]:
                what = f"{quote(other)} means nothing without '{key}'"
                draft.problems.add("FC223", what, (*raw.path, other), at_key=True)
    for key, types in _OF_TYPES.items():
        if key in fields and uses not in types:
            what = f"{quote(key)} means nothing beside uses: {uses}"
            hint = f"write uses: {'workflow' if key == 'flow' else min(types)}"
            draft.problems.add("FC223", what, (*raw.path, key), hint, at_key=True)
    needed = _NEEDED.get(uses)
    if needed is not None and not there[needed]:
        what = f"uses: {uses} needs '{needed}'"
        draft.problems.add("FC204", what, (*raw.path, needed.partition("'")[0]))
    _check_items(draft, raw)


def check_sources(draft: Draft, nested: Nested[_Checked_co]) -> _Checked_co | None:
    """Note what is wrong with functions that give a map its items; return them as a flow.

    Its nodes have the names of theirs.
    """
    tree: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for key, raw in draft.nodes.items():
        given, place = raw.fields.get("for_each"), (*raw.path, "for_each")
        if not isinstance(given, Mapping):
            continue
        for extra in sorted(given.keys() - SOURCE_KEYS):
            what = f"{quote(extra)} means nothing in what gives a 'for_each' its items"
            hint = draft.problems.near(extra, sorted(SOURCE_KEYS))
            draft.problems.add("FC223", what, (*place, extra), hint, at_key=True)
        _check_source(draft, raw, given.get("uses"), (*place, "uses"))
        places[key] = place
        tree[key] = {name: value for name, value in given.items() if name in SOURCE_KEYS}
    return check_inside(draft, tree, places, nested, keys=SOURCE_KEYS) if tree else None


def _check_source(draft: Draft, raw: RawNode, uses: Any, path: Path) -> None:
    if isinstance(uses, str) and (":" not in uses or uses.startswith("celery:")):
        what = f"{quote(uses)} gives no items one by one"
        draft.problems.add("FC223", what, path, "write module:callable, such as a generator's")
    fields = raw.fields
    if fields.get("max_parallel") is not None and fields.get("concurrency") is not None:
        what = "'max_parallel' is a 'concurrency' where a function gives the items: keep one"
        draft.problems.add("FC223", what, (*raw.path, "max_parallel"), at_key=True)


def _check_items(draft: Draft, raw: RawNode) -> None:
    items, path = raw.fields.get("for_each"), (*raw.path, "for_each")
    wanted = "expected a list, one ${{ expression }} that gives one, or a function's 'uses'"
    if isinstance(items, str) and OPEN not in items:
        draft.problems.add("FC205", wanted, path, f"write ${{{{ {items} }}}}")
    elif items is not None and not isinstance(items, str | list | Mapping):
        draft.problems.add("FC205", f"{wanted}, got {describe(items)}", path)
    elif isinstance(items, list) and len(items) > MOST_ITEMS:
        what = f"{len(items):,} items; at most {MOST_ITEMS:,} can be one map"
        draft.problems.add("FC215", what, path, "give it lists of items")


def _sub_flow(draft: Draft, raw: RawNode, nested: Nested[_Checked_co]) -> _Checked_co | str | None:
    given, path = raw.fields.get("flow"), (*raw.path, "flow")
    if given is None:
        draft.problems.add("FC204", "'flow' is missing: which flow is to run", path)
        return None
    if isinstance(given, Mapping):
        tree = {"id": draft.head.get("id", "workflow"), **given}
        return _inside(draft, tree, path, nested)
    if not isinstance(given, str):
        return None  # its shape is told already
    if not _FILE.fullmatch(given):
        if _NAME.fullmatch(given):
            return given
        hint = "write the name of a deployed flow, a file, or a definition"
        draft.problems.add("FC214", f"{quote(given)} is not a flow's name", path, hint)
        return None
    return _file(draft, given, path, nested)


def _file(draft: Draft, given: str, path: Path, nested: Nested[_Checked_co]) -> _Checked_co | None:
    if draft.is_foreign:
        what = f"{quote(given)} is a file, which a definition from elsewhere may not read"
        draft.problems.add(
            "FC224", what, path, "write the definition, or the name of a deployed flow"
        )
        return None
    source = draft.document.source
    place = FilePath(source.name).parent / given if source else FilePath(given)
    try:
        return nested(load_file(place, limits=draft.document.limits))
    except InvalidFlowError as error:
        first = error.diagnostics[0].message
        more = f", and {len(error.diagnostics) - 1} more" if len(error.diagnostics) > 1 else ""
        what = f"the flow in {quote(given)} has problems: {first}{more}"
        draft.problems.add("FC224", what, path, f"flowcore validate {given}")
    except RecursionError:
        what = f"{quote(given)} runs itself as a sub-flow"
        draft.problems.add("FC224", what, path, "a sub-flow has to end somewhere")
    except DefinitionError as error:
        draft.problems.add("FC224", f"cannot read {quote(given)}: {error}", path)
    return None


def _branches(draft: Draft, raw: RawNode, nested: Nested[_Checked_co]) -> _Checked_co | None:
    given, path = raw.fields.get("branches"), (*raw.path, "branches")
    if given is None:
        draft.problems.add("FC204", "'branches' is missing: what is to run at once", path)
        return None
    if not isinstance(given, Mapping):
        return None
    if not given:
        draft.problems.add("FC217", "a parallel node needs at least one branch", path)
        return None
    for name, fields in given.items():
        for key, (why, hint) in _NOT_OF_BRANCHES.items():
            if isinstance(fields, Mapping) and key in fields:
                what = f"branch {quote(name)} {why}"
                draft.problems.add("FC223", what, (*path, name, key), hint, at_key=True)
    alone = {
        name: {key: value for key, value in fields.items() if key not in _NOT_OF_BRANCHES}
        if isinstance(fields, Mapping)
        else fields
        for name, fields in given.items()
    }
    return check_inside(draft, alone, {name: (*path, name) for name in alone}, nested)


def check_inside(
    draft: Draft,
    nodes: Mapping[str, Any],
    places: Mapping[str, Path],
    nested: Nested[_Checked_co],
    *,
    keys: Collection[str] = POLICIES,
) -> _Checked_co | None:
    """Check nodes that stand inside this flow, with its defaults, as a flow of their own.

    Args:
        draft: This flow.
        nodes: The nodes, as written.
        places: Where each of them stands.
        nested: Checks a definition inside this one.
        keys: What the decorators of their functions may say of them.
    """
    tree: dict[str, Any] = {"id": draft.head.get("id", "workflow"), "nodes": nodes}
    if draft.config is not None:
        tree["config"] = draft.config.model_dump(
            mode="json", by_alias=True, exclude_unset=True, include={"defaults", "execution"}
        )
    document = Document(tree=tree, name=draft.document.name, limits=draft.document.limits)
    try:
        return nested(document, branches=True, keys=keys)
    except InvalidFlowError as error:
        for found in error.diagnostics:
            inner = found.path[1:]
            place = places.get(str(inner[0]), ()) if inner else ()
            _repeat(draft, found, (*place, *inner[1:]))
        return None


def _repeat(draft: Draft, found: Diagnostic, path: Path) -> None:
    """Tell a problem of a flow inside this one where it stands in this one."""
    draft.problems.add(
        found.code,
        found.message,
        path,
        found.suggestion,
        at_key=found.at_key,
        offset=found.offset,
    )


def _inside(
    draft: Draft, tree: Mapping[str, Any], path: Path, nested: Nested[_Checked_co]
) -> _Checked_co | None:
    """Check a definition inside this one; its problems stand where they are in this one."""
    document = Document(tree=tree, name=draft.document.name, limits=draft.document.limits)
    try:
        return nested(document)
    except InvalidFlowError as error:
        for found in error.diagnostics:
            _repeat(draft, found, (*path, *found.path))
        return None


def _check_choice(draft: Draft, raw: RawNode, after: list[str]) -> None:
    given = raw.fields.get("with")
    given = given if isinstance(given, Mapping) else {}
    path = (*raw.path, "with")
    cases = given.get("cases")
    if not cases:
        what = "'cases' is missing: a condition for each node to choose from"
        draft.problems.add("FC204", what, (*path, "cases"), "write cases: {NODE: CONDITION}")
    if not isinstance(cases, Mapping) or not cases:
        return
    for name in choices(given):
        if name not in after:
            place = (*path, "cases", name) if name in cases else (*path, "default")
            what = f"node {quote(name)} does not run after this one"
            hint = draft.problems.near(name, after) or f"add needs: [{raw.path[-1]}] to it"
            draft.problems.add("FC225", what, place, hint, at_key=name in cases)
