"""EXECUTE: one attempt of one node, from claim to outcome.

In: a ticket. Out: an Outcome, or None when the ticket is not (any longer) ours to run.
Not here: recording it (complete), messages (backends).
"""

import logging
import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flowcore.engine.bind import Signature, bind, signature_of
from flowcore.engine.complete import dead_edges
from flowcore.engine.invoke import Invoker, Stopper
from flowcore.engine.leases import LeaseKeeper
from flowcore.engine.payloads import Payloads
from flowcore.engine.retry import error_names, next_delay, qualified_name
from flowcore.engine.upstream import Upstream
from flowcore.errors import FlowcoreError, NodeCancelledError
from flowcore.expr.template import Template, compile_template
from flowcore.nodes.context import Context
from flowcore.nodes.resolve import resolve
from flowcore.plan.plan import Plan
from flowcore.ports.store import Claim, EventLog, Outcome, RunReader, RunStore, Ticket
from flowcore.run.record import Failure

__all__ = ["Attempt", "Executor"]

_log = logging.getLogger("flowcore.node")

#: Outputs of more predecessors than this are fetched apart, a portion at a time.
_WITH_CLAIM = 16

_HERE = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What is known of a node before it runs, worked out once per process."""

    function: Callable[..., Any]
    signature: Signature
    template: Template
    wanted: tuple[int, ...]
    """Nodes whose outputs it will most likely read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A claimed node and how its attempt ended."""

    ticket: Ticket
    plan: Plan
    outcome: Outcome
    error: BaseException | None = None


class Executor:
    """Runs attempts in this process."""

    def __init__(  # noqa: PLR0913  (the ports it works with, and two limits)
        self,
        *,
        store: RunStore,
        reader: RunReader,
        events: EventLog,
        keeper: LeaseKeeper,
        payloads: Payloads,
        allowed: frozenset[str] = frozenset(),
        on_stuck: Callable[[Ticket, Plan, Outcome, str], object] = lambda *_: None,
        on_first: Callable[[Ticket, Plan, str], object] = lambda *_: None,
    ) -> None:
        """Keep the ports.

        Args:
            store: The run store.
            reader: For outputs that did not come with the claim.
            events: For what nodes emit.
            keeper: Renews the leases of what runs.
            payloads: Packs outputs, and keeps the large ones elsewhere.
            allowed: Module prefixes nodes may come from, beyond the default.
            on_stuck: Records an attempt of a worker that timed out and does not end.
            on_first: Hears of a claim that started its run, and of the worker that made it.
        """
        self._store = store
        self._reader = reader
        self._events = events
        self._keeper = keeper
        self._invoker = Invoker()
        self._payloads = payloads
        self._allowed = allowed
        self._on_stuck = on_stuck
        self._on_first = on_first
        self._prepared: dict[tuple[str, int], _Prepared] = {}

    def run(self, ticket: Ticket, plan: Plan, *, worker: str) -> Attempt | None:
        """Claim, run, and say how it ended; None when somebody else has the node."""
        prepared: _Prepared | None = None
        error: BaseException | None = None
        try:
            prepared = self._prepare(plan, ticket.node)
        except Exception as trouble:  # noqa: BLE001  (a user's module may raise anything on import)
            error = trouble
        wanted = prepared.wanted if prepared else ()
        claim = self._store.claim(ticket, worker=worker, outputs_of=wanted)
        if claim is None:
            return None
        if claim.first:
            self._on_first(ticket, plan, worker)
        upstream = Upstream(
            run=ticket.run,
            plan=plan,
            reader=self._reader,
            known=claim.outputs,
            payloads=self._payloads,
        )
        if prepared is not None:
            outcome, error = self._attempt(prepared, claim, plan, upstream, worker)
        else:
            outcome = self._failed(cast("Exception", error), claim, plan, upstream, worker)
        return Attempt(ticket=ticket, plan=plan, outcome=outcome, error=error)

    def run_inline(self, plan: Plan, node: int, *, upstream: Upstream, run: str) -> Any:
        """Run one node here and now, without a claim and without recording anything.

        For a plan that somebody else drives, such as a Celery canvas; its events go nowhere.

        Raises:
            Exception: Whatever the node raised.
        """
        prepared = self._prepare(plan, node)
        ticket = Ticket(run=run, node=node, attempt=1)
        return self._call(prepared, ticket, plan, upstream, Stopper(), worker="")

    def _prepare(self, plan: Plan, node: int) -> _Prepared:
        key = (plan.hash, node)
        found = self._prepared.get(key)
        if found is not None:
            return found
        function = resolve(plan.policy(node).uses, allowed=self._allowed).function
        signature = signature_of(function)
        template = compile_template(plan.params[node])
        given = plan.params[node]
        open_ = [name for name in (*signature.required, *signature.optional) if name not in given]
        refs = template.node_refs
        wanted = [source for source in plan.pred[node] if open_ or plan.ids[source] in refs]
        if not signature.known and not given:
            wanted = list(plan.pred[node])
        prepared = _Prepared(
            function=function,
            signature=signature,
            template=template,
            wanted=tuple(wanted[-_WITH_CLAIM:]),
        )
        if len(self._prepared) > 200_000:  # noqa: PLR2004  (a bound on memory, not a meaning)
            self._prepared.clear()
        self._prepared[key] = prepared
        return prepared

    def _attempt(
        self, prepared: _Prepared, claim: Claim, plan: Plan, upstream: Upstream, worker: str
    ) -> tuple[Outcome, BaseException | None]:
        ticket = claim.ticket
        stopper = Stopper()
        stopper.on_stuck = lambda error: self._on_stuck(
            ticket, plan, self._failed(error, claim, plan, upstream, worker), worker
        )
        self._keeper.hold(ticket, stopper)
        try:
            value = self._call(prepared, ticket, plan, upstream, stopper, worker)
            what = f"output of node {plan.ids[ticket.node]!r}"
            packed = self._payloads.pack(value, run=ticket.run, what=what)
            dead: tuple[int, ...] = ()
            if plan.when:
                upstream.put(ticket.node, value)
                dead = dead_edges(plan, ticket.node, upstream, state="succeeded")
        except Exception as error:  # noqa: BLE001  (a node may raise anything; it is recorded)
            return self._failed(error, claim, plan, upstream, worker), error
        finally:
            self._keeper.drop(ticket)
        return Outcome(kind="succeeded", output=packed, dead=dead), None

    def _call(
        self,
        prepared: _Prepared,
        ticket: Ticket,
        plan: Plan,
        upstream: Upstream,
        stopper: Stopper,
        worker: str,
    ) -> Any:
        given = plan.params[ticket.node]
        if prepared.template.names:
            context = upstream.context(prepared.template.node_refs, names=prepared.template.names)
            # A template has the shape of what it was made from: here, a map.
            given = cast("Mapping[str, Any]", prepared.template.render(context))
        args, kwargs = bind(
            prepared.signature,
            given,
            plan=plan,
            node=ticket.node,
            upstream=upstream,
            context=self._context(ticket, plan, upstream, stopper, worker),
        )
        return self._invoker.call(
            prepared.function,
            args,
            kwargs,
            timeout=plan.policy(ticket.node).timeout,
            stopper=stopper,
        )

    def _context(
        self, ticket: Ticket, plan: Plan, upstream: Upstream, stopper: Stopper, worker: str
    ) -> Context:
        name = plan.ids[ticket.node]
        facts = {"run": ticket.run, "node": name, "attempt": ticket.attempt}
        return Context(
            run_id=ticket.run,
            flow=plan.flow,
            node_id=name,
            attempt=ticket.attempt,
            logger=logging.LoggerAdapter(_log, facts),
            worker=worker,
            stopping=stopper.stopping,
            _inputs=lambda: upstream.inputs,
            _emit=lambda data: self._events.append(ticket, data),
        )

    def _failed(
        self, error: BaseException, claim: Claim, plan: Plan, upstream: Upstream, worker: str
    ) -> Outcome:
        """Decide what a failed attempt becomes: another attempt, or the node's failure."""
        ticket = claim.ticket
        failure = describe(error, node=plan.ids[ticket.node], attempt=ticket.attempt, worker=worker)
        if isinstance(error, NodeCancelledError):
            return Outcome(kind="cancelled", failure=failure)
        delay = next_delay(
            plan.policy(ticket.node).retry,
            failures=ticket.attempt - claim.lost,
            names=error_names(error),
            random=random.random,
        )
        if delay is not None:
            return Outcome(kind="retry", failure=failure, delay=delay)
        try:
            dead = dead_edges(plan, ticket.node, upstream, state="failed")
        except FlowcoreError:
            # Both the node and a condition on it failed: the node's own error is the one to tell.
            dead = ()
        return Outcome(kind="failed", failure=failure, dead=dead)


def _sentence(error: BaseException) -> str:
    """The error's own words; the ``__str__`` of a user's class may raise in its turn."""
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001  (whatever it is, the node's failure is recorded)
        return f"(its text cannot be shown: {qualified_name(type(trouble))})"


def describe(error: BaseException, *, node: str, attempt: int, worker: str) -> Failure:
    """Put an exception into plain data; frames of the engine itself are left out."""
    frames = traceback.extract_tb(error.__traceback__)
    own: Sequence[traceback.FrameSummary] = [f for f in frames if not f.filename.startswith(_HERE)]
    lines = traceback.format_list(list(own)) + traceback.format_exception_only(error)
    return Failure(
        type=qualified_name(type(error)),
        message=_sentence(error),
        code=error.code if isinstance(error, FlowcoreError) else None,
        traceback="Traceback (most recent call last):\n" + "".join(lines) if own else None,
        node=node,
        attempt=attempt,
        worker=worker,
    )
