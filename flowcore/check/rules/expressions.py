"""Check expressions: that they can be read, and that they read only what is upstream.

In: a draft and its graph. Out: problems. Not here: evaluating (expr).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft, RawNode
from flowcore.check.rules.graph import Graph
from flowcore.check.rules.inputs import check_read
from flowcore.check.rules.structure import CHOOSING, scope_names
from flowcore.check.rules.types import Wanted, check_types
from flowcore.check.undefined import Undefined
from flowcore.expr.cel import INPUTS, ExpressionSyntaxError, compile_expression
from flowcore.expr.secrets import SECRETS
from flowcore.expr.template import OPEN, Dashed, Reference, compile_text, references
from flowcore.graph.document import Path

__all__ = ["check_expressions"]

#: Fields of a node whose texts may hold expressions.
_WITH_TEXTS = (
    *("with", "concurrency", "rate_limit", "circuit_breaker", "cache"),
    *("for_each", "initial", "idempotency_key"),
)

_NOTHING: frozenset[str] = frozenset()

#: What names of a scope mean in it.
_MEANINGS: Mapping[str, str] = {
    "item": "an item of 'for_each'",
    "index": "the number of an item of 'for_each'",
    "state": "the state of the loop",
    "iteration": "the number of the iteration",
    "output": "what the node itself gave",
    "run": "what became of the run",
}

#: What there is not yet when a field is worked out.
_LATER: Mapping[str | int, frozenset[str]] = {
    "for_each": frozenset({"item", "index", "state", "iteration"}),
    "initial": frozenset({"state", "iteration"}),
}

#: What the end of a loop can read: ``item``, too, should the loop be that of an item.
_LAST = frozenset({INPUTS, "output", "state", "iteration", "item", "index"})

#: Nodes looked for in one pass over the graph, one bit each (half a kilobyte a node).
BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A node is read by name, somewhere."""

    name: str
    path: Path
    offset: int
    at: int
    """The node whose ancestors may be read."""
    reader: int
    """The node that has to wait."""
    itself: bool
    """``at`` itself may be read too: the condition of an edge reads its source."""
    dashed: Dashed | None = None
    """The word with hyphens that it stands in."""
    is_hidden: bool = False
    """The name means something of the scope here, and hides a node that could be read."""


def check_expressions(draft: Draft, graph: Graph) -> None:
    """Note expressions that cannot be read, or that read what is not defined or not upstream."""
    _check_thread(draft)
    distant: list[Reading] = []
    undefined = Undefined(draft)
    known = [*graph.number, INPUTS]
    for reading in chain(_in_nodes(draft, graph), _in_ifs(draft, graph), _in_edges(draft, graph)):
        if reading.name not in graph.number:
            undefined.note(reading, reading.path, known)
        elif not _is_near(graph, reading):
            distant.append(reading)
        elif reading.is_hidden:
            _note_hidden(draft, reading.name, reading.path, reading.offset)
    _check_closing(draft, graph)
    if graph.acyclic and distant:
        _check_distant(draft, graph, distant)


def _check_closing(draft: Draft, graph: Graph) -> None:
    """Check nodes that run at the end: they may read every node, for all have settled by then."""
    parts: list[tuple[Mapping[str, Any], Path, Collection[str]]] = [
        (raw.fields["undo"], (*raw.path, "undo"), ("output",))
        for raw in draft.nodes.values()
        if isinstance(raw.fields.get("undo"), dict)
    ]
    for part in ("on_failure", "finally"):
        nodes = draft.head.get(part)
        if isinstance(nodes, dict):
            own = tuple(map(str, nodes))
            parts += [
                (one, (part, key), own) for key, one in nodes.items() if isinstance(one, dict)
            ]
    for fields, path, names in parts:
        nodes = {*graph.number, *(names if path[0] != "nodes" else ())}
        scope = {INPUTS, "run", *(names if path[0] == "nodes" else ()), *scope_names(fields)}
        for field in _WITH_TEXTS:
            later = _LATER.get(field, _NOTHING)
            for place, text in _texts(fields.get(field), (*path, field)):
                _check_known(draft, text, place, (nodes, scope - later))


