"""The run store on Redis: each command is one Lua script.

In: the engine's commands. Out: what the scripts answered. Not here: reading (reader).
"""

import functools
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from operator import attrgetter
from typing import Any

import msgpack

from flowcore.errors import OrphanError, ServiceError
from flowcore.plan.plan import Plan
from flowcore.plan.reuse import after_failure, from_node
from flowcore.ports.store import (
    KEPT_SIGNALS,
    AttemptRef,
    Claim,
    NewRun,
    Outcome,
    Resumed,
    SubmitResult,
    SweepResult,
    Transition,
)
from flowcore.ports.unit import AHEAD, Granularity, UnitClaim, UnitProgress, UnitRef
from flowcore.run.protocol import WIRE
from flowcore.run.record import WORKER_LOST, Failure, Parent
from flowcore.run.status import NodeState, RunState
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import (
    ON_CORE,
    ON_WEB,
    Script,
    ScriptConnection,
    script_source,
)
from flowcore.stores.redis.keys import plan_key, run_key, web_entries, web_key
from flowcore.stores.redis.runs.codec import (
    arrivals,
    frontier_list,
    milliseconds,
    read_advance,
    read_dispatch,
    read_signal,
    read_unit,
    shares,
    wire_delay,
    wire_fence,
    wire_outcome,
    wire_parent,
    wire_wait,
)
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.sweep import Sweeper
from flowcore.stores.redis.troubles import RedisTroubles

__all__ = ["RedisStore"]

_WEB_CHUNK = 5000

#: How often to decide anew upon what somebody has changed meanwhile.
_TRIES = 3

_RESUMABLE = frozenset({RunState.PAUSED, RunState.FAILED, RunState.CANCELLED})

#: What ``renew.lua`` says of a ticket that another attempt has replaced.
_LOST = 2


