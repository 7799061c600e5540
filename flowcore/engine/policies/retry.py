"""Decision on retrying a failed attempt, and the time of the retry.

In: the policy, how often the node has failed, the error, and how long the other side has asked to
wait. Out: a delay or None. Pure.
Source of the jitter: "equal jitter", M. Brooker, Exponential Backoff And Jitter (AWS, 2015).
"""

from collections.abc import Callable

from flowcore.graph.policy import Backoff, Retry

__all__ = ["next_delay"]

#: The part of a wait that another side has asked for by which it may become longer.
_SPREAD = 0.1


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
    factor: dict[Backoff, int] = {
        "fixed": 1,
        "linear": failures,
        "exponential": 1 << min(failures - 1, 60),
    }
    delay = min(retry.delay * factor[retry.backoff], retry.max_delay)
    draw = random() if retry.jitter else 1.0
    if after is not None and after > delay * (0.5 + draw / 2):
        # All who were sent away together should not come back together.
        spread = _SPREAD * draw if retry.jitter else 0.0
        return min(after * (1 + spread), retry.max_delay)
    return delay * (0.5 + draw / 2)