def _check_known(
    draft: Draft, text: str, path: Path, names: tuple[Collection[str], Collection[str]]
) -> None:
    """Note what is neither a node nor of the scope, and what could be both."""
    nodes, scope = names
    undefined = Undefined(draft)
    for ref in _references(draft, text, path):
        if ref.name in nodes and ref.name in scope and not ref.keyed and ref.name != INPUTS:
            _note_hidden(draft, ref.name, path, ref.offset)
        known = nodes if ref.keyed else {*nodes, *scope}
        if ref.name not in known:
            undefined.note(ref, path, known)


def _check_thread(draft: Draft) -> None:
    """A run has one thread, from its beginning: its name can depend on the input alone."""
    memory = draft.config.memory if draft.config else None
    if memory is None or memory.thread is None:
        return
    path = draft.memory_path("thread")
    for ref in _references(draft, memory.thread, path):
        if ref.name != INPUTS:
            what = f"a thread's name reads {quote(ref.name)}, and may read inputs only"
            draft.problems.add("FC213", what, path, "write inputs.…", offset=ref.offset)


def _is_near(graph: Graph, reading: Reading) -> bool:
    source = graph.number[reading.name]
    return source in graph.pred[reading.at] or (reading.itself and source == reading.at)


def _in_nodes(draft: Draft, graph: Graph) -> Iterator[Reading]:
    for key, raw in draft.nodes.items():
        number = graph.number[key]
        for path, text, own in _templates(raw):
            yield from _readings(graph, _references(draft, text, path), path, number, own)


def _readings(
    graph: Graph, refs: Iterable[Reference], path: Path, number: int, own: Collection[str]
) -> Iterator[Reading]:
    """The nodes that a text reads, and those that names of its scope hide from it."""
    for ref in refs:
        of_scope = ref.name in own and not ref.keyed
        if not of_scope or (ref.name != INPUTS and ref.name in graph.number):
            yield Reading(
                name=ref.name,
                path=path,
                offset=ref.offset,
                at=number,
                reader=number,
                itself=False,
                dashed=ref.dashed,
                is_hidden=of_scope,
            )


def _references(draft: Draft, text: str, path: Path) -> Sequence[Reference]:
    """The names that a text reads, ``inputs`` among them; none if it cannot be read.

    Secrets have rules of their own (rules_secrets).
    """
    try:
        found = compile_text(text)
    except ExpressionSyntaxError as error:
        _note(draft, error, path)
        return ()
    wanted: Wanted = "list" if path[-1] == "for_each" else None
    if wanted and (len(found.parts) > 1 or not found.expressions):
        hint = "write one ${{ expression }}, and nothing around it"
        draft.problems.add("FC228", "'for_each' needs a list, and this is a text", path, hint)
        wanted = None
    for start, expression in found.expressions:
        check_read(draft, expression, path, start=start)
        check_types(draft, expression, path, start=start, wanted=wanted)
    return [ref for ref in found.references if ref.name != SECRETS]


def _parts(
    fields: Mapping[str, Any], path: Path, around: frozenset[str] = _NOTHING
) -> Iterator[tuple[Mapping[str, Any], Path, frozenset[str]]]:
    """A node and its branches, each with the names of maps and loops around it."""
    yield fields, path, around
    branches = fields.get("branches")
    for name, branch in branches.items() if isinstance(branches, dict) else ():
        if isinstance(branch, dict):
            place = (*path, "branches", name)
            yield from _parts(branch, place, around | scope_names(fields))


def _templates(raw: RawNode) -> Iterator[tuple[Path, str, frozenset[str]]]:
    """The texts of a node and its branches, with names that are no nodes' where they stand."""
    for fields, path, around in _parts(raw.fields, raw.path):
        scope = scope_names(fields)
        for field in _WITH_TEXTS:
            if (value := fields.get(field)) is None:
                continue
            names = scope - _LATER.get(field, _NOTHING)
            for place, text in _texts(value, (*path, field)):
                yield place, text, names | around | {INPUTS}


