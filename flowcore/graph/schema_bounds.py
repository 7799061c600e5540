"""Bounds on the work that a JSON Schema asks of a validator.

In: a schema (draft 2020-12). Out: to which depth values can be checked by it, or a sentence about
what cannot be used. Not here: validating (json_schema).

A validator follows every way through ``$ref``, ``allOf``, ``anyOf``, ``oneOf`` and ``not`` that
leads to a value. Thirty definitions that each refer to the next one twice are a billion ways, and a
definition that refers to itself twice for one child doubles them with each level of the value.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

__all__ = ["MAX_WAYS", "MAX_WAYS_OF_VALUE", "SchemaProblem", "deepest_value"]

#: Ways through a schema to one value, as far as the schema alone tells.
MAX_WAYS = 10_000
#: The same for a value of a certain depth and a schema that refers to itself.
MAX_WAYS_OF_VALUE = 1_000_000
#: Levels of a value: messages hold no more.
MAX_DEPTH = 64

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")
_SINGLE_INSIDE: Mapping[str, tuple[str, ...]] = {
    "* key": ("additionalProperties", "unevaluatedProperties"),
    "* item": ("items", "contains", "unevaluatedItems"),
    "name": ("propertyNames",),
}
_KINDS = ("key", "item")
_WITH_SCHEMAS = frozenset(
    {*_LISTS, *_SINGLE, *(key for keys in _SINGLE_INSIDE.values() for key in keys)}
    | {"$ref", "$dynamicRef", "$id", "dependentSchemas", "properties", "patternProperties"}
    | {"prefixItems"}
)
_NO_SCHEMAS = frozenset({"default", "enum", "const", "examples"})

Schema = Mapping[str, Any]
Place = tuple[str | int, ...]


class SchemaProblem(Exception):  # noqa: N818  (becomes a diagnostic, and is never raised to users)
    """A schema cannot be used, with the place in it."""

    def __init__(self, place: Place, reason: str) -> None:
        """Keep the place and the sentence."""
        super().__init__(reason)
        self.place = place
        self.reason = reason


def deepest_value(schema: Schema) -> int | None:
    """Return to which depth a validator can check values within the bounds; None for any depth.

    Raises:
        SchemaProblem: A reference leads nowhere or to itself, or there are too many ways.
    """
    graph = _Graph(schema)
    order = _inner_first(graph.nodes.values())
    recursive = _is_recursive(order)
    ways = dict.fromkeys(order, 0)
    for depth in range(MAX_DEPTH):
        deeper = _one_level_more(order, ways)
        if deeper == ways:
            break
        ways = deeper
        if ways[graph.root] > MAX_WAYS and (depth == 0 or not recursive):
            what = "asks for more than 10,000 checks of one value: refer to each definition once"
            raise SchemaProblem((), what)
        if ways[graph.root] > MAX_WAYS_OF_VALUE:
            return depth
    return None


@dataclass(slots=True, eq=False)
class _Node:
    """One schema within the whole."""

    schema: Schema
    place: Place
    root: Schema
    """The nearest schema around it that has an ``$id``: its references start there."""
    same: list["_Node"] = field(default_factory=list)
    """Schemas for the same value."""
    below: dict[str, list["_Node"]] = field(default_factory=dict)
    """Schemas for the values inside, by where those are; ``*`` for all of them."""


#: Stands for all schemas that lead to no other one.
_LEAF = _Node({}, (), {})


class _Graph:
    """The schemas within a schema, and what leads from one to another."""

    def __init__(self, schema: Schema) -> None:
        """Read a schema and all that it refers to."""
        self.nodes: dict[int, _Node] = {}
        self._anchors: dict[str, list[Schema]] = {}
        for part in _mappings(schema):
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(name := part.get(key), str):
                    self._anchors.setdefault(name, []).append(part)
        self.root = self._node(schema, (), schema)
        waiting = [self.root]
        seen = {_LEAF}
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            node.same = list(self._same(node))
            node.below = self._below(node)
            waiting += node.same
            waiting += [child for some in node.below.values() for child in some]

    def _node(self, schema: Schema, place: Place, root: Schema) -> _Node:
        found = self.nodes.get(id(schema))
        if found is None and self.nodes and schema.keys().isdisjoint(_WITH_SCHEMAS):
            return _LEAF
        if found is None:
            inner = schema if isinstance(schema.get("$id"), str) else root
            found = self.nodes[id(schema)] = _Node(schema, place, inner)
        return found

    def _same(self, node: _Node) -> Iterator[_Node]:
        schema = node.schema
        for key in ("$ref", "$dynamicRef"):
            if isinstance(reference := schema.get(key), str):
                yield from self._targets(node, key, reference)
        for key in _LISTS:
            if isinstance(schema.get(key), list):
                yield from self._each(node, (key,), enumerate(schema[key]))
        for key in _SINGLE:
            yield from self._each(node, (), [(key, schema.get(key))])
        if isinstance(some := schema.get("dependentSchemas"), Mapping):
            yield from self._each(node, ("dependentSchemas",), some.items())

    def _below(self, node: _Node) -> dict[str, list[_Node]]:
        below: dict[str, list[_Node]] = {}
        for where, place, parts in _inside(node.schema):
            if found := list(self._each(node, place, parts)):
                below.setdefault(where, []).extend(found)
        return below

    def _each(self, node: _Node, place: Place, parts: Any) -> Iterator[_Node]:
        for key, part in parts:
            if isinstance(part, Mapping):
                yield self._node(part, (*node.place, *place, key), node.root)

    def _anchored(self, name: str) -> list[Schema]:
        return self._anchors.get(name, [])

    def _targets(self, node: _Node, key: str, reference: str) -> list[_Node]:
        place = (*node.place, key)
        if not reference.startswith("#"):
            what = f"'$ref' stays inside of the schema ('#/$defs/…'), got {reference!r}"
            raise SchemaProblem(place, what)
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            found: list[tuple[Any, Place]] = [(one, place) for one in self._anchored(fragment)]
        else:
            found = [_pointed(node.root, fragment)]
        if not any(isinstance(one, Mapping | bool) for one, _ in found):
            raise SchemaProblem(place, f"refers to nothing: there is no {reference!r}")
        return [self._node(one, at, node.root) for one, at in found if isinstance(one, Mapping)]


def _inside(schema: Schema) -> Iterator[tuple[str, Place, Iterable[tuple[Any, Any]]]]:
    """Schemas for the values inside: where those are, the place of the schemas, and these."""
    if isinstance(some := schema.get("properties"), Mapping):
        yield from ((f"key {name}", ("properties",), [(name, part)]) for name, part in some.items())
    if isinstance(some := schema.get("patternProperties"), Mapping):
        yield "* key", ("patternProperties",), some.items()
    if isinstance(listed := schema.get("prefixItems"), list):
        parts = enumerate(listed)
        yield from ((f"item {at}", ("prefixItems",), [(at, part)]) for at, part in parts)
    for where, keys in _SINGLE_INSIDE.items():
        yield where, (), [(key, schema.get(key)) for key in keys]


def _mappings(part: Any) -> Iterator[Schema]:
    waiting = [part]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            yield found
            waiting += [value for key, value in found.items() if key not in _NO_SCHEMAS]
        elif isinstance(found, list):
            waiting += found


def _pointed(root: Any, pointer: str) -> tuple[Any, Place]:
    """Follow a JSON pointer; return what it leads to, None if that is nothing, and the way."""
    found, place = root, list[str | int]()
    for step in pointer.split("/")[1:]:
        key: str | int = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            key = int(key) if str(key).isdigit() else -1
            found = found[key] if 0 <= key < len(found) else None
        else:
            found = found.get(key) if isinstance(found, Mapping) else None
        place.append(key)
    return found, tuple(place)


def _one_level_more(order: Iterable[_Node], ways: Mapping[_Node, int]) -> dict[_Node, int]:
    """Count the ways for values of one more level, from the ways to the values inside."""
    inside: dict[_Node, tuple[int, int, int]] = {}
    here: dict[_Node, int] = {}
    deeper: dict[_Node, int] = {}
    for node in order:
        here[node] = _bounded(1 + sum(here[one] for one in node.same))
        # What is checked for one key, one item or one name of the same value adds up.
        sums = zip(_most_inside(node, ways), *(inside[one] for one in node.same), strict=True)
        keys, items, names = (_bounded(sum(some)) for some in sums)
        inside[node] = keys, items, names
        deeper[node] = _bounded(here[node] + max(keys, items, names))
    return deeper


def _bounded(ways: int) -> int:
    """Beyond the bound the number does not matter, and must not grow by digits."""
    return min(ways, MAX_WAYS_OF_VALUE + 1)


def _most_inside(node: _Node, ways: Mapping[_Node, int]) -> tuple[int, int, int]:
    """Count the ways to the key, to the item and to the name to which there are most."""
    if not node.below:
        return 0, 0, 0
    most: dict[str, int] = {}
    for where, some in node.below.items():
        kind = where.partition(" ")[0]
        if kind != "*":
            most[kind] = max(most.get(kind, 0), sum(ways[one] for one in some))
    every = {kind: sum(ways[one] for one in node.below.get(f"* {kind}", ())) for kind in _KINDS}
    return (
        most.get("key", 0) + every["key"],
        most.get("item", 0) + every["item"],
        most.get("name", 0),
    )


def _inner_first(nodes: Iterable[_Node]) -> list[_Node]:
    """Order schemas for the same value so that those that are led to come first.

    Raises:
        SchemaProblem: One of them leads to itself, and a validator would never come to an end.
    """
    sorter = TopologicalSorter({node: node.same for node in (*nodes, _LEAF)})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        culprit: _Node = error.args[1][0]
        raise SchemaProblem(culprit.place, "refers to itself without end") from None


def _is_recursive(nodes: Iterable[_Node]) -> bool:
    """Return whether a schema leads to itself for a value inside."""
    sorter: TopologicalSorter[_Node] = TopologicalSorter()
    for node in nodes:
        sorter.add(node, *node.same, *(child for some in node.below.values() for child in some))
    try:
        sorter.prepare()
    except CycleError:
        return True
    return False
