"""Check the shape of a definition: its keys, nodes, edges and config, each by itself.

In: a document. Out: a draft whose parts are typed. Not here: ids that name other nodes (graph).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from flowcore.check.diagnostic import describe, quote
from flowcore.check.draft import Draft, RawEdge, RawNode
from flowcore.check.rules.fields import disagree, keys_of, spelled, unify, validate
from flowcore.check.rules.inputs import check_inputs
from flowcore.graph.document import Path
from flowcore.graph.flow import Config, Edge, FlowDefinition, NodeDefinition
from flowcore.graph.json_schema import schema_problem

__all__ = ["check_shape"]

HEAD = ("id", "version", "description", "tags", "inputs")
#: Nodes that run at the end.
CLOSING = ("on_failure", "finally")
PARTS = ("nodes", "edges", "on_failure", "finally", "config")

NODE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
#: Words with another meaning: in expressions, or to readers of YAML 1.1.
RESERVED_IDS = frozenset({"inputs", "nodes", "secrets"})
YAML_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null"})


def check_shape(draft: Draft) -> None:
    """Fill the draft with typed parts, noting whatever has the wrong shape."""
    tree = draft.document.tree
    if not isinstance(tree, Mapping):
        given = "an empty text" if tree is None else describe(tree)
        what = f"a definition is a mapping with 'nodes', got {given}"
        draft.problems.add("FC205", what, ())
        return
    _check_keys(draft, tree)
    _check_head(draft, tree)
    _check_nodes(draft, tree)
    _check_edges(draft, tree.get("edges"))
    _check_config(draft, tree)


def _check_keys(draft: Draft, tree: Mapping[str, Any]) -> None:
    known = [*HEAD, *PARTS, *keys_of(Config)]
    for key in tree:
        if key not in known:
            hint = draft.problems.near(key, known) or f"known keys: {', '.join(known)}"
            what = f"unknown key {quote(key)}"
            draft.problems.add("FC202", what, (key,), hint, at_key=True)


def _check_head(draft: Draft, tree: Mapping[str, Any]) -> None:
    head = {key: tree[key] for key in (*HEAD, *CLOSING) if key in tree}
    # The nodes come one by one, so that a bad one does not hide the others.
    if validate(FlowDefinition, {**head, "nodes": {}}, draft.problems, tuple):
        draft.head = head
        check_inputs(draft, head.get("inputs", {}))


# ── Nodes ───────────────────────────────────────────────────────────────────────────────────────


def _check_nodes(draft: Draft, tree: Mapping[str, Any]) -> None:
    nodes = tree.get("nodes")
    if "nodes" not in tree:
        draft.problems.add("FC204", "'nodes' is missing", ("nodes",))
    elif not nodes and (nodes is None or isinstance(nodes, Mapping | list)):
        draft.problems.add("FC217", "a flow needs at least one node", ("nodes",))
    elif not isinstance(nodes, Mapping | list):
        what = f"expected a mapping of nodes, or a list of them, got {describe(nodes)}"
        draft.problems.add("FC205", what, ("nodes",))
    elif len(nodes) > (most := draft.document.limits.nodes):
        what = f"{len(nodes):,} nodes; a flow may have {most:,}"
        draft.problems.add("FC215", what, ("nodes",), "split it into several flows")
    else:
        for key, path, fields in _each_node(draft, nodes):
            _check_node(draft, key, path, fields)


def _each_node(
    draft: Draft, nodes: Mapping[str, Any] | Sequence[Any]
) -> Iterator[tuple[str, Path, Any]]:
    if isinstance(nodes, Mapping):
        for key, fields in nodes.items():
            _check_id(draft, key, ("nodes", key), at_key=True)
            yield key, ("nodes", key), fields
        return
    for index, item in enumerate(nodes):
        path: Path = ("nodes", index)
        if not isinstance(item, Mapping) or not isinstance(item.get("id"), str):
            _bad_item(draft, path, item)
            continue
        _check_id(draft, item["id"], (*path, "id"))
        yield item["id"], path, {key: value for key, value in item.items() if key != "id"}


def _bad_item(draft: Draft, path: Path, item: Any) -> None:
    if not isinstance(item, Mapping):
        what = f"expected a node (a mapping with 'id' and 'uses'), got {describe(item)}"
        draft.problems.add("FC205", what, path)
    elif "id" not in item:
        draft.problems.add("FC204", "'id' is missing: a node in a list needs one", (*path, "id"))
    else:
        what = f"expected text, got {describe(item['id'])}"
        draft.problems.add("FC205", what, (*path, "id"))


def _check_id(draft: Draft, key: str, path: Path, *, at_key: bool = False) -> None:
    if key.lower() in YAML_WORDS:
        what = f"node id {quote(key)} means a boolean or null to other readers of YAML"
        draft.problems.add("FC214", what, path, f"rename it, as in '{key}_'", at_key=at_key)
    elif key in RESERVED_IDS:
        what = f"node id {quote(key)} has another meaning in expressions"
        draft.problems.add("FC214", what, path, f"rename it, as in '{key}_'", at_key=at_key)
    elif not NODE_ID.fullmatch(key):
        hint = "use letters, digits, '_', '-' and '.', at most 100"
        draft.problems.add(
            "FC214", f"{quote(key)} is not a valid node id", path, hint, at_key=at_key
        )


def _check_node(draft: Draft, key: str, path: Path, fields: Any) -> None:
    if key in draft.nodes:
        what = f"node {quote(key)} is defined twice"
        draft.problems.add("FC206", what, (*path, "id"), "give it another id")
        return
    if not isinstance(fields, Mapping):
        hint = f"write {{uses: {fields}}}" if isinstance(fields, str) else None
        what = f"expected a mapping with 'uses', got {describe(fields)}"
        draft.problems.add("FC205", what, path, hint)
        draft.nodes[key] = RawNode(path=path, fields={}, model=None)
        return
    model = validate(NodeDefinition, fields, draft.problems, lambda keys: (*path, *keys))
    if isinstance(schema := fields.get("output"), Mapping) and (problem := schema_problem(schema)):
        inside, reason = problem
        what = f"the output of {quote(key)} {reason}"
        draft.problems.add("FC211", what, (*path, "output", *inside))
    draft.nodes[key] = RawNode(path=path, fields=fields, model=model)


# ── Edges ───────────────────────────────────────────────────────────────────────────────────────


def _check_edges(draft: Draft, edges: Any) -> None:
    if edges is None:
        return
    if not isinstance(edges, list):
        draft.problems.add("FC205", f"expected a list of edges, got {describe(edges)}", ("edges",))
        return
    for index, item in enumerate(edges):
        _check_edge(draft, ("edges", index), item)


def _check_edge(draft: Draft, path: Path, item: Any) -> None:
    if isinstance(item, list) and len(item) == 2:  # noqa: PLR2004  (from, to)
        fields: Mapping[str, Any] = {"from": item[0], "to": item[1]}
        place = partial(_in_pair, path)
    elif isinstance(item, Mapping):
        fields = unify(item, path, draft.problems)
        place = partial(_in_mapping, path, fields)
    else:
        what = f"expected an edge such as {{from: a, to: b}} or [a, b], got {describe(item)}"
        draft.problems.add("FC205", what, path)
        return
    edge = validate(Edge, fields, draft.problems, place)
    if edge is not None:
        raw = RawEdge(path=path, edge=edge, source_path=place(["from"]), target_path=place(["to"]))
        draft.edges.append(raw)


def _in_pair(path: Path, keys: Sequence[str | int]) -> Path:
    return (*path, 0 if keys[0] == "from" else 1)


def _in_mapping(path: Path, fields: Mapping[str, Any], keys: Sequence[str | int]) -> Path:
    return (*path, *spelled(fields, keys))


# ── Config ──────────────────────────────────────────────────────────────────────────────────────


def _check_config(draft: Draft, tree: Mapping[str, Any]) -> None:
    """Read the config; its keys may also stand at the top of the definition."""
    block = tree.get("config")
    if block is not None and not isinstance(block, Mapping):
        draft.problems.add("FC205", f"expected a mapping, got {describe(block)}", ("config",))
        return
    config = dict(block or {})
    top = {key: tree[key] for key in keys_of(Config) if key in tree}
    for key, value in top.items():
        if config.setdefault(key, value) != value:
            disagree(draft.problems, ("config", key), config[key], (key,), value)
    place = partial(_in_config, block or {})
    for key in ("backend_config", "execution"):
        if isinstance(config.get(key), Mapping):
            config[key] = unify(config[key], place([key]), draft.problems)
    if isinstance(memory := config.get("memory"), list | bool | int | float):
        what = f"expected a mapping, or the name of a type of memory, got {describe(memory)}"
        draft.problems.add("FC205", what, place(["memory"]))
        del config["memory"]
    _build_config(draft, config, place)


def _in_config(block: Mapping[str, Any], keys: Sequence[str | int]) -> Path:
    return (*(("config",) if keys[0] in block else ()), *keys) if keys else ("config",)


def _build_config(draft: Draft, config: dict[str, Any], place: partial[Path]) -> None:
    built = _validated(draft, config, place)
    if built is None:
        return
    draft.config = built
    # The two blocks of the seed page name the same things.
    pairs: tuple[tuple[str, object, str, object], ...] = (
        (
            "max_parallel",
            built.backend_config.max_parallel,
            "max_parallel_nodes",
            built.execution.max_parallel_nodes,
        ),
        (
            "timeout",
            built.backend_config.timeout,
            "timeout_seconds",
            built.execution.timeout_seconds,
        ),
    )
    for first, one, second, other in pairs:
        if one is not None and other is not None and one != other:
            one_path = place(spelled(config, ["backend_config", first]))
            other_path = place(spelled(config, ["execution", second]))
            disagree(draft.problems, one_path, one, other_path, other)


def _validated(draft: Draft, config: dict[str, Any], place: partial[Path]) -> Config | None:
    """Validate; of the two complaints about a mapping for ``memory``, keep the one that fits."""
    memory = config.get("memory")
    before = len(draft.problems.found)
    built = validate(Config, config, draft.problems, place)
    if isinstance(memory, Mapping):
        draft.problems.found[before:] = [
            found for found in draft.problems.found[before:] if found.path[-2:] != ("memory", "str")
        ]
    return built
