"""Policies a node may carry.

In: values of a definition. Out: frozen pydantic models. Not here: applying them (engine).
"""

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from flowcore.types import parse_duration

__all__ = ["Backoff", "Concurrency", "Duration", "Fallback", "Join", "Model", "RateLimit", "Retry"]

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


class Fallback(Model):
    """What a node gives when its last attempt has failed."""

    value: Any
    """The node's output then: plain data, taken as it is written."""


class Concurrency(Model):
    """How many attempts may run at a time, on all workers together."""

    limit: Annotated[int, Field(ge=1, strict=True)]
    key: str | None = None
    """Each value of this text, which may hold ``${{ expression }}``, has its own limit."""
    name: str | None = None
    """Nodes that give the same name share a limit; otherwise each node of a flow has its own."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """``3`` is short for ``{limit: 3}``."""
        return {"limit": value} if isinstance(value, int) else value


_RATE = re.compile(r"(\d+)\s*/\s*(\d*(?:\.\d+)?(?:ms|s|m|h|d))")


class RateLimit(Model):
    """How many attempts may begin in a time, on all workers together."""

    limit: Annotated[int, Field(ge=1, strict=True)]
    per: Duration = 1.0
    """Seconds; up to ``limit`` may begin at once, the others spread evenly."""
    key: str | None = None
    """Each value of this text, which may hold ``${{ expression }}``, has its own limit."""
    name: str | None = None
    """Nodes that give the same name share a limit; otherwise each node of a flow has its own."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """``100/m`` is short for ``{limit: 100, per: 1m}``."""
        if isinstance(value, str):
            if not (found := _RATE.fullmatch(value.strip())):
                msg = f"expected a rate such as '10/s', '100/m' or '5/30s', got {value!r}"
                raise ValueError(msg)
            per = found[2] if found[2][0].isdigit() else f"1{found[2]}"
            return {"limit": int(found[1]), "per": per}
        return value

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.per <= 0:
            msg = "'per' must be more than 0 seconds"
            raise ValueError(msg)
        return self
