"""Policies a node may carry.

In: values of a definition. Out: frozen pydantic models. Not here: applying them (engine).
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from flowcore.types import parse_duration

__all__ = ["Backoff", "Duration", "Join", "Model", "Retry"]

#: When a join runs, decided once all its predecessors have settled.
Join: TypeAlias = Literal["all_success", "all_done", "any_success", "none_failed"]
Backoff: TypeAlias = Literal["fixed", "linear", "exponential"]

#: Seconds, written as a number or as text such as ``30s`` or ``1h30m``.
Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d)?)+$"},
            ],
            "description": "seconds, or text such as 30s, 500ms, 1h30m",
        }
    ),
]


class Model(BaseModel):
    """Base of all definition models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Retry(Model):
    """How often, and how far apart, a failed node is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3
    """Attempts in all, the first one included."""
    backoff: Backoff = "exponential"
    """How the wait grows: delay, delay x n, or delay x 2^(n-1)."""
    delay: Duration = 1.0
    """Seconds before the second attempt."""
    max_delay: Duration = 60.0
    """No wait is longer than this many seconds."""
    jitter: Annotated[bool, Field(strict=True)] = True
    """Draw each wait evenly between half of it and all of it, so that retries spread out."""
    retry_on: tuple[str, ...] = ()
    """Names of exception classes worth another attempt (``OSError``, ``mod.Error``); empty: all."""