def _cases(raw: RawNode) -> Iterator[tuple[Path, str]]:
    """The conditions of a node that chooses, as far as they are written like those of edges."""
    uses, given = raw.fields.get("uses"), raw.fields.get("with")
    if isinstance(uses, str) and uses in CHOOSING and isinstance(given, dict):
        cases = given.get("cases")
        for name, text in cases.items() if isinstance(cases, dict) else ():
            if isinstance(text, str) and OPEN not in text:
                yield (*raw.path, "with", "cases", name), text


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if OPEN in value:
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _in_ifs(draft: Draft, graph: Graph) -> Iterator[Reading]:
    for key, raw in draft.nodes.items():
        number = graph.number[key]
        for fields, place, _ in _parts(raw.fields, raw.path):
            for field, own in (("if", {INPUTS}), ("until", _LAST)):
                if isinstance(text := fields.get(field), str):
                    path = (*place, field)
                    yield from _readings(graph, _places(draft, text, path), path, number, own)
        for path, text in _cases(raw):
            yield from _readings(graph, _places(draft, text, path), path, number, {INPUTS})


def _places(draft: Draft, text: str, path: Path) -> Sequence[Reference]:
    """The names that a condition reads, and where in it; none if it cannot be read."""
    if OPEN in text:
        hint = "write it without ${{ }}"
        draft.problems.add("FC212", "a condition is one expression already", path, hint)
        return ()
    try:
        found = compile_expression(text)
    except ExpressionSyntaxError as error:
        _note(draft, error, path)
        return ()
    check_read(draft, found, path)
    check_types(draft, found, path, wanted="bool")
    return [ref for ref in references(found) if ref.name != SECRETS]


def _in_edges(draft: Draft, graph: Graph) -> Iterator[Reading]:
    for raw in draft.edges:
        source, target = graph.number.get(raw.edge.source), graph.number.get(raw.edge.target)
        path = (*raw.path, "when")
        if raw.edge.when is None:
            continue
        places = _places(draft, raw.edge.when, path)
        if source is None or target is None:
            continue
        for ref in places:
            if ref.name != INPUTS:
                yield Reading(
                    name=ref.name,
                    path=path,
                    offset=ref.offset,
                    at=source,
                    reader=target,
                    itself=True,
                )


def _note(draft: Draft, error: ExpressionSyntaxError, path: Path) -> None:
    what = f"cannot read the expression: {error.reason}"
    draft.problems.add("FC212", what, path, offset=error.offset)


def _check_distant(draft: Draft, graph: Graph, readings: Sequence[Reading]) -> None:
    """Look for names that are not direct predecessors among the ancestors.

    One pass over the graph carries a bit for each of up to ``BATCH`` names from every node to
    its successors, so that 100,000 nodes that all read far back take seconds.
    """
    names = list(dict.fromkeys(reading.name for reading in readings))
    order = graph.order()
    for begin in range(0, len(names), BATCH):
        bits = {graph.number[name]: i for i, name in enumerate(names[begin : begin + BATCH])}
        above = _ancestors(graph, order, bits)
        for reading in readings:
            bit = bits.get(graph.number[reading.name])
            if bit is None:
                continue
            is_above = bool(above[reading.at] >> bit & 1)
            if is_above and reading.is_hidden:
                _note_hidden(draft, reading.name, reading.path, reading.offset)
            elif not is_above and not reading.is_hidden:
                _note_distant(draft, graph, reading)


def _ancestors(graph: Graph, order: Sequence[int], bits: dict[int, int]) -> list[int]:
    above = [0] * len(order)
    for node in order:
        mask = 0
        for before in graph.pred[node]:
            mask |= above[before]
            if before in bits:
                mask |= 1 << bits[before]
        above[node] = mask
    return above


def _note_hidden(draft: Draft, name: str, path: Path, offset: int) -> None:
    what = f"{quote(name)} is a node, and here it is {_MEANINGS[name]}"
    hint = f'write nodes["{name}"] for the node, or rename the node'
    draft.problems.add("FC242", what, path, hint, offset=offset)


def _note_distant(draft: Draft, graph: Graph, reading: Reading) -> None:
    name, reader = quote(reading.name), quote(graph.ids[reading.at])
    hint = None
    if graph.number[reading.name] == reading.reader:
        what = f"node {name} cannot read its own output"
    else:
        what = f"node {name} is not upstream of {reader}"
        hint = f"add {name} to the needs of {reader}"
    draft.problems.add("FC213", what, reading.path, hint, offset=reading.offset)
