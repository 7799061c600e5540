"""Advice about another attempt, which an error carries that is not one of ours.

In: an exception of a library, and what the other side has said about trying again. Out: the same,
where the engine decides on another attempt. Not here: the decision (engine.policies.retry).
"""

from dataclasses import dataclass

from flowcore.errors.nodes import NodeError

__all__ = ["RetryAdvice", "advice_of", "advise"]

_ATTRIBUTE = "__flowcore_retry__"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAdvice:
    """Another attempt, as far as the error itself knows.

    Attributes:
        final: It makes no sense.
        after: Seconds that have to pass before it; None: as the node's policy says.
    """

    final: bool = False
    after: float | None = None


_NONE = RetryAdvice()


def advise(error: BaseException, *, final: bool = False, after: float | None = None) -> None:
    """Put advice on an exception of somebody else's class."""
    setattr(error, _ATTRIBUTE, RetryAdvice(final=final, after=after))


def advice_of(error: BaseException) -> RetryAdvice:
    """Read the advice that an error carries; calls nothing of its class."""
    if isinstance(error, NodeError):
        return RetryAdvice(final=error.is_final, after=error.retry_after)
    found = object.__getattribute__(error, "__dict__").get(_ATTRIBUTE)
    return found if isinstance(found, RetryAdvice) else _NONE
