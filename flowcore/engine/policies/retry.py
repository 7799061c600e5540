"""Whether a failed attempt is tried again, and when.

In: the policy, how often the node has failed, the error, and how long the other side has asked to
wait. Out: a delay or None. Pure.
Source of the jitter: "equal jitter", M. Brooker, Exponential Backoff And Jitter (AWS, 2015).
"""

import builtins
import sys
from collections.abc import Callable

from flowcore import errors
from flowcore.graph.policy import Retry

__all__ = ["error_names", "names_of", "next_delay", "qualified_name"]

#: The part of a wait that another side has asked for by which it may become longer.
_SPREAD = 0.1


def qualified_name(kind: type[BaseException]) -> str:
    """Name an exception class as people write it: built-ins bare, others with their module."""
    if kind.__module__ in {"builtins", "flowcore.errors"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_names(error: BaseException) -> frozenset[str]:
    """All names ``retry_on`` may use for an error: its class's and its base classes'.

    A Celery task's own error is named as well as the one that stands for it.
    """
    names = _names(type(error))
    if isinstance(error, errors.CeleryTaskError) and error.task_error:
        names |= names_of(error.task_error)
    return names


def names_of(kind: str) -> frozenset[str]:
    """The same names for an error of which only its class's name is known.

    Those of its base classes are among them if the class is here: a built-in one, one of ours, or
    one of a module that this process has imported.
    """
    module, _, name = kind.rpartition(".")
    homes = [builtins, errors] if not module else [sys.modules.get(module)]
    for home in homes:
        found = getattr(home, name, None)
        if isinstance(found, type) and issubclass(found, BaseException):
            return _names(found) | {kind}
    return frozenset({kind, name})


def _names(kind: type[BaseException]) -> frozenset[str]:
    classes = [base for base in kind.__mro__ if issubclass(base, BaseException)]
    return frozenset(
        name
        for base in classes
        for name in (base.__name__, f"{base.__module__}.{base.__qualname__}")
    )


def next_delay(
    retry: Retry | None,
    *,
    failures: int,
    names: frozenset[str],
    random: Callable[[], float],
    after: float | None = None,
) -> float | None:
    """Decide on another attempt.

    Args:
        retry: The node's policy, if it has one.
        failures: Attempts that have failed so far, this one included.
        names: What the error is called, see ``error_names``.
        random: Draws from [0, 1).
        after: Seconds that the other side has asked to wait. No attempt comes earlier, unless that
            is longer than ``max_delay``, which is waited then.

    Returns:
        Seconds to wait before the next attempt, or None when there is none.
    """
    if retry is None or failures >= retry.max_attempts:
        return None
    if retry.retry_on and not names.intersection(retry.retry_on):
        return None
    factor = {"fixed": 1, "linear": failures, "exponential": 1 << min(failures - 1, 60)}
    delay = min(retry.delay * factor[retry.backoff], retry.max_delay)
    draw = random() if retry.jitter else 1.0
    if after is not None and after > delay * (0.5 + draw / 2):
        # All who were sent away together should not come back together.
        spread = _SPREAD * draw if retry.jitter else 0.0
        return min(after * (1 + spread), retry.max_delay)
    return delay * (0.5 + draw / 2)
