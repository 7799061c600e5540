"""Whether a failed attempt is tried again, and when.

In: the policy, how often the node has failed, the error. Out: a delay or None. Pure.
Source of the jitter: "equal jitter", M. Brooker, Exponential Backoff And Jitter (AWS, 2015).
"""

from collections.abc import Callable

from flowcore.graph.policy import Retry

__all__ = ["error_names", "next_delay", "qualified_name"]


def qualified_name(kind: type[BaseException]) -> str:
    """Name an exception class as people write it: built-ins bare, others with their module."""
    if kind.__module__ in {"builtins", "flowcore.errors"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_names(error: BaseException) -> frozenset[str]:
    """All names ``retry_on`` may use for an error: its class's and its base classes'."""
    classes = [kind for kind in type(error).__mro__ if issubclass(kind, BaseException)]
    return frozenset(
        name
        for kind in classes
        for name in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")
    )


def next_delay(
    retry: Retry | None,
    *,
    failures: int,
    names: frozenset[str],
    random: Callable[[], float],
) -> float | None:
    """Decide on another attempt.

    Args:
        retry: The node's policy, if it has one.
        failures: Attempts that have failed so far, this one included.
        names: What the error is called, see ``error_names``.
        random: Draws from [0, 1).

    Returns:
        Seconds to wait before the next attempt, or None when there is none.
    """
    if retry is None or failures >= retry.max_attempts:
        return None
    if retry.retry_on and not names.intersection(retry.retry_on):
        return None
    factor = {"fixed": 1, "linear": failures, "exponential": 1 << min(failures - 1, 60)}
    delay = min(retry.delay * factor[retry.backoff], retry.max_delay)
    return delay * (0.5 + random() / 2) if retry.jitter else delay
