"""Check the fields of one part of a definition: one node, one edge, the config.

In: a raw mapping and the model it should fit. Out: the model, or problems in our own words.
Not here: what parts say about each other (the other rules).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flowcore.check.diagnostic import Problems, describe, quote
from flowcore.graph.diagnostic import show_path
from flowcore.graph.document import Path
from flowcore.graph.flow import (
    AgentConfig,
    BackendConfig,
    Config,
    Edge,
    ExecutionConfig,
    LlmConfig,
    MemoryConfig,
    NodeDefaults,
    NodeDefinition,
    StreamingConfig,
)
from flowcore.graph.policy import (
    Cache,
    CircuitBreaker,
    Concurrency,
    Fallback,
    RateLimit,
    Retry,
)

__all__ = ["SPELLINGS", "keys_of", "spelled", "unify", "validate"]

Model = TypeVar("Model", bound=BaseModel)

#: Two names of one thing; a definition may use either.
SPELLINGS: tuple[tuple[str, str], ...] = (
    ("from", "source"),
    ("to", "target"),
    ("max_parallel", "max_parallel_nodes"),
    ("timeout", "timeout_seconds"),
)
_OTHER = {**dict(SPELLINGS), **{second: first for first, second in SPELLINGS}}

_PARTS: Mapping[type[BaseModel], Mapping[str, type[BaseModel]]] = {
    NodeDefinition: {
        "retry": Retry,
        "concurrency": Concurrency,
        "rate_limit": RateLimit,
        "fallback": Fallback,
        "circuit_breaker": CircuitBreaker,
        "cache": Cache,
    },
    Config: {
        "backend_config": BackendConfig,
        "execution": ExecutionConfig,
        "memory": MemoryConfig,
        "streaming": StreamingConfig,
        "defaults": NodeDefaults,
        "llm": LlmConfig,
        "agents": AgentConfig,
    },
    Edge: {},
}

_EXPECTED = {
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "mapping": "a mapping",
    "dict": "a mapping",
    "model": "a mapping",
    "int": "a whole number",
    "bool": "true or false",
    "float": "a number",
}


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a part may have, every spelling of each."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        choices = getattr(field.validation_alias, "choices", None)
        keys += choices or [field.validation_alias or name]
    return keys


def unify(value: Mapping[str, Any], path: Path, problems: Problems) -> Mapping[str, Any]:
    """Drop the second spelling of what is spelled twice; differing values are a problem."""
    for first, second in SPELLINGS:
        if first in value and second in value:
            if value[first] != value[second]:
                disagree(problems, (*path, first), value[first], (*path, second), value[second])
            value = {key: item for key, item in value.items() if key != second}
    return value


def disagree(problems: Problems, first: Path, one: object, second: Path, other: object) -> None:
    """Note that two spellings of one thing have different values."""
    names = f"'{show_path(first)}' ({describe(one)}) and '{show_path(second)}' ({describe(other)})"
    hint = "keep one of them"
    problems.add("FC216", f"{names} name the same thing", second, hint, at_key=True)


def validate(
    model: type[Model],
    value: Mapping[str, Any],
    problems: Problems,
    place: Callable[[Sequence[str | int]], Path],
) -> Model | None:
    """Build a model from a raw mapping.

    Args:
        model: One of the models of ``graph.flow``.
        value: The raw mapping.
        problems: Receives one problem for each field that is wrong.
        place: Turns a place inside ``value`` into a path from the root of the definition.

    Returns:
        The model; None if there are problems.
    """
    try:
        return model.model_validate(value, by_name=False)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _Translation(model, value, detail, place).note(problems)
        return None


def spelled(value: Any, keys: Sequence[str | int]) -> list[str | int]:
    """Replace keys by the spelling that the author used, and leave out what the author did."""
    path: list[str | int] = []
    for key in keys:
        if isinstance(value, Mapping):
            if isinstance(key, int):
                continue  # one that stands for a list of one
            if key not in value and (other := _OTHER.get(str(key))) in value:
                key = str(other)  # noqa: PLW2901  (one of two names of the same key)
            value = value.get(str(key))
        elif isinstance(value, Sequence) and isinstance(key, int) and key < len(value):
            value = value[key]
        path.append(key)
    return path


class _Translation:
    """One complaint of pydantic's, to be said in our own words."""

    def __init__(
        self,
        model: type[BaseModel],
        value: Mapping[str, Any],
        detail: ErrorDetails,
        place: Callable[[Sequence[str | int]], Path],
    ) -> None:
        # Pydantic names the member of a union in its path.
        keys = [key for key in detail["loc"] if key != "MemoryConfig"]
        self._model, self._detail = model, detail
        self._keys = spelled(value, keys)
        self._path = place(self._keys)
        self._input = detail["input"]

    def note(self, problems: Problems) -> None:
        kind = self._detail["type"]
        if kind == "missing":
            problems.add("FC204", f"'{self._path[-1]}' is missing", self._path)
        elif kind == "extra_forbidden":
            self._unknown(problems)
        elif kind == "literal_error":
            self._choice(problems)
        elif kind == "value_error":
            reason = str(self._detail["ctx"]["error"])
            problems.add("FC211", reason, self._path)
        else:
            self._wrong(problems, kind)

    def _unknown(self, problems: Problems) -> None:
        key, part = str(self._keys[-1]), self._part()
        known = keys_of(part)
        hint = problems.near(key, known) or f"known keys: {', '.join(known)}"
        problems.add("FC202", f"unknown key {quote(key)}", self._path, hint, at_key=True)

    def _part(self) -> type[BaseModel]:
        """The model that the last key belongs to."""
        if len(self._keys) > 1:
            return _PARTS[self._model].get(str(self._keys[0]), self._model)
        return self._model

    def _choice(self, problems: Problems) -> None:
        known = [
            word.strip("'")
            for word in self._detail["ctx"]["expected"].replace(" or ", ", ").split(", ")
        ]
        what = f"'{self._keys[-1]}' must be one of {', '.join(known)}, got {describe(self._input)}"
        hint = problems.near(self._input, known) if isinstance(self._input, str) else None
        problems.add("FC222", what, self._path, hint)

    def _wrong(self, problems: Problems, kind: str) -> None:
        got = describe(self._input)
        if kind in ("greater_than_equal", "less_than_equal"):
            context = self._detail["ctx"]
            bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
            problems.add("FC205", f"must be {bound}, got {got}", self._path)
        elif kind == "string_pattern_mismatch":
            hint = "use letters, digits, '_', '-' and '.', at most 100"
            key = next(key for key in reversed(self._keys) if isinstance(key, str))
            what = f"{quote(self._input)} is not a valid name for '{key}'"
            problems.add("FC214", what, self._path, hint)
        elif kind == "string_too_short":
            key = next(key for key in reversed(self._keys) if isinstance(key, str))
            problems.add("FC204", f"'{key}' is empty", self._path)
        else:
            expected = _EXPECTED.get(kind.partition("_")[0], "something else")
            what = f"expected {expected}, got {got}"
            is_scalar = isinstance(self._input, int | float)
            quoted = self._input if expected == "text" and is_scalar else None
            problems.add("FC205", what, self._path, self._hint(expected), quoted=quoted)

    def _hint(self, expected: str) -> str | None:
        given = self._input
        if expected == "a list" and isinstance(given, str):
            return f"write [{given}]"
        if expected == "true or false" and isinstance(given, str):
            meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(given.lower())
            return f"write {meant}" if meant else None
        return None
