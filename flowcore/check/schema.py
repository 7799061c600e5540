"""The JSON Schema of definitions, for editors: completion and early warnings.

In: the models. Out: a schema (draft 2020-12). Not here: rules that a schema cannot say, such as
cycles (the other rules); ``check`` has the last word.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from flowcore.check.arguments_schema import argument_schemas, type_rules
from flowcore.check.rules.fields import SPELLINGS
from flowcore.check.rules.shape import HEAD
from flowcore.check.rules.structure import SOURCE_KEYS
from flowcore.graph.flow import Config, Edge, FlowDefinition, NodeDefinition
from flowcore.nodes.arguments.registry import ARGUMENTS

__all__ = ["json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}$"


def json_schema() -> dict[str, Any]:
    """Build the schema of a definition: nodes as map or list, edges in all their spellings."""
    parts: list[tuple[type[BaseModel], Any]] = [
        (model, "validation") for model in (Config, Edge, FlowDefinition, NodeDefinition)
    ]
    _, generated = models_json_schema(parts, ref_template="#/$defs/{model}")
    models: dict[str, Any] = generated["$defs"]
    flow = models.pop("FlowDefinition")
    for name, model in models.items():
        if name != "Edge":
            _both_spellings(model)
    _short_spellings(models)
    _nodes_inside(models["NodeDefinition"]["properties"])
    _types(models)
    models["ListedNode"] = _listed(models["NodeDefinition"])
    edge = models.pop("Edge")
    head = {key: flow["properties"][key] for key in HEAD}
    head["inputs"] = {**head["inputs"], "additionalProperties": {"type": ["object", "boolean"]}}
    config = models["Config"]["properties"]
    return {
        "$schema": DIALECT,
        "title": "flowcore workflow definition",
        "type": "object",
        "additionalProperties": False,
        "required": ["nodes"],
        "properties": {
            **head,
            "nodes": _nodes(),
            "edges": {"type": "array", "items": _edge(edge)},
            "on_failure": _named(),
            "finally": _named(),
            "config": {"$ref": "#/$defs/Config"},
            **config,
        },
        "$defs": models,
    }


def _both_spellings(model: dict[str, Any]) -> None:
    """Allow the second spelling of every key that has one."""
    properties = model.get("properties", {})
    for first, second in SPELLINGS:
        if model.get("title") in ("BackendConfig", "ExecutionConfig"):
            known = properties.get(first) or properties.get(second)
            if known:
                properties[first] = properties[second] = known


def _short_spellings(models: dict[str, Any]) -> None:
    """Allow the scalars that stand for a whole model."""
    node, config = models["NodeDefinition"]["properties"], models["Config"]["properties"]
    kinds = models["MemoryConfig"]["properties"]["type"]["enum"]
    for part, short in (
        (node["concurrency"], {"type": "integer", "minimum": 1}),
        (node["rate_limit"], {"type": "string"}),
        (node["circuit_breaker"], {"type": "integer", "minimum": 1}),
        (node["cache"], {"type": ["string", "number"]}),
        (config["memory"], {"type": "string", "enum": kinds}),
    ):
        part["anyOf"] = [short, *part["anyOf"]]


def _nodes_inside(node: dict[str, Any]) -> None:
    """Say what stands inside a node: another one, several, what gives a map its items."""
    source = {
        "type": "object",
        "additionalProperties": False,
        "required": ["uses"],
        "properties": {key: node[key] for key in sorted(SOURCE_KEYS)},
    }
    node["undo"]["anyOf"][0] = {"$ref": "#/$defs/NodeDefinition"}
    node["branches"]["anyOf"][0] = _named()
    node["for_each"]["anyOf"] = [{"type": ["array", "string", "null"]}, source]


def _types(models: dict[str, Any]) -> None:
    """Say what each built-in type takes."""
    node = models["NodeDefinition"]
    uses = node["properties"]["uses"]
    names = {"enum": sorted(ARGUMENTS)}
    node["properties"]["uses"] = {"title": "Uses", "anyOf": [names, uses]}
    node["allOf"] = type_rules()
    models.update(argument_schemas())


def _listed(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node in a list: the same, with its id."""
    key = {"type": "string", "pattern": ID_PATTERN}
    return {
        **node,
        "title": "ListedNode",
        "properties": {"id": key, **node["properties"]},
        "required": ["id", *node["required"]],
    }


def _named() -> dict[str, Any]:
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": ID_PATTERN},
        "additionalProperties": {"$ref": "#/$defs/NodeDefinition"},
    }


def _nodes() -> dict[str, Any]:
    return {
        "anyOf": [
            _named(),
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/ListedNode"}},
        ]
    }


def _edge(edge: Mapping[str, Any]) -> dict[str, Any]:
    when = edge["properties"]["when"]
    pair = {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": "string"},
        "description": "[from, to]",
    }
    return {"anyOf": [*(_spelling(a, b, when) for a in SPELLINGS[0] for b in SPELLINGS[1]), pair]}


def _spelling(source: str, target: str, when: Mapping[str, Any]) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [source, target],
        "properties": {source: text, target: text, "when": when},
    }
