"""GUARD: what all workers share decides whether a node's function is called.

In: a claimed attempt, and how to make it. Out: its output, or how it ended, or what it waits for.
Not here: retries and fallbacks, which begin when an attempt has failed (worker.executor); the
counting (ports limiter, breaker, cache).

From the outside in: an output that is known already; a place and a turn; a circuit; the attempt.
An attempt of a node that starts a run has several turns; what it was let through in the first one
holds until the last one.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

from flowcore.engine.attempts.attempt import AttemptContext, AttemptResult, ended
from flowcore.engine.attempts.conditions import holds
from flowcore.engine.attempts.heartbeat import Heartbeater
from flowcore.engine.child_runs.child_run import ChildRunFailed
from flowcore.engine.policies.limits import AttemptLimits, attempt_key, limits_of, named
from flowcore.engine.values.failure import error_names, names_of
from flowcore.errors import (
    CircuitOpenError,
    ExpressionError,
    FlowcoreError,
    NodeCancelledError,
    StoreFullError,
    StoreUnreachableError,
)
from flowcore.graph.policy import Cache as CachePolicy
from flowcore.graph.policy import CircuitBreaker
from flowcore.ports.breaker import Breakers, Circuit, Verdict
from flowcore.ports.cache import Cache
from flowcore.ports.limiter import Limiter, Places, RateLimitState
from flowcore.ports.store import AttemptRef, Outcome
from flowcore.run.event import EventType
from flowcore.run.reference import is_reference

__all__ = ["Hooks", "PolicyPipeline", "SharedState", "is_wanted", "plain_digest"]

_log = logging.getLogger(__name__)

Ended: TypeAlias = bytes | AttemptResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """State that all workers share."""

    limiter: Limiter
    breakers: Breakers
    cache: Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Operations that the executor performs for the policies."""

    attempt: Callable[[AttemptContext], Ended]
    """Calls the node's function."""
    failed: Callable[[AttemptContext, BaseException], AttemptResult]
    """Says what comes of a failure."""
    known: Callable[[AttemptContext, bytes], Ended]
    """Ends an attempt with an output that was known already."""
    arguments: Callable[[AttemptContext], bytes]
    """The arguments of the node's function, packed."""
    tell: Callable[[AttemptContext, EventType, Mapping[str, Any]], object]
    """Writes to the run's log."""
    wake: Callable[[AttemptRef], object]
    """Hears of a node whose turn it is under a limit."""
    stands: Callable[[AttemptRef], bool]
    """Whether an attempt is still to go on."""
    digest: Callable[[bytes], bytes]
    """Hashes what a cache goes by."""


class PolicyPipeline:
    """Stands before the functions of nodes with such policies."""

    def __init__(self, shared: SharedState, keeper: Heartbeater, hooks: Hooks) -> None:
        """Keep the ports."""
        self._shared = shared
        self._keeper = keeper
        self._do = hooks

    def run(self, work: AttemptContext) -> Ended:
        """Make the attempt, if it may be and has to be made."""
        policy = work.plan.policy(work.node)
        try:
            wanted = work.failure is not None or policy.condition is None
            if not wanted and not is_wanted(policy.condition or "", work):
                return ended(work, Outcome(kind="skipped"))
            if policy.cache is not None:
                return self._cached(work, policy.cache)
            return self._limited(work)
        except (StoreUnreachableError, StoreFullError):
            raise
        except FlowcoreError as error:
            return self._do.failed(work, error)

    def stuck(self, work: AttemptContext, error: BaseException) -> None:
        """An attempt has failed that cannot be left, and so does not come back to its guard."""
        policy = work.plan.policy(work.node)
        if policy.circuit_breaker is None:
            return
        try:
            circuit = _circuit(policy.circuit_breaker, work)
            self._leave(work, circuit, _verdict(policy.circuit_breaker, error))
        except FlowcoreError as trouble:
            _log.warning("a failure was not counted by its circuit breaker: %s", trouble)

    # ── an output that is known already ─────────────────────────────────────────────────────────

    def _cached(self, work: AttemptContext, policy: CachePolicy) -> Ended:
        key = self._key(policy, work)
        # One works it out; the others wait in its line, and are woken one by one.
        flight = self._throttle(work, places=Places(f"cache:{key}", 1), what="the cache")
        if not _goes_on(work):
            if (found := self._shared.cache.get(key)) is not None:
                flight.release(self._do.wake)  # it may have waited, and been given the place
                return self._known(work, found)
            if (wait := flight.acquire(self._do.wake)) is not None:
                return ended(work, Outcome(kind="waiting", wait=wait))
        return self._within(work, flight, partial(self._found_out, work, key, policy))

    def _found_out(self, work: AttemptContext, key: str, policy: CachePolicy) -> Ended:
        if not _goes_on(work) and (found := self._shared.cache.get(key)) is not None:
            return self._known(work, found)
        found_out = self._limited(work)
        self._keep(key, policy, found_out)
        return found_out

    def _known(self, work: AttemptContext, found: bytes) -> Ended:
        self._do.tell(work, EventType.NODE_CACHED, {})
        return self._do.known(work, found)

    def _keep(self, key: str, policy: CachePolicy, came_to: Ended) -> None:
        output = _output(came_to)
        if output is None:
            return
        if is_reference(output):
            _log.warning("an output that goes to the payload store is not cached: %s", key)
            return
        self._shared.cache.put(key, output, ttl=policy.ttl)

    def _key(self, policy: CachePolicy, work: AttemptContext) -> str:
        """The name, and what the output counts for; hashed with a key, for it may be secret."""
        name = policy.name or default_policy_name(work)
        if policy.key is None:
            told = self._do.arguments(work)
        else:
            told = named("", policy.key, work).encode()
        return f"{name}:{self._do.digest(told).hex()}"

    # ── places and turns ────────────────────────────────────────────────────────────────────────

    def _limited(self, work: AttemptContext) -> Ended:
        policy = work.plan.policy(work.node)
        if not policy.concurrency and not policy.rate_limit:
            return self._tried(work)
        places, rate = limits_of(policy, default_policy_name(work), work)
        if work.resumed is not None or work.failure is not None:
            rate = None  # it has had its turn
        throttle = self._throttle(work, places=places, rate=rate)
        wait = None if _has_place(work) else throttle.acquire(self._do.wake)
        if wait is not None:
            return ended(work, Outcome(kind="waiting", wait=wait))
        return self._within(work, throttle, partial(self._tried, work))

    def _throttle(
        self,
        work: AttemptContext,
        *,
        places: Places | None,
        rate: RateLimitState | None = None,
        what: str = "the limit",
    ) -> AttemptLimits:
        return AttemptLimits(
            self._shared.limiter,
            work.ticket,
            places=places,
            rate=rate,
            what=what,
            stands=self._do.stands,
        )

    def _within(
        self, work: AttemptContext, throttle: AttemptLimits, do: Callable[[], Ended]
    ) -> Ended:
        """Do something in the place that was taken."""
        came_to: Ended | None = None
        try:
            with self._keeper.place(self._shared.limiter, throttle.held):
                came_to = do()
                return came_to
        finally:
            if _keeps_place(work, came_to):
                throttle.keep()
            else:
                throttle.release(self._do.wake)

    # ── circuits ────────────────────────────────────────────────────────────────────────────────

    def _tried(self, work: AttemptContext) -> Ended:
        policy = work.plan.policy(work.node).circuit_breaker
        if policy is None:
            return self._do.attempt(work)
        circuit = _circuit(policy, work)
        passed = _goes_on(work)
        wait = None if passed else self._shared.breakers.enter(circuit, attempt_key(work.ticket))
        if wait is not None:
            raise CircuitOpenError(
                f"the circuit breaker {circuit.name} is open for {wait:.1f} s more, after "
                f"{circuit.failures} failures within {circuit.within:g} s"
            )
        came_to = self._do.attempt(work)
        if _waits_inside(came_to):
            return came_to
        verdict: Verdict = "succeeded" if _output(came_to) is not None else None
        if isinstance(came_to, AttemptResult) and came_to.error is not None:
            verdict = _verdict(policy, came_to.error)
        self._leave(work, circuit, verdict)
        return came_to

    def _leave(self, work: AttemptContext, circuit: Circuit, verdict: Verdict) -> None:
        change = self._shared.breakers.leave(circuit, attempt_key(work.ticket), verdict)
        if change is not None:
            _log.warning("the circuit breaker %s is %s", circuit.name, change)
            self._do.tell(work, EventType.NODE_CIRCUIT, {"name": circuit.name, "state": change})