class RedisStore:
    """Implements ``RunStore``; see the port for the obligations."""

    def __init__(
        self, client: Client, *, leases: Leases, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare the scripts; nothing is sent yet. Of the ``clock``, see ``Sweeper``."""
        self.client = client
        self._leases = leases
        self._troubles = RedisTroubles(client)
        self.line = line = ScriptConnection(client)
        self._scripts = {name: Script(line, script_source(name)) for name in (*ON_CORE, *ON_WEB)}
        sweep = functools.partial(self._call, "sweep")
        self._sweeper = Sweeper(sweep, max_lost=leases.max_lost, lease=leases.lease, clock=clock)
        self.get_plan = functools.lru_cache(maxsize=64)(self._load_plan)

    def put_plan(self, plan: Plan) -> None:
        """Keep a plan and its web; the plan last, so that a plan found has its web."""
        with translated():
            if self.client.exists(plan_key(plan.hash)):
                return
            entries = web_entries(plan)
            while chunk := dict(islice(entries, _WEB_CHUNK)):
                self.client.hset(web_key(plan.hash), mapping=chunk)
            # Another may have put, run and ended it meanwhile: both expire, till a run keeps them.
            self.client.set(plan_key(plan.hash), zlib.compress(plan.to_bytes(), 1), nx=True)

    def _load_plan(self, digest: str) -> Plan:
        with translated():
            packed = self.client.get(plan_key(digest))
        if packed is None:
            raise KeyError(digest)
        return Plan.from_bytes(zlib.decompress(packed))

    def submit(self, run: NewRun, plan: Plan, *, grain: Granularity | None = None) -> SubmitResult:
        """Create the run once per id; the plan is put again should it have expired."""
        arguments: tuple[Any, ...] = (
            run.id,
            plan.hash,
            plan.flow,
            plan.version,
            run.namespace,
            run.input,
            msgpack.packb(run.tags),
            len(plan),
            msgpack.packb([part for node in plan.starts for part in (node, plan.policy_of[node])]),
            plan.max_parallel or 0,
            int(plan.fail_fast),
            milliseconds(plan.timeout or 0),
            milliseconds(self._leases.retention),
            milliseconds(self._leases.lease),
            milliseconds(self._leases.dispatch),
            run.priority,
            msgpack.packb(shares(grain)) if grain else b"",
        )
        items = "1" if plan.scope == "map" else ""
        ends = wire_parent(run.parent), plan.spared, plan.epilogue_condition, items, WIRE
        for _ in range(_TRIES):
            answer = self._call("submit", *arguments, *self._taken_over(run, plan), *ends)
            if answer[0] not in {b"noplan", b"changed"}:
                break
            self.put_plan(plan)
        else:
            msg = f"the plan {plan.hash} vanished while run {run.id!r} was submitted"
            raise ServiceError(msg)
        _refuse_orphan(run.id, answer)
        state = RunState(answer[1].decode())
        if answer[0] == b"exists":
            return SubmitResult(created=False, state=state)
        about = (
            plan.hash.encode(),
            plan.flow.encode(),
            run.namespace.encode(),
            b"%d" % run.priority,
        )
        dispatch = read_dispatch(run.id.encode(), about, answer[2], answer[3])
        return SubmitResult(created=True, state=state, dispatch=dispatch)

    def _taken_over(self, run: NewRun, plan: Plan) -> tuple[bytes, bytes]:
        """Return the nodes kept from the run's origin, and the states this was decided upon."""
        if run.origin is None:
            return b"", b""
        taken: dict[str, Any] = {"run": run.origin.run, "node": run.origin.node}
        if run.origin.node is None:
            return msgpack.packb(taken), b""
        letters, states, dead = self._ends(run.origin.run)
        if not letters:
            raise KeyError(run.origin.run)
        frontier = from_node(plan, states, dead, plan.ids.index(run.origin.node))
        kept = list(frontier.kept(len(plan)))
        taken |= {
            "list": frontier_list(plan, frontier),
            "succeeded": [node for node in kept if states[node] is NodeState.SUCCEEDED],
            "skipped": [node for node in kept if states[node] is NodeState.SKIPPED],
        }
        return msgpack.packb(taken), letters

    def _ends(self, run: str) -> tuple[bytes, list[NodeState], dict[int, set[int]]]:
        """Return how the nodes of a run ended, and which of their edges do not hold."""
        with translated():
            pipe = self.client.pipeline(transaction=True)
            letters, dead = pipe.get(run_key(run, "st")).hgetall(run_key(run, "dead")).execute()
        states = [NodeState.from_letter(letter) for letter in (letters or b"").decode()]
        ends = {int(node): set(msgpack.unpackb(targets)) for node, targets in dead.items()}
        return letters or b"", states, ends

    def claim(
        self, ticket: AttemptRef, *, worker: str, outputs_of: Sequence[int] = ()
    ) -> Claim | None:
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
            ticket=replace(ticket, turn=int(answer[6] or 0)),
            first=bool(answer[0]),
            lost=answer[1],
            before=answer[4],
            outputs={node: blob for node, blob in found if blob is not None},
            resumed=answer[3],
            failure=Failure(**msgpack.unpackb(answer[5])) if answer[5] else None,
        )

    def adopt(self, unit: UnitRef, *, worker: str) -> UnitClaim | None:  # noqa: ARG002
        """Take a bundle, if nobody has."""
        answer = self._call("adopt", unit.run, unit.unit)
        if answer is None:
            return None
        return UnitClaim(nodes=read_unit(answer[1]), first=bool(answer[0]), resumed=bool(answer[2]))

    def settle(
        self,
        ticket: AttemptRef,
        outcome: Outcome,
        *,
        unit: str | None = None,
        grain: Granularity | None = None,
    ) -> Transition:
        """Record how an attempt ended, in one step with all that follows from it."""
        blob, brief = wire_outcome(outcome)
        answer = self._call(
            "settle",
            ticket.run,
            ticket.node,
            wire_fence(ticket),
            outcome.kind,
            blob,
            brief,
            wire_delay(outcome),
            msgpack.packb(outcome.dead) if outcome.dead else b"",
            self._leases.max_lost,
            unit or "",
            msgpack.packb(shares(grain)) if grain else b"",
            *wire_wait(outcome.wait),
        )
        return read_advance(ticket.run, answer)

    def flush(
        self, unit: UnitRef, news: UnitProgress, plan: Plan, *, worker: str, grain: Granularity
    ) -> Transition:
        """Record what a unit has done."""
        done = sorted(news.done, key=attrgetter("node"))
        tell = news.current is not None
        head = {
            **shares(grain),
            "arrivals": arrivals(plan, [one.node for one in done]),
            "current": news.current if tell else -1,
            "tell": tell,
            "since": news.since,
            "back": news.give_back,
        }
        if news.age is not None:
            head["age"] = news.age
        if news.keep:
            head["keep"] = list(news.keep)
        if news.proxy:
            head["proxy"] = True
        if news.ahead is not None:
            head |= {"ahead": news.ahead, "many": AHEAD}
        told = [part for one in news.done for part in (one.node, one.took, one.ago, int(one.told))]
        answer = self._call(
            "flush",
            unit.run,
            unit.unit,
            msgpack.packb(head),
            msgpack.packb((worker, told)),
            2 * len(done) - sum(one.told for one in done),
            msgpack.packb({"worker": worker}) if tell else b"",
            *chain.from_iterable((one.node, one.output) for one in done),
        )
        return read_advance(unit.run, answer)

    def renew(self, tickets: Sequence[AttemptRef | UnitRef]) -> Mapping[AttemptRef | UnitRef, bool]:
        """Prolong leases; answers for those to stop whether the lease is lost."""
        flat: list[str | int] = []
        for ticket in tickets:
            if isinstance(ticket, UnitRef):
                flat += (ticket.run, ticket.unit, "")
            else:
                flat += (ticket.run, ticket.node, wire_fence(ticket))
        verdicts = self._call("renew", *flat)
        return {
            t: verdict == _LOST for t, verdict in zip(tickets, verdicts, strict=True) if verdict
        }

    def wake(self, ticket: AttemptRef) -> Transition:
        """Give a waiting node its turn."""
        answer = self._call("wake", ticket.run, ticket.node, ticket.attempt)
        return read_advance(ticket.run, answer)

    def signal(
        self,
        run: str,
        name: str,
        value: bytes,
        *,
        most: int = KEPT_SIGNALS,
        node: int | None = None,
    ) -> Transition | None:
        """Give a signal to those who wait for it, or keep it."""
        about, asked = msgpack.packb({"name": name}), "" if node is None else node
        return read_signal(run, self._call("signal", run, name, value, about, most, asked))

    def lose(
        self, unit: UnitRef, *, begun: Collection[int] | None = None, worker: str = ""
    ) -> Transition:
        """Let others have the nodes of a unit whose process is dead."""
        answer = self._call(
            "lose",
            unit.run,
            unit.unit,
            self._leases.max_lost,
            msgpack.packb(WORKER_LOST.as_dict()),
            msgpack.packb({"error": WORKER_LOST.as_dict()}),
            b"" if begun is None else msgpack.packb(list(begun)),
            msgpack.packb({"worker": worker}),
        )
        return read_advance(unit.run, answer)

    def sweep(self, *, limit: int = 200) -> SweepResult:
        """Deal with what is overdue on this server."""
        found, odd = self._sweeper.sweep(limit)
        for run, error in odd.items():
            self._troubles.note("runs", run, f"{type(error).__name__}: {error}")
        return found

    def stop(self, run: str, *, reason: str) -> RunState | None:
        """Cancel a run."""
        answer = self._call("stop", run, reason)
        return None if answer is None else RunState(answer[0].decode())

    def pause(self, run: str, *, inside: bool = False) -> RunState | None:
        """Hold a run."""
        answer = self._call("pause", run, int(inside))
        return None if answer is None else RunState(answer[0].decode())

    def resume(
        self, run: str, *, grain: Granularity | None = None, parent: Parent | None = None
    ) -> Resumed | None:
        """Let a run go on; what is to run again is decided here, upon what the script checks."""
        for _ in range(_TRIES):
            with translated():
                row = self.client.hmget(run_key(run, "run"), "state", "resumes", "plan")
            if row[0] is None:
                return None
            state = RunState(row[0].decode())
            if state not in _RESUMABLE:
                return Resumed(resumed=False, state=state)
            plan = self.get_plan(row[2].decode())
            head: dict[str, Any] = {}
            if state.is_terminal:
                _, states, dead = self._ends(run)
                frontier = after_failure(plan, states, dead)
                head = {"again": frontier.again, "list": frontier_list(plan, frontier)}
            shared = (
                (msgpack.packb(plan.policy_of), msgpack.packb(shares(grain)))
                if grain
                else (b"", b"")
            )
            answer = self._call(
                "resume",
                run,
                state.value,
                row[1] or b"",
                msgpack.packb(head),
                *shared,
                wire_parent(parent),
            )
            if answer is None:
                return None
            _refuse_orphan(run, answer)
            if answer[0] == b"resumed":
                _, now, *about, pairs, bundles = answer
                dispatch = read_dispatch(run.encode(), about, pairs, bundles)
                return Resumed(resumed=True, state=RunState(now.decode()), dispatch=dispatch)
            self.put_plan(plan)
        msg = f"run {run!r} changed each time it was to be resumed; try again"
        raise ServiceError(msg)

    def _call(self, name: str, *arguments: Any) -> Any:
        with translated():
            return self._scripts[name](args=arguments)


def _refuse_orphan(run: str, answer: Sequence[Any]) -> None:
    if answer[0] == b"orphan":
        msg = f"run {run!r} was not started: the attempt that wanted it is not running any longer"
        raise OrphanError(msg, run_id=run)
