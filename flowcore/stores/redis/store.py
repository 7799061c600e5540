"""The run store on Redis: each command is one Lua script.

In: the engine's commands. Out: what the scripts answered. Not here: reading (reader).
"""

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from typing import Any

import msgpack

from flowcore.errors import ServiceError
from flowcore.plan.plan import Plan
from flowcore.ports.store import (
    Advance,
    Claim,
    Dispatch,
    NewRun,
    Outcome,
    Submitted,
    Sweep,
    Ticket,
)
from flowcore.run.record import DEADLINE_PASSED, WORKER_LOST, Failure
from flowcore.run.status import RunState
from flowcore.stores.redis.connect import Client, translated
from flowcore.stores.redis.keys import plan_key, web_entries, web_key
from flowcore.stores.redis.script import Line, Script

__all__ = ["Leases", "RedisStore", "script_source"]

_WEB_CHUNK = 5000

#: What ``renew.lua`` says of a ticket that another attempt has replaced.
_LOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """How long things may take before a janitor steps in, in seconds."""

    lease: float = 6.0
    """A running node whose worker has not renewed for this long is taken over."""
    dispatch: float = 5.0
    """A dispatched node nobody has claimed for this long is published again."""
    retention: float = 7 * 86400.0
    """A finished run is kept for this long."""
    max_lost: int = 3
    """A node that has lost its worker more often is failed: a dead letter."""


class RedisStore:
    """Implements ``RunStore``; see the port for the obligations."""

    def __init__(self, client: Client, *, leases: Leases) -> None:
        """Prepare the scripts; nothing is sent yet."""
        self.client = client
        self._leases = leases
        line = Line(client)
        self._scripts = {
            name: Script(line, script_source("web") + script_source(name))
            for name in ("submit", "claim", "settle", "renew", "sweep", "stop")
        }
        self.get_plan = functools.lru_cache(maxsize=64)(self._load_plan)

    def put_plan(self, plan: Plan) -> None:
        """Keep a plan and its web; the plan last, so that a plan found has its web."""
        with translated():
            if self.client.exists(plan_key(plan.hash)):
                return
            entries = web_entries(plan)
            while chunk := dict(islice(entries, _WEB_CHUNK)):
                self.client.hset(web_key(plan.hash), mapping=chunk)
            self.client.set(plan_key(plan.hash), zlib.compress(plan.to_bytes(), 1))

    def _load_plan(self, digest: str) -> Plan:
        with translated():
            packed = self.client.get(plan_key(digest))
        if packed is None:
            raise KeyError(digest)
        return Plan.from_bytes(zlib.decompress(packed))

    def submit(self, run: NewRun, plan: Plan) -> Submitted:
        """Create the run once per id; the plan is put again should it have expired."""
        arguments = (
            run.id,
            plan.hash,
            plan.flow,
            plan.version,
            run.namespace,
            run.input,
            msgpack.packb(run.tags),
            len(plan),
            msgpack.packb(plan.starts),
            plan.max_parallel or 0,
            int(plan.fail_fast),
            _ms(plan.timeout or 0),
            _ms(self._leases.retention),
            _ms(self._leases.lease),
            _ms(self._leases.dispatch),
            run.priority,
        )
        for _ in range(3):
            answer = self._call("submit", *arguments)
            if answer[0] != b"noplan":
                break
            self.put_plan(plan)
        else:
            msg = f"the plan {plan.hash} vanished while run {run.id!r} was submitted"
            raise ServiceError(msg)
        state = RunState(answer[1].decode())
        if answer[0] == b"exists":
            return Submitted(created=False, state=state)
        dispatch = Dispatch(
            run=run.id,
            plan=plan.hash,
            flow=plan.flow,
            namespace=run.namespace,
            priority=run.priority,
            nodes=_pairs(answer[2]),
        )
        return Submitted(created=True, state=state, dispatch=dispatch)

    def claim(self, ticket: Ticket, *, worker: str, outputs_of: Sequence[int] = ()) -> Claim | None:
        """Take a dispatched node, if this very attempt of it was dispatched."""
        answer = self._call(
            "claim",
            ticket.run,
            ticket.node,
            ticket.attempt,
            msgpack.packb({"worker": worker}),
            *outputs_of,
        )
        if answer is None:
            return None
        found = zip(outputs_of, answer[2], strict=True)
        return Claim(
            ticket=ticket,
            first=bool(answer[0]),
            lost=answer[1],
            outputs={node: blob for node, blob in found if blob is not None},
        )

    def settle(self, ticket: Ticket, outcome: Outcome) -> Advance:
        """Record how an attempt ended, in one step with all that follows from it."""
        blob, brief = _wire_outcome(outcome)
        answer = self._call(
            "settle",
            ticket.run,
            ticket.node,
            ticket.attempt,
            outcome.kind,
            blob,
            brief,
            _ms(outcome.delay),
            msgpack.packb(outcome.dead) if outcome.dead else b"",
            self._leases.max_lost,
        )
        if answer is None:
            return Advance(accepted=False)
        final, *about, pairs = answer
        return Advance(
            accepted=True,
            finished=RunState(final.decode()) if final else None,
            dispatch=_dispatch(ticket.run.encode(), about, _pairs(pairs)),
        )

    def renew(self, tickets: Sequence[Ticket]) -> Mapping[Ticket, bool]:
        """Prolong leases; answers for those to stop whether the lease is lost."""
        flat = [part for ticket in tickets for part in (ticket.run, ticket.node, ticket.attempt)]
        verdicts = self._call("renew", *flat)
        return {
            t: verdict == _LOST for t, verdict in zip(tickets, verdicts, strict=True) if verdict
        }

    def sweep(self, *, limit: int = 200) -> Sweep:
        """Deal with what is overdue on this server."""
        runs, ahead = self._call(
            "sweep",
            limit,
            self._leases.max_lost,
            msgpack.packb(WORKER_LOST.as_dict()),
            msgpack.packb(DEADLINE_PASSED.as_dict()),
            msgpack.packb({"error": WORKER_LOST.as_dict()}),
        )
        dispatches: list[Dispatch] = []
        overdue: list[tuple[Dispatch, int]] = []
        finished: dict[str, RunState] = {}
        for run, final, *about, pairs, again in runs:
            if final:
                finished[run.decode()] = RunState(final.decode())
            if fresh := _dispatch(run, about, _pairs(pairs)):
                dispatches.append(fresh)
            for node, attempt, late_count in zip(again[::3], again[1::3], again[2::3], strict=True):
                one = _dispatch(run, about, ((node, attempt),))
                if one:
                    overdue.append((one, late_count))
        return Sweep(
            dispatches=tuple(dispatches),
            overdue=tuple(overdue),
            finished=finished,
            next_due=None if ahead < 0 else ahead / 1000,
        )

    def stop(self, run: str, *, reason: str) -> RunState | None:
        """Cancel a run."""
        answer = self._call("stop", run, reason)
        return None if answer is None else RunState(answer[0].decode())

    def _call(self, name: str, *arguments: Any) -> Any:
        with translated():
            return self._scripts[name](args=arguments)