def plain_digest(data: bytes) -> bytes:
    """Hash without a key: enough where nobody else can read the cache."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _goes_on(work: AttemptContext) -> bool:
    """Return whether this is a further turn of an attempt that was let through already."""
    if work.failure is not None:
        return True
    return work.resumed is not None and work.plan.policy(work.node).body is not None


def _has_place(work: AttemptContext) -> bool:
    """Return whether an attempt has kept its place while it waited."""
    keeps = work.plan.policy(work.node).keeps_place
    return _goes_on(work) or (work.resumed is not None and bool(keeps))


def _keeps_place(work: AttemptContext, came_to: Ended | None) -> bool:
    """Return whether an attempt keeps its slot: it waits for a child run, or its type does."""
    if came_to is None:
        return _has_place(work)
    if not isinstance(came_to, AttemptResult) or came_to.outcome.wait is None:
        return False
    keeps = work.plan.policy(work.node).keeps_place and came_to.outcome.wait.resumes
    return _waits_inside(came_to) or bool(keeps)


def _waits_inside(came_to: Ended | None) -> bool:
    """Return whether an attempt waits for a run that it has started."""
    if not isinstance(came_to, AttemptResult) or came_to.outcome.wait is None:
        return False
    return came_to.outcome.wait.child is not None


def default_policy_name(work: AttemptContext) -> str:
    """Return the name of a node's own limit."""
    return f"{work.plan.flow}.{work.plan.label(work.node)}"


def is_wanted(condition: str, work: AttemptContext) -> bool:
    """Say whether a node's own condition, its ``if``, holds.

    Raises:
        ExpressionError: It cannot be worked out.
    """
    return holds(condition, work.upstream, what=f"'if' of node {work.name!r}", node=work.node)


def _circuit(policy: CircuitBreaker, work: AttemptContext) -> Circuit:
    return Circuit(
        name=named(policy.name or default_policy_name(work), policy.key, work),
        failures=policy.failures,
        within=policy.within,
        reset_after=policy.reset_after,
        trials=policy.trials,
    )


def _verdict(policy: CircuitBreaker, error: BaseException) -> Verdict:
    """Classify a failed attempt for the breaker; one stopped from outside is not counted."""
    if isinstance(error, NodeCancelledError | ExpressionError):
        return None
    names = (
        names_of(error.failure.type) if isinstance(error, ChildRunFailed) else error_names(error)
    )
    counts = not policy.count or not names.isdisjoint(policy.count)
    return "failed" if counts else "succeeded"


def _output(came_to: Ended) -> bytes | None:
    """The output that the function itself gave: none of a fallback."""
    if isinstance(came_to, bytes):
        return came_to
    good = came_to.outcome.kind == "succeeded" and came_to.error is None
    return cast("bytes", came_to.outcome.output) if good else None
