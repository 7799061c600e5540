"""Limits of nodes: an attempt that is over one waits without its worker.

In: places and turns that an attempt needs. Out: it may begin, or how long it waits.
Not here: the counting (limiter port).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.errors import BulkheadFullError
from flowcore.expr.template import compile_template
from flowcore.plan.policy import Policy
from flowcore.ports.limiter import Limiter, Places, RateLimitState
from flowcore.ports.store import AttemptRef, Suspension

__all__ = ["AttemptLimits", "attempt_key", "limits_of", "named"]


class AttemptLimits:
    """The limits of one attempt."""

    def __init__(
        self,
        limiter: Limiter,
        ticket: AttemptRef,
        *,
        places: Places | None = None,
        rate: RateLimitState | None = None,
        what: str = "the limit",
        stands: Callable[[AttemptRef], bool],
    ) -> None:
        """Count with ``limiter``.

        Args:
            limiter: Keeps the limits.
            ticket: The attempt.
            places: How many may run at a time.
            rate: How many may begin in a time.
            what: What people are told that the attempt waits for.
            stands: Whether an attempt that keeps a place without a worker is still to go on.
        """
        self._limiter = limiter
        self._ticket = ticket
        self._holder = attempt_key(ticket)
        self._stands = stands
        self._places = places
        self._rate = rate
        self._what = what

    @property
    def held(self) -> tuple[str, str] | None:
        """The place to keep alive, as the limiter wants it."""
        return (self._places.name, self._holder) if self._places else None

    def acquire(self, wake: Callable[[AttemptRef], object]) -> Suspension | None:
        """Take what the attempt needs; or say what it waits for.

        Args:
            wake: Hears of those who have the place of one that does not stand any more.

        Raises:
            BulkheadFullError: It has waited for a place as long as it may.
        """
        seconds = self._limiter.acquire(self._holder, places=self._places, rate=self._rate)
        if seconds is not None and self._places is not None and self._reclaim(wake):
            seconds = self._limiter.acquire(self._holder, places=self._places, rate=self._rate)
        if seconds is None:
            return None
        if self._places is not None and seconds == math.inf:
            limit, waited = self._places.limit, self._places.max_wait
            raise BulkheadFullError(
                f"all {limit} places of the limit {self._places.name} are taken, and max_wait is "
                f"{waited:g} s; raise 'limit' or 'max_wait', or give the node a retry or a fallback"
            )
        names = " and ".join(one.name for one in (self._places, self._rate) if one is not None)
        return Suspension(seconds=seconds, reason=f"waits for {self._what} {names}", resumes=False)

    def keep(self) -> None:
        """Keep the place while the attempt waits without a worker."""
        if self._places is not None:
            self._limiter.keep(self._places.name, self._holder)

    def release(self, wake: Callable[[AttemptRef], object]) -> None:
        """Give the place back and wake those who have it now."""
        if self._places is not None:
            self._give_back(self._places, self._holder, wake)

    def _reclaim(self, wake: Callable[[AttemptRef], object]) -> bool:
        """Give back what attempts keep that were stopped while they waited; say whether any did.

        Nobody runs when a waiting node is cancelled, so those who want its place have to look.
        """
        places = self._places
        if places is None:
            return False
        given = False
        for holder in self._limiter.kept(places.name):
            ticket = _ticket_of(holder)
            mine = (ticket.run, ticket.node) == (self._ticket.run, self._ticket.node)
            if (mine and ticket.attempt != self._ticket.attempt) or not self._stands(ticket):
                self._give_back(places, holder, wake)
                given = True
        return given

    def _give_back(self, places: Places, holder: str, wake: Callable[[AttemptRef], object]) -> None:
        for woken in self._limiter.release(places.name, places.limit, holder):
            if woken != self._holder:
                wake(_ticket_of(woken))


def attempt_key(ticket: AttemptRef) -> str:
    """Name an attempt to those who count attempts of all workers."""
    return f"{ticket.run}|{ticket.node}|{ticket.attempt}"


def _ticket_of(holder: str) -> AttemptRef:
    run, node, attempt = holder.rsplit("|", 2)
    return AttemptRef(run=run, node=int(node), attempt=int(attempt))


def limits_of(
    policy: Policy, own: str, work: AttemptContext
) -> tuple[Places | None, RateLimitState | None]:
    """Work out which limits count for a node that may have its ``own``.

    Raises:
        ExpressionError: A key cannot be worked out.
    """
    places: Places | None = None
    rate: RateLimitState | None = None
    if (slots := policy.concurrency) is not None:
        name = named(slots.name or own, slots.key, work)
        places = Places(name, slots.limit, slots.max_wait)
    if (turns := policy.rate_limit) is not None:
        name = named(turns.name or own, turns.key, work)
        rate = RateLimitState(name, turns.limit, turns.per)
    return places, rate


def named(name: str, key: str | None, work: AttemptContext) -> str:
    """Add to a name what its key is worth.

    Raises:
        ExpressionError: The key cannot be worked out.
    """
    if key is None:
        return name
    template = compile_template({"key": key})
    context = work.upstream.context(template.node_refs, names=template.names, node=work.node)
    values = cast("Mapping[str, Any]", template.render(context))
    return f"{name}:{values['key']}"