@functools.cache
def script_source(name: str) -> str:
    """Return the text of one script of the ``lua`` folder."""
    return (resources.files(__package__) / "lua" / f"{name}.lua").read_text()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _pairs(flat: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _dispatch(
    run: bytes, about: Sequence[bytes], nodes: tuple[tuple[int, int], ...]
) -> Dispatch | None:
    """Make a dispatch of what ``answer`` in web.lua says about a run."""
    if not nodes:
        return None
    plan, flow, namespace, priority = about
    return Dispatch(
        run=run.decode(),
        plan=plan.decode(),
        flow=flow.decode(),
        namespace=namespace.decode(),
        priority=int(priority),
        nodes=nodes,
    )


def _wire_outcome(outcome: Outcome) -> tuple[bytes, bytes]:
    """The blob to keep, and the few words that go into the event."""
    if outcome.kind == "succeeded":
        return outcome.output or b"\xc0", b""
    # A node may not vanish without a reason, even when its attempt gave none.
    failure = outcome.failure or Failure(
        type="NodeCancelledError",
        code="FC504",
        message=f"its attempt ended as {outcome.kind} without a reason",
    )
    brief: dict[str, Any] = {"error": {"type": failure.type, "message": failure.message}}
    if outcome.kind == "retry":
        brief["delay"] = outcome.delay
    return msgpack.packb(failure.as_dict()), msgpack.packb(brief)
