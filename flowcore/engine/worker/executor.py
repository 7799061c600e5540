"""EXECUTE: one attempt of one node, from claim to outcome.

In: a ticket. Out: an Outcome, or None when the ticket is not (any longer) ours to run.
Not here: recording it (values.store_writes), messages (backends).
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from flowcore.engine.attempts.arguments import given_of, packed_arguments, rendered
from flowcore.engine.attempts.attempt import AttemptContext, AttemptResult, ended, shown_error
from flowcore.engine.attempts.binding import bind
from flowcore.engine.attempts.conditions import dead_edges
from flowcore.engine.attempts.context import ContextFactory
from flowcore.engine.attempts.decorator_policies import Marked
from flowcore.engine.attempts.generators import streaming
from flowcore.engine.attempts.heartbeat import Heartbeater
from flowcore.engine.attempts.invocation import CancelHandle, Invoker
from flowcore.engine.attempts.output_validation import validate_output
from flowcore.engine.attempts.preparation import NodePreparer, PreparedNode, Substitute
from flowcore.engine.attempts.suspension import forget_task, send_task, suspended
from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.child_runs.child_run import ChildRunFailed
from flowcore.engine.child_runs.item_feed import feeding
from flowcore.engine.policies.failure_handler import FailureHandler
from flowcore.engine.policies.fallback import Fallbacks
from flowcore.engine.policies.pipeline import (
    Hooks,
    PolicyPipeline,
    is_wanted,
)
from flowcore.engine.worker.ports import ExecutorPorts
from flowcore.errors import (
    FlowcoreError,
    NodeTimeoutError,
    StoreFullError,
    StoreUnreachableError,
    UsageError,
)
from flowcore.nodes.types.builtin import Suspend
from flowcore.nodes.types.celery_task import TaskCall
from flowcore.plan.plan import Plan
from flowcore.plan.policy import StructuredSpec
from flowcore.ports.store import AttemptRef, Outcome
from flowcore.run.wire import COMBINED, pack

__all__ = ["Executor"]

_NIL = pack(None)


class Executor:
    """Runs attempts in this process."""

    def __init__(
        self,
        ports: ExecutorPorts,
        *,
        keeper: Heartbeater,
        substitute: Substitute | None = None,
        on_stuck: Callable[[AttemptRef, Plan, Outcome, str], object] = lambda *_: None,
        on_first: Callable[[str, Plan, str], object] = lambda *_: None,
        on_wake: Callable[[AttemptRef], object] = lambda _: None,
    ) -> None:
        """Keep the ports.

        Args:
            ports: The stores and services that attempts use.
            keeper: Renews the leases of what runs.
            substitute: Puts other functions in the place of nodes', for tests.
            on_stuck: Records an attempt of a worker that timed out and does not end.
            on_first: Called with a run that a claim has started, and the worker that made it.
            on_wake: Called with a node that was granted a slot under a limit.
        """
        self._store, self._reader = ports.store, ports.reader
        self._spawner, self._sender, self._secrets = ports.spawner, ports.sender, ports.secrets
        self._payloads, self._digest = ports.payloads, ports.digest
        self._keeper = keeper
        self._invoker = Invoker(keeper.record)
        self._on_stuck = on_stuck
        self._on_first = on_first
        self._speaker = ContextFactory(ports.events, ports.limits, ports.memory)
        self._attempt = self._speaker.hearing(self.attempt)
        self._guard = PolicyPipeline(
            ports.shared,
            keeper,
            Hooks(
                attempt=partial(self._once, asked=True),
                failed=lambda work, error: ended(
                    work, self._failures.of_error(error, work), error=error
                ),
                known=self._passed,
                arguments=self._arguments,
                tell=self._speaker.tell,
                wake=on_wake,
                stands=self._stands,
                digest=ports.digest,
            ),
        )
        fallbacks = Fallbacks(self._invoker, keeper, context=self._speaker.context, given=given_of)
        self._failures = FailureHandler(ports.payloads, fallbacks, self._speaker)
        self._prepared = NodePreparer(substitute, self._invoker.unlimited)
        self.marked = Marked()

    def close(self) -> None:
        """End the threads of this process's attempts; another attempt starts new ones."""
        self._invoker.close()
        self._speaker.close()

    def run(self, ticket: AttemptRef, plan: Plan, *, worker: str) -> AttemptResult | None:
        """Claim, run, and say how it ended; None when somebody else has the node."""
        # A module's first import comes after the claim, which counts the attempt: it may take
        # long, and may even end this process.
        known = self._prepared.known(plan, ticket.node)
        wanted = known.wanted if known else ()
        claim = self._store.claim(ticket, worker=worker, outputs_of=wanted)
        if claim is None:
            return None
        ticket = claim.ticket
        if claim.first:
            self._on_first(ticket.run, plan, worker)
        work = AttemptContext(
            run=ticket.run,
            plan=plan,
            node=ticket.node,
            attempt=ticket.attempt,
            turn=ticket.turn,
            lost=claim.lost,
            before=claim.before,
            upstream=Upstream(
                run=ticket.run,
                plan=plan,
                reader=self._reader,
                known=claim.outputs,
                payloads=self._payloads,
            ),
            stopper=CancelHandle(),
            worker=worker,
            resumed=claim.resumed,
            failure=claim.failure,
            secrets=self._secrets,
        )
        if waits := self.marked.waits(work, alone=True):
            return ended(work, waits)
        plan = work.plan
        if self._keeper.record is None:  # else the parent of this process ends it, and records it
            work.stopper.on_stuck = lambda error: self._stuck(error, work)
        self._keeper.hold(ticket, work.stopper, plan=plan.hash, claim=claim)
        began = time.monotonic()
        try:
            policy = plan.policy(ticket.node)
            with self._invoker.limited(policy.timeout):
                came_to = self._guard.run(work) if policy.guarded else self._once(work)
        finally:
            self._keeper.drop(ticket)
        seconds = time.monotonic() - began
        if isinstance(came_to, AttemptResult):
            return replace(came_to, seconds=seconds, error=shown_error(came_to))
        outcome = Outcome(kind="succeeded", output=came_to)
        return ended(work, outcome, seconds=seconds)

    def _stuck(self, error: BaseException, work: AttemptContext) -> None:
        """Record an attempt that cannot be ended; a fallback may take its time, so apart."""

        def record() -> None:
            self._guard.stuck(work, error)
            outcome = self._failures.of_error(error, work, done=work.fallen)
            self._on_stuck(work.ticket, work.plan, outcome, work.worker)

        threading.Thread(target=record, name="flowcore-stuck", daemon=True).start()

    def fetch(self, plan: Plan, nodes: Iterable[int], upstream: Upstream) -> None:
        """Fetch in one go what these nodes will most likely read."""
        wanted: dict[int, None] = {}
        for node in nodes:
            known = self._prepared.known(plan, node)
            if known is not None and known.wanted:
                wanted.update(dict.fromkeys(known.wanted))
        if wanted:
            upstream.fetch(wanted)

    def run_inline(
        self, plan: Plan, node: int, *, upstream: Upstream, run: str, attempt: int = 1
    ) -> Any:
        """Run one node here and now, without a claim and without recording anything.

        For a plan that somebody else drives, such as a Celery canvas; its events go nowhere.

        Raises:
            Exception: Whatever the node raised.
        """
        known = self.marked.plan(plan, node)
        work = AttemptContext(
            run=run,
            plan=known,
            node=node,
            upstream=upstream,
            stopper=CancelHandle(),
            attempt=attempt,
        )
        return self._value(self._prepared.of(plan, node), work)

    def attempt_in_unit(self, work: AttemptContext) -> bytes | AttemptResult:
        """Make an attempt of a node that shares its message with others, if it may."""
        policy = work.plan.policies[work.plan.policy_of[work.node]]
        if policy.own is not None and (waits := self.marked.waits(work, alone=False)):
            return ended(work, waits)
        return self._attempt(work)

    def attempt(self, work: AttemptContext, *, asked: bool = False) -> bytes | AttemptResult:
        """Make an attempt that is claimed already.

        Args:
            work: The attempt.
            asked: The node's own condition was worked out before, and holds.

        Returns:
            The output of a plain success, packed; otherwise how the attempt ended.
        """
        plan, node = work.plan, work.node
        work.secrets = self._secrets
        try:
            body = plan.policies[plan.policy_of[node]].body
            if body is not None:
                return self._structured(work, body)
            prepared = self._prepared.of(plan, node)
            if prepared.condition and not asked and not is_wanted(prepared.condition, work):
                return ended(work, Outcome(kind="skipped"))
            value = self._value(prepared, work)
            packed = _NIL
            if value is not None:
                what = f"output of node {work.name!r}"
                packed = self._payloads.pack(value, run=work.run, what=what)
            return self._passed(work, packed)
        except Suspend as park:
            return ended(work, suspended(park, work))
        except TaskCall as call:
            return self._sent(call, work)
        except (StoreUnreachableError, StoreFullError):
            # The engine's trouble, and none of the node's: when the lease is over it is run again.
            raise
        except Exception as error:  # noqa: BLE001  (a node may raise anything; it is recorded)
            forget_task(work, error, self._sender)
            return ended(work, self._failures.of_error(error, work), error=error)

    def _once(self, work: AttemptContext, *, asked: bool = False) -> bytes | AttemptResult:
        """Make an attempt, or decide on one that has failed in a process that is gone."""
        if (failure := work.failure) is None:
            return self._attempt(work, asked=asked)
        error = NodeTimeoutError(failure.message)
        forget_task(work, error, self._sender)
        return ended(work, self._failures.decided(failure, work), error=error)

    def _sent(self, call: TaskCall, work: AttemptContext) -> AttemptResult:
        """Have somebody else's task run, and wait for it."""
        try:
            return ended(work, send_task(call, work, self._sender))
        except Exception as error:  # noqa: BLE001  (what was given to the task may be anything)
            return ended(work, self._failures.of_error(error, work), error=error)

    def _value(self, prepared: PreparedNode, work: AttemptContext) -> Any:
        if prepared.bare:
            timeout = work.plan.policy(work.node).timeout
            value = self._invoker.call(
                prepared.function, (), {}, timeout=timeout, stopper=work.stopper
            )
        else:
            try:
                value = self._call(prepared, work)
            finally:
                self._speaker.finish(work)
        if prepared.schema is not None or prepared.model is not None:
            value = validate_output(
                value, schema=prepared.schema, model=prepared.model, node=work.name
            )
        if work.redactor is None:
            return value
        return work.hidden(value, what=f"output of node {work.name!r}")

    def _structured(self, work: AttemptContext, body: StructuredSpec) -> bytes | AttemptResult:
        """Have the turn of a node that starts a run of its own."""
        condition = work.plan.policy(work.node).condition
        if condition and work.resumed is None and not is_wanted(condition, work):
            return ended(work, Outcome(kind="skipped"))
        if self._spawner is None:
            raise UsageError(f"node {work.name!r} starts a run, which cannot be done here")
        try:
            if body.source:
                drain, key = partial(self._drain, work), partial(self._source_key, work)
                came_to = self._spawner.sources.turn(work, body, drain, key)
            else:
                came_to = self._spawner.turn(work, body)
        except ChildRunFailed as child:
            # The source's retries are not for the items, which have their own.
            names: frozenset[str] | None = None if body.source else frozenset()
            decided = self._failures.decided(child.failure, work, names=names)
            return ended(work, decided, error=child)
        if isinstance(came_to, Outcome):
            return ended(work, came_to)
        schema = work.plan.policy(work.node).output
        came_to = validate_output(came_to, schema=schema, model=None, node=work.name)
        what = f"output of node {work.name!r}"
        packed = self._payloads.pack(came_to, run=work.run, what=what, deepest=COMBINED)
        return self._passed(work, packed)

    def _drain(self, work: AttemptContext, put: Callable[[Any], object]) -> None:
        """Call the function that gives a map its items."""
        prepared = self._prepared.of(work.plan, work.node)
        try:
            self._call(prepared, work, put=put)
        except Suspend:
            msg = f"the source of the items of node {work.name!r} cannot wait without its worker"
            raise UsageError(msg) from None
        finally:
            self._speaker.finish(work)

    def _source_key(self, work: AttemptContext) -> str:
        """The arguments of that function, as a hash."""
        prepared = self._prepared.of(work.plan, work.node)
        return self._digest(packed_arguments(prepared, work, self._speaker.context(work))).hex()

    def _passed(self, work: AttemptContext, packed: bytes) -> bytes | AttemptResult:
        """End an attempt that has an output: the conditions on it have their say."""
        plan, node = work.plan, work.node
        if not plan.when or not plan.is_conditional(node):
            return packed
        work.upstream.put_packed(node, packed)
        try:
            dead = dead_edges(plan, node, work.upstream, state="succeeded")
        except (StoreUnreachableError, StoreFullError):
            raise
        except FlowcoreError as error:
            # The output is good, and no fallback would be better.
            return ended(work, self._failures.of_error(error, work, done=True), error=error)
        # With no edge dead it is a success like any other, which a unit records with the next ones.
        return ended(work, Outcome(kind="succeeded", output=packed, dead=dead)) if dead else packed

    def _stands(self, ticket: AttemptRef) -> bool:
        state = self._reader.states(ticket.run, [ticket.node]).get(ticket.node)
        return state is not None and not state.is_terminal

    def _arguments(self, work: AttemptContext) -> bytes:
        """The arguments of the node's function, but for its context, packed."""
        body = work.plan.policy(work.node).body
        if body is not None and self._spawner is not None:
            return self._spawner.arguments(work, body)
        prepared = self._prepared.of(work.plan, work.node)
        return packed_arguments(prepared, work, self._speaker.context(work))

    def _call(
        self,
        prepared: PreparedNode,
        work: AttemptContext,
        *,
        put: Callable[[Any], object] | None = None,
    ) -> Any:
        """Call a node's function; what it yields goes to ``put``, or else to the run's log."""
        plan, node = work.plan, work.node
        timeout = plan.policy(node).timeout
        args, kwargs = bind(
            prepared.signature,
            rendered(prepared.template, work),
            plan=plan,
            node=node,
            upstream=work.upstream,
            context=(about := self._speaker.context(work)),
        )
        function = prepared.function
        if put is not None:
            what = f"item of node {work.name!r}"
            function = feeding(function, lambda item: put(work.hidden(item, what=what)))
        elif prepared.chunks:
            function = streaming(function, about.token)
        return self._invoker.call(function, args, kwargs, timeout=timeout, stopper=work.stopper)
