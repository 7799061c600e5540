"""Limits of nodes: an attempt that is over one waits without its worker.

In: a node's policy and what it can see. Out: it may begin, or how long it waits.
Not here: the counting (limiter port).
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from flowcore.engine.upstream import Upstream
from flowcore.expr.template import compile_template
from flowcore.plan.plan import Plan
from flowcore.ports.limiter import Limiter, Places, Rate
from flowcore.ports.store import Ticket, Wait

__all__ = ["Throttle"]


class Throttle:
    """The limits of one attempt."""

    def __init__(self, limiter: Limiter, plan: Plan, ticket: Ticket, upstream: Upstream) -> None:
        """Work out which limits count.

        Raises:
            ExpressionError: A key cannot be worked out.
        """
        policy = plan.policy(ticket.node)
        own = f"{plan.flow}.{plan.ids[ticket.node]}"
        self._limiter = limiter
        self._holder = f"{ticket.run}|{ticket.node}|{ticket.attempt}"
        self.places: Places | None = None
        self.rate: Rate | None = None
        if (slots := policy.concurrency) is not None:
            name = _name(slots.name or own, slots.key, upstream)
            self.places = Places(name, slots.limit)
        if (rate := policy.rate_limit) is not None:
            name = _name(rate.name or own, rate.key, upstream)
            self.rate = Rate(name, rate.limit, rate.per)

    @property
    def held(self) -> tuple[str, str] | None:
        """The place to keep alive, as the limiter wants it."""
        return (self.places.name, self._holder) if self.places else None

    def acquire(self) -> Wait | None:
        """Take what the attempt needs; or say what it waits for."""
        seconds = self._limiter.acquire(self._holder, places=self.places, rate=self.rate)
        if seconds is None:
            return None
        names = " and ".join(one.name for one in (self.places, self.rate) if one is not None)
        return Wait(seconds=seconds, reason=f"waits for the limit {names}", resumes=False)

    def release(self, wake: Callable[[Ticket], object]) -> None:
        """Give the place back and wake those who have it now."""
        if self.places is None:
            return
        for holder in self._limiter.release(self.places.name, self.places.limit, self._holder):
            run, node, attempt = holder.rsplit("|", 2)
            wake(Ticket(run=run, node=int(node), attempt=int(attempt)))


def _name(name: str, key: str | None, upstream: Upstream) -> str:
    if key is None:
        return name
    template = compile_template({"key": key})
    context = upstream.context(template.node_refs, names=template.names)
    values = cast("Mapping[str, Any]", template.render(context))
    return f"{name}:{values['key']}"
