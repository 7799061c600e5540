"""Handling of a failed attempt: another one, a fallback's output, or the node's failure.

In: an error, or a failure that a run inside has had. Out: an Outcome. Not here: recording it
(values.store_writes), how long to wait (retry), calling a fallback's function (fallback).
"""

import logging
import random
from dataclasses import replace

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.attempts.conditions import dead_edges
from flowcore.engine.attempts.context import ContextFactory
from flowcore.engine.policies.fallback import Fallbacks, FallbacksExhausted
from flowcore.engine.policies.retry import next_delay
from flowcore.engine.values.failure import describe, error_names, names_of
from flowcore.engine.values.payloads import Payloads
from flowcore.engine.values.store_writes import unrecordable
from flowcore.errors import (
    FlowcoreError,
    NodeCancelledError,
    StoreFullError,
    StoreUnreachableError,
)
from flowcore.errors.advice import advice_of
from flowcore.ports.store import Outcome
from flowcore.run.event import EventType
from flowcore.run.record import Failure

__all__ = ["FailureHandler"]

_log = logging.getLogger(__name__)


class FailureHandler:
    """Decides on failures."""

    def __init__(self, payloads: Payloads, fallbacks: Fallbacks, speaker: ContextFactory) -> None:
        """Pack outputs of fallbacks with ``payloads``; tell the run's log through ``speaker``."""
        self._payloads = payloads
        self._fallbacks = fallbacks
        self._speaker = speaker

    def of_error(
        self, error: BaseException, work: AttemptContext, *, done: bool = False
    ) -> Outcome:
        """Decide what a failed attempt becomes: another attempt, or the node's failure.

        Args:
            error: What was raised.
            work: The attempt.
            done: The node has done its work: neither another attempt nor a fallback is better.
        """
        try:
            return self._of_error(error, work, done=done)
        except (StoreUnreachableError, StoreFullError):
            raise
        except Exception as trouble:  # noqa: BLE001
            # The function has run: it is not run again because the engine stumbles over its error.
            _log.exception("a failure of node %s of run %s was not understood", work.name, work.run)
            return Outcome(kind="failed", failure=unrecordable(trouble, work.name, work.attempt))

    def _of_error(self, error: BaseException, work: AttemptContext, *, done: bool) -> Outcome:
        failure = _described(error, work)
        if isinstance(error, NodeCancelledError):
            return Outcome(kind="cancelled", failure=failure)
        advice = advice_of(error)
        names = None if done or advice.final else error_names(error)
        return self.decided(failure, work, names=names, falls=not done, after=advice.after)

    def decided(
        self,
        failure: Failure,
        work: AttemptContext,
        *,
        names: frozenset[str] | None = frozenset(),
        falls: bool = True,
        after: float | None = None,
    ) -> Outcome:
        """Decide what comes of a failure.

        Args:
            failure: What happened.
            work: The attempt.
            names: Those of the error's class and its bases; None: another attempt makes no sense.
            falls: Whether a fallback may stand in.
            after: Seconds that the other side has asked to wait before another attempt.
        """
        if failure.fallen:
            return self._lost(replace(failure, fallen=None), work)
        retry = work.plan.policy(work.node).retry
        delay = next_delay(
            None if names is None else retry,
            failures=work.chance - work.before,
            names=names or names_of(failure.type),
            random=random.random,
            after=after,
        )
        if delay is not None:
            return Outcome(kind="retry", failure=failure, delay=delay)
        if falls and work.plan.policy(work.node).fallback:
            return self._fallen(failure, work)
        return self._lost(failure, work)

    def _lost(self, failure: Failure, work: AttemptContext) -> Outcome:
        try:
            dead = dead_edges(work.plan, work.node, work.upstream, state="failed")
        except FlowcoreError:
            # Both the node and a condition on it failed: the node's own error is the one to tell.
            dead = ()
        return Outcome(kind="failed", failure=failure, dead=dead)

    def _fallen(self, failure: Failure, work: AttemptContext) -> Outcome:
        """Succeed with a fallback, and say in the run's log what led there."""
        what = f"fallback of node {work.name!r}"
        try:
            value, uses = self._fallbacks.value(work, failure)
            value = work.hidden(value, what=what)
            packed = self._payloads.pack(value, run=work.run, what=what)
            work.upstream.put_packed(work.node, packed)
            dead = dead_edges(work.plan, work.node, work.upstream, state="succeeded")
        except (StoreUnreachableError, StoreFullError):
            raise
        except FallbacksExhausted as nothing:
            told = work.hidden_error(nothing.failure.message)  # a fallback's words are in it
            return self._lost(replace(nothing.failure, message=told), work)
        except FlowcoreError as error:
            return Outcome(kind="failed", failure=_described(error, work))
        met = {"type": failure.type, "message": failure.message}
        about = {"error": met} if uses is None else {"error": met, "uses": uses}
        self._speaker.tell(work, EventType.NODE_FALLBACK, about)
        return Outcome(kind="succeeded", output=packed, dead=dead)


def _described(error: BaseException, work: AttemptContext) -> Failure:
    """The error as plain data, without the secrets that the attempt has read."""
    return describe(
        error,
        node=work.name,
        attempt=work.attempt,
        worker=work.worker,
        hide=work.hidden_error,
    )
