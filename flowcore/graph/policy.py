"""Policies a node may carry.

In: values of a definition. Out: frozen pydantic models. Not here: applying them (engine).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from flowcore.types import LONGEST, parse_duration

__all__ = [
    "Backoff",
    "Cache",
    "CircuitBreaker",
    "Concurrency",
    "Count",
    "Duration",
    "Fallback",
    "Fallbacks",
    "Join",
    "Model",
    "RateLimit",
    "Retry",
    "TimeLimit",
    "from_plan",
]

#: When a join runs, decided once all its predecessors have settled.
Join: TypeAlias = Literal["all_success", "all_done", "any_success", "none_failed"]
Backoff: TypeAlias = Literal["fixed", "linear", "exponential"]

#: The context in which a plan is read, which may be older than a rule.
_OF_PLAN = {"plan": True}


def _is_of_plan(info: ValidationInfo) -> bool:
    return bool(info.context) and info.context == _OF_PLAN


def _seconds(value: Any, info: ValidationInfo) -> float:
    if _is_of_plan(info) and isinstance(value, int | float):
        return float(min(value, LONGEST))
    return parse_duration(value)


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": LONGEST},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d)?)+$"},
    ],
    "description": "seconds, or text such as 30s, 500ms, 1h30m; at most 100 years",
}

#: Seconds, written as a number or as text such as ``30s`` or ``1h30m``; at most 100 years.
Duration: TypeAlias = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]


def _some_time(value: float) -> float:
    if value <= 0:
        msg = "a time limit must be more than 0 seconds; leave it out for none"
        raise ValueError(msg)
    return value


#: A duration in which something can be done.
TimeLimit: TypeAlias = Annotated[
    float,
    BeforeValidator(_seconds),
    AfterValidator(_some_time),
    WithJsonSchema(_DURATION_SCHEMA),
]

#: How many; more than a billion of anything is a mistake.
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
#: What limits, circuits and outputs are shared by.
_Shared: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]
_ErrorName: TypeAlias = Annotated[str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]


class Model(BaseModel):
    """Base of all definition models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Retry(Model):
    """Number of tries of a failed node, and the delays between them."""

    max_attempts: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3
    """Attempts in all, the first one included."""
    backoff: Backoff = "exponential"
    """How the wait grows: delay, delay x n, or delay x 2^(n-1)."""
    delay: Duration = 1.0
    """Seconds before the second attempt."""
    max_delay: Duration = 60.0
    """No wait is longer than this many seconds; left out, a longer ``delay`` is."""
    jitter: Annotated[bool, Field(strict=True)] = True
    """Draw each wait evenly between half of it and all of it, so that retries spread out."""
    retry_on: tuple[_ErrorName, ...] = ()
    """Names of exception classes worth another attempt (``OSError``, ``mod.Error``); empty: all."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse a delay that is never kept; of two, the one that is left out gives way."""
        if self.delay <= self.max_delay:
            return self
        if {"delay", "max_delay"} <= self.model_fields_set:
            msg = "'delay' is longer than 'max_delay', the longest wait"
            raise ValueError(msg)
        # Frozen for everybody else; it counts as left out.
        if "delay" in self.model_fields_set:
            object.__setattr__(self, "max_delay", self.delay)
        else:
            object.__setattr__(self, "delay", self.max_delay)
        return self


class Fallback(Model):
    """Output of a node whose last attempt has failed: one of the two."""

    value: Any = None
    """The node's output then: plain data, taken as it is written."""
    uses: str | None = None
    """A function that gives it: ``module:callable``, with the arguments of the node that it takes,
    and ``error``, a map with ``type`` and ``message``."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        is_empty = "uses" in self.model_fields_set and not self.uses
        if len(self.model_fields_set & {"value", "uses"}) != 1 or is_empty:
            msg = (
                "a fallback has either 'value' or 'uses', such as {value: 0} or {uses: shop:guess}"
            )
            raise ValueError(msg)
        return self

    @model_serializer
    def _as_given(self) -> dict[str, Any]:
        return {"value": self.value} if self.uses is None else {"uses": self.uses}


def _listed(value: Any) -> Any:
    """One fallback is a chain of one, and none is an empty one."""
    if value is None:
        return ()
    if isinstance(value, Mapping | Fallback):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        msg = "a fallback is a map such as {value: 0} or {uses: shop:guess}, or a list of these"
        raise ValueError(msg)
    return value


#: Fallbacks in the order in which they are tried.
Fallbacks: TypeAlias = Annotated[tuple[Fallback, ...], BeforeValidator(_listed)]


class CircuitBreaker(Model):
    """After how many failures nothing is tried any more for a while, on all workers together."""

    failures: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 5
    """So many failed attempts within ``within`` open the circuit: attempts fail at once then."""
    within: Duration = 60.0
    """Seconds."""
    reset_after: Duration = 30.0
    """Seconds until the open circuit lets ``trials`` attempts through, to see."""
    trials: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """How many attempts may try a circuit that is half open. As many successes close it, one
    failure opens it again."""
    count: tuple[_ErrorName, ...] = ()
    """Names of exception classes that count as failures (``OSError``, ``mod.Error``); empty:
    all."""
    key: _Shared | None = None
    """Each value of this text, which may hold ``${{ expression }}``, has its own circuit."""
    name: _Shared | None = None
    """Nodes that give the same name share a circuit; otherwise each node of a flow has its own."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """``5`` is short for ``{failures: 5}``."""
        return {"failures": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.within <= 0 or self.reset_after <= 0:
            msg = "'within' and 'reset_after' must be more than 0 seconds"
            raise ValueError(msg)
        return self


class Cache(Model):
    """For how long an output counts for all runs and workers."""

    ttl: Duration
    """Seconds."""
    key: _Shared | None = None
    """The text, which may hold ``${{ expression }}``, for which an output counts; left out, it
    counts for the same arguments."""
    name: _Shared | None = None
    """Nodes that give the same name share outputs; otherwise each node of a flow has its own."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """``10m`` is short for ``{ttl: 10m}``."""
        return {"ttl": value} if isinstance(value, int | float | str) else value

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.ttl <= 0:
            msg = "'ttl' must be more than 0 seconds"
            raise ValueError(msg)
        return self


class Concurrency(Model):
    """Number of attempts that may run at a time, on all workers together."""

    limit: Count
    key: _Shared | None = None
    """Each value of this text, which may hold ``${{ expression }}``, has its own limit."""
    name: _Shared | None = None
    """Nodes that give the same name share a limit; otherwise each node of a flow has its own."""
    max_wait: Duration | None = None
    """Seconds after which an attempt that has no place fails (a bulkhead); left out, it waits."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """``3`` is short for ``{limit: 3}``."""
        return {"limit": value} if isinstance(value, int) else value


_RATE = re.compile(r"(\d+)\s*/\s*(\d*(?:\.\d+)?(?:ms|s|m|h|d))")


class RateLimit(Model):
    """Number of attempts that may begin in a period, on all workers together."""

    limit: Count
    per: Duration = 1.0
    """Seconds; up to ``limit`` may begin at once, the others spread evenly."""
    key: _Shared | None = None
    """Each value of this text, which may hold ``${{ expression }}``, has its own limit."""
    name: _Shared | None = None
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


_Policy = TypeVar("_Policy", bound=Model)


def from_plan(kind: type[_Policy], given: Mapping[str, Any]) -> _Policy:
    """Read a policy of a stored plan, which may be older than a rule that it breaks."""
    try:
        return kind.model_validate(given, context=_OF_PLAN)
    except ValidationError:
        return cast("_Policy", kind.model_construct(**given))
