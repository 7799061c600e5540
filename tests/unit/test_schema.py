"""The JSON Schema accepts what the check accepts, and refuses what editors should mark."""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from flowcore.check.schema import json_schema

SCHEMA = json_schema()
P = {"uses": "passthrough"}


class Validator:
    """The part of draft 2020-12 that our schema uses; unknown keywords fail."""

    NOTES = frozenset({"$schema", "$defs", "title", "description", "default"})
    TYPES: ClassVar[dict[str, Any]] = {
        "string": str, "object": dict, "array": list, "boolean": bool, "null": type(None),
        "integer": int, "number": (int, float),
    }  # fmt: skip

    def ok(self, schema: Any, value: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        return all(
            getattr(self, "is_" + key.lstrip("$"))(rule, value, schema)
            for key, rule in schema.items()
            if key not in self.NOTES
        )

    def is_type(self, rule: Any, value: Any, _: Any) -> bool:
        kinds = [rule] if isinstance(rule, str) else rule
        boolean = isinstance(value, bool)
        return any(
            isinstance(value, self.TYPES[kind]) and boolean == (kind == "boolean") for kind in kinds
        )

    def is_ref(self, rule: str, value: Any, _: Any) -> bool:
        return self.ok(SCHEMA["$defs"][rule.removeprefix("#/$defs/")], value)

    def is_anyOf(self, rule: Any, value: Any, _: Any) -> bool:  # noqa: N802
        return any(self.ok(option, value) for option in rule)

    def is_allOf(self, rule: Any, value: Any, _: Any) -> bool:  # noqa: N802
        return all(self.ok(option, value) for option in rule)

    def is_not(self, rule: Any, value: Any, _: Any) -> bool:
        return not self.ok(rule, value)

    def is_if(self, rule: Any, value: Any, schema: Any) -> bool:
        return not self.ok(rule, value) or self.ok(schema["then"], value)

    def is_then(self, _rule: Any, _value: Any, _: Any) -> bool:
        return True  # its 'if' looks at it

    def is_const(self, rule: Any, value: Any, _: Any) -> bool:
        return bool(value == rule)

    def is_maxLength(self, rule: int, value: Any, _: Any) -> bool:  # noqa: N802
        return not isinstance(value, str) or len(value) <= rule

    def is_enum(self, rule: Any, value: Any, _: Any) -> bool:
        return value in rule

    def is_pattern(self, rule: str, value: Any, _: Any) -> bool:
        return not isinstance(value, str) or re.search(rule, value) is not None

    def is_minLength(self, rule: int, value: Any, _: Any) -> bool:  # noqa: N802
        return not isinstance(value, str) or len(value) >= rule

    def is_minimum(self, rule: float, value: Any, _: Any) -> bool:
        return not isinstance(value, int | float) or value >= rule

    def is_maximum(self, rule: float, value: Any, _: Any) -> bool:
        return not isinstance(value, int | float) or value <= rule

    def is_required(self, rule: list[str], value: Any, _: Any) -> bool:
        return not isinstance(value, dict) or all(key in value for key in rule)

    def is_properties(self, rule: Any, value: Any, _: Any) -> bool:
        return not isinstance(value, dict) or all(
            self.ok(rule[key], item) for key, item in value.items() if key in rule
        )

    def is_additionalProperties(self, rule: Any, value: Any, schema: Any) -> bool:  # noqa: N802
        return not isinstance(value, dict) or all(
            self.ok(rule, item)
            for key, item in value.items()
            if key not in schema.get("properties", {})
        )

    def is_propertyNames(self, rule: Any, value: Any, _: Any) -> bool:  # noqa: N802
        return not isinstance(value, dict) or all(self.ok(rule, key) for key in value)

    def is_minProperties(self, rule: int, value: Any, _: Any) -> bool:  # noqa: N802
        return not isinstance(value, dict) or len(value) >= rule

    def is_items(self, rule: Any, value: Any, _: Any) -> bool:
        return not isinstance(value, list) or all(self.ok(rule, item) for item in value)

    def is_minItems(self, rule: int, value: Any, _: Any) -> bool:  # noqa: N802
        return not isinstance(value, list) or len(value) >= rule

    def is_maxItems(self, rule: int, value: Any, _: Any) -> bool:  # noqa: N802
        return not isinstance(value, list) or len(value) <= rule


GOOD: list[dict[str, Any]] = [
    {"nodes": {"a": P}},
    {"nodes": [{"id": "a", **P}]},
    {
        "id": "rag",
        "version": "1",
        "description": "d",
        "inputs": {"u": {"type": "string"}},
        "nodes": {"a": P},
    },
    {
        "nodes": {
            "fetch": {
                "uses": "acme.web:fetch",
                "with": {"url": "${{ inputs.url }}"},
                "retry": {
                    "max_attempts": 4,
                    "backoff": "exponential",
                    "delay": "1s",
                    "max_delay": 60,
                    "jitter": True,
                    "retry_on": ["TimeoutError"],
                },
                "timeout": "30s",
            },
            "index": {**P, "needs": ["fetch"], "queue": "gpu", "join": "all_done"},
        }
    },
    {
        "nodes": {"a": P, "b": P},
        "edges": [
            {"from": "a", "to": "b"},
            {"source": "a", "target": "b", "when": "a.output.ok"},
            {"from": "a", "target": "b"},
            ["a", "b"],
        ],
    },
    {
        "nodes": {"a": P},
        "config": {
            "backend": "native",
            "backend_config": {"max_parallel": 10, "timeout": 300, "retry_strategy": "exponential"},
            "execution": {
                "max_parallel_nodes": 10,
                "timeout_seconds": 300,
                "retry_failed_nodes": True,
                "enable_checkpoints": True,
            },
            "memory": {"type": "conversation", "max_messages": 100},
            "streaming": {"enabled": True, "buffer_size": 100},
            "llm": {"model": "gpt-4", "temperature": 0.7},
            "tools": ["search", "calculator"],
            "agents": [{"role": "researcher", "goal": "find information"}],
            "process": "sequential",
        },
    },
    {
        "nodes": {"a": P},
        "backend": "langgraph",
        "memory": "conversation_buffer",
        "tools": ["search"],
    },
    {"nodes": {"a": P}, "backend_config": {"max_parallel_nodes": 3, "timeout_seconds": "5m"}},
    {"nodes": {"a": P}, "execution": {"max_parallel": 3, "timeout": 5}},
    {"nodes": {"a": {**P, "for_each": [1]}, "b": {**P, "for_each": "${{ a.output }}"}}},
    {"nodes": {"a": {**P, "for_each": {"uses": "shop:pages", "with": {"n": 1}, "timeout": 5}}}},
    {"nodes": {"a": {"uses": "parallel", "branches": {"x": {**P, "timeout": "5s"}}}}},
    {"nodes": {"a": {**P, "undo": {**P, "retry": None}}}, "on_failure": {"b": P}},
    {"nodes": {"a": {"uses": "workflow", "flow": {"nodes": {"b": P}}}}, "finally": {"b": P}},
]

BAD: list[Any] = [
    [],
    {},
    {"nodes": {}},
    {"nodes": []},
    {"nodes": {"a": {}}},
    {"nodes": {"a b": P}},
    {"nodes": {"a": {**P, "wth": {}}}},
    {"nodes": {"a": {**P, "id": "a"}}},
    {"nodes": {"a": {**P, "join": "some"}}},
    {"nodes": {"a": {**P, "needs": "b"}}},
    {"nodes": {"a": {**P, "timeout": "soon"}}},
    {"nodes": {"a": {**P, "retry": {"max_attempts": 0}}}},
    {"nodes": [P]},
    {"nodes": {"a": P}, "edges": [["a"]]},
    {"nodes": {"a": P}, "edges": [{"from": "a"}]},
    {"nodes": {"a": P}, "version": 1},
    {"nodes": {"a": P}, "nods": {}},
    {"nodes": {"a": P}, "config": {"process": "x"}},
    {"nodes": {"a": {**P, "for_each": {"with": {}}}}},
    {"nodes": {"a": {**P, "for_each": {"uses": "shop:pages", "cache": "1h"}}}},
    {"nodes": {"a": {"uses": "parallel", "branches": {"x": {"use": "end"}}}}},
    {"nodes": {"a": {**P, "undo": {"use": "end"}}}},
    {"nodes": {"a": P}, "finally": {}},
    {"nodes": {"a": P}, "on_failure": {"b": {}}},
    {"nodes": {"a": P}, "config": {"execution": {"max_parallel_nodes": 0}}},
]


@pytest.mark.parametrize("definition", GOOD)
def test_the_schema_accepts_every_spelling(definition: dict[str, Any]) -> None:
    assert Validator().ok(SCHEMA, definition)


@pytest.mark.parametrize("definition", BAD)
def test_the_schema_refuses_what_an_editor_should_mark(definition: Any) -> None:
    assert not Validator().ok(SCHEMA, definition)


def test_the_schema_is_json_of_draft_2020_12_and_refers_only_to_itself() -> None:
    text = json.dumps(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text)) <= set(SCHEMA["$defs"])


def test_the_schema_is_the_same_every_time() -> None:
    assert json.dumps(json_schema()) == json.dumps(SCHEMA)


def test_the_schema_accepts_every_definition_that_is_shipped() -> None:
    files = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
    trees = [yaml.safe_load(file.read_text()) for file in files]
    assert len(trees) > 10
    wrong = [
        file.name
        for file, tree in zip(files, trees, strict=True)
        if "nodes" in tree and not Validator().ok(SCHEMA, tree)
    ]
    assert wrong == []
