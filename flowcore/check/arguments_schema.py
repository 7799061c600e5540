"""The JSON Schema of the arguments of built-in node types.

In: their models (nodes.types). Out: schemas by name, and which type has which. Not here: the rest
of a definition (schema).

Wherever a value stands, a text with an expression may stand, too.
"""

from collections.abc import Mapping
from typing import Any

from flowcore.nodes.arguments.conversation import ANY_OPERATION, OPERATIONS, MemoryArguments
from flowcore.nodes.arguments.model import Arguments
from flowcore.nodes.arguments.registry import ARGUMENTS

__all__ = ["argument_schemas", "type_rules"]

_EXPRESSION = {"type": "string", "pattern": r"\$\{\{"}


def argument_schemas() -> dict[str, Any]:
    """The schemas of all models, by the models' names."""
    made = {model.__name__: _schema(model) for model in ARGUMENTS.values()}
    made[MemoryArguments.__name__] = {
        "title": MemoryArguments.__name__,
        "anyOf": [*(_operation(*one) for one in OPERATIONS.items()), _any_operation()],
    }
    return made


def type_rules() -> list[dict[str, Any]]:
    """For each type, the schema of ``with`` of nodes that use it."""
    rules = []
    for name, model in ARGUMENTS.items():
        then: dict[str, Any] = {"properties": {"with": {"$ref": f"#/$defs/{model.__name__}"}}}
        if _required(model) or model.one_of:
            then["required"] = ["with"]
        is_this = {"properties": {"uses": {"const": name}}, "required": ["uses"]}
        rules.append({"if": is_this, "then": then})
    return rules


def _required(model: type[Arguments]) -> list[str]:
    """The arguments that have to be in the node's ``with``, and can be nowhere else."""
    return [name for name in model.needed() if name not in model.where]


def _schema(model: type[Arguments]) -> dict[str, Any]:
    made = model.model_json_schema()
    needed = _required(model)
    properties = {
        name: _or_expression(part, nullable=name not in needed)
        for name, part in made.get("properties", {}).items()
    }
    schema: dict[str, Any] = {
        "title": model.__name__,
        "type": "object",
        "properties": properties,
        "additionalProperties": model.is_open(),
    }
    if needed:
        schema["required"] = needed
    rules: list[dict[str, Any]] = [
        {"anyOf": [{"required": [name]} for name in several]} for several in model.one_of
    ]
    exclusive = (*model.one_of, *model.at_most_one_of)
    rules += [{"not": {"required": list(several)}} for several in exclusive]
    return {**schema, "allOf": rules} if rules else schema


def _operation(name: str, model: type[Arguments]) -> dict[str, Any]:
    """One operation of ``memory``; the first is what it does if none is named."""
    made = _schema(model)
    made["title"] = f"memory {name}"
    made["properties"] = {**made["properties"], "op": {"enum": [name]}}
    if name != MemoryArguments.model_fields["op"].default:
        made["required"] = ["op", *made.get("required", ())]
    return made


def _any_operation() -> dict[str, Any]:
    """An operation that an expression names."""
    made = _schema(ANY_OPERATION)
    made["title"] = "memory, whatever it does"
    made["properties"] = {**made["properties"], "op": _EXPRESSION}
    return {**made, "required": ["op"]}


def _or_expression(part: Mapping[str, Any], *, nullable: bool = False) -> dict[str, Any]:
    """Allow an expression in the place of a value, and of each value in it."""
    inside = {key: value for key, value in part.items() if key not in {"title", "default"}}
    said = {key: part[key] for key in ("title", "default") if key in part}
    for key in ("items", "additionalProperties"):
        if isinstance(inside.get(key), Mapping):
            inside[key] = _or_expression(inside[key])
    if not inside:
        return said
    null = [{"type": "null"}] if nullable else []
    return {**said, "anyOf": [inside, _EXPRESSION, *null]}
