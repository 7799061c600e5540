"""The Redis scripts and the in-memory store, driven side by side by the same random schedule.

Messages are delivered in any order, doubled and dropped; answers are lost; workers die; time
passes, and sometimes steps back. At every step both stores must give the same answer, and hold the
same states, events and agenda. ``make schedules`` runs more of them than CI does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flowcore.errors import OrphanError
from flowcore.plan.plan import Plan
from flowcore.ports.store import (
    AttemptRef,
    Dispatch,
    NewRun,
    Outcome,
    RunQuery,
    Suspension,
    SweepResult,
    Transition,
)
from flowcore.ports.unit import BatchSize, CompletedNode, Granularity, UnitProgress, UnitRef
from flowcore.run.record import Failure, Origin, Parent
from flowcore.run.status import RunState
from flowcore.stores.inmemory.runs.run import PLAN_GRACE
from tests.contract.harness import LEASES, Clock, Harness, in_memory, make_plan, on_redis

RULES = ["all_success", "all_done", "any_success", "none_failed"]
KINDS = [
    *("succeeded", "succeeded", "succeeded", "failed", "skipped"),
    *("retry", "waiting", "cancelled", "lost", "deferred"),
]
WAITS = [
    Suspension(seconds=1.5, reason="a limit", resumes=False),
    Suspension(seconds=5),
    Suspension(until=1_700_000_010.0),
    Suspension(signal="go"),
    Suspension(signal="go", seconds=0.5),
]
INDEX = st.integers(0, 10_000)
#: Seconds that a server's clock may lose in all the steps of a schedule.
STEPPED_BACK = 200.0


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any web of up to eight nodes."""
    size = draw(st.integers(1, 8))
    return make_plan(
        [
            sorted(draw(st.sets(st.integers(0, node - 1), max_size=4))) if node else []
            for node in range(size)
        ],
        join={node: draw(st.sampled_from(RULES)) for node in range(size)},
        max_parallel=draw(st.sampled_from([None, None, 1, 2, 3])),
        timeout=draw(st.sampled_from([None, None, 20.0])),
        fail_fast=draw(st.booleans()),
        spared=draw(st.sampled_from([0, 0, 0, 1, 2])),
        epilogue=draw(st.sampled_from(["", "", "f", "a"])),
        scope=draw(st.sampled_from(["", "", "map"])),
    )


@st.composite
def grains(draw: st.DrawFn) -> Granularity:
    """Any way to share out what becomes ready; plans have up to four policies."""
    packs = {
        policy: BatchSize(
            cost=draw(st.sampled_from([0.001, 0.002, 0.05])),
            least=(least := draw(st.integers(1, 3))),
            most=least + draw(st.integers(0, 4)),
            here=draw(st.booleans()),
        )
        for policy in draw(st.sets(st.integers(0, 3)))
    }
    budget = draw(st.sampled_from([0.0, 0.002, 0.005]))
    return Granularity(packs=packs, budget=budget, share=draw(st.integers(1, 4)))


@dataclass
class Worker:
    """What the worker of a unit knows."""

    kept: set[int]
    resumed: bool
    """Whether the run has ended once: then it may do only what it was given."""
    did: set[int] = field(default_factory=set)
    fresh: set[int] = field(default_factory=set)
    """What it has done and not said yet."""
    told: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    """What others have done, as far as it has heard."""

    def next(self, plan: Plan) -> list[int]:
        """What it may do: nodes it has, and those that only it can have made ready."""
        return [
            node
            for node in range(len(plan))
            if node not in self.did
            and (
                node in self.kept
                or (
                    not self.resumed
                    and self.fresh & set(plan.pred[node])
                    and self.knows(plan.pred[node])
                )
            )
        ]

    def knows(self, nodes: Sequence[int]) -> bool:
        return (self.did | self.seen).issuperset(nodes)


class Duel(RuleBasedStateMachine):
    """Two stores, one schedule."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__()
        client.flushall()
        clock = Clock()
        self.pair: tuple[Harness, Harness] = (in_memory(clock), on_redis(client, clock))
        self.clock = clock
        self.plans: dict[str, Plan] = {}
        self.mail: list[AttemptRef | UnitRef] = []
        self.units: dict[UnitRef, Worker] = {}
        self.claimed: list[AttemptRef] = []
        self.read: dict[str, int] = {}
        self.looks = 0

    def both(self, ask: Callable[[Harness], Any]) -> Any:
        """Ask both stores; they must answer alike."""
        ours, theirs = (ask(one) for one in self.pair)
        assert ours == theirs
        return ours

    def post(self, dispatch: Dispatch | None) -> None:
        if dispatch is not None:
            self.mail += [
                AttemptRef(run=dispatch.run, node=node, attempt=attempt)
                for node, attempt in dispatch.nodes
            ]
            self.mail += [UnitRef(run=dispatch.run, unit=one.unit) for one in dispatch.bundles]

    def keep(self, run: str, advance: Transition) -> None:
        """What a unit has been told that it owns."""
        if advance.unit is not None:
            unit = UnitRef(run=run, unit=advance.unit)
            worker = self.units.setdefault(unit, Worker(set(), resumed=advance.resumed))
            worker.kept = set(advance.kept)

    @initialize(plan=plans(), grain=st.none() | grains())
    def first_run(self, plan: Plan, grain: Granularity | None) -> None:
        self.submit(plan, "r0", lose=False, grain=grain)

    @precondition(lambda self: len(self.plans) < 3)
    @rule(plan=plans(), lose=st.booleans(), grain=st.none() | grains())
    def another_run(self, plan: Plan, grain: Granularity | None, *, lose: bool) -> None:
        self.submit(plan, f"r{len(self.plans)}", lose=lose, grain=grain)

    @rule(index=INDEX, plan=plans())
    def the_same_run_again(self, index: int, plan: Plan) -> None:
        run = list(self.plans)[index % len(self.plans)]
        submitted = self.both(lambda it: it.submit(plan, run))
        assert not submitted.created

    def submit(
        self,
        plan: Plan,
        run: str,
        *,
        lose: bool,
        grain: Granularity | None,
        origin: Origin | None = None,
    ) -> None:
        new = NewRun(
            id=run, plan=plan.hash, input=b"\x80", namespace="ns", tags=("t",), origin=origin
        )
        submitted = self.both(lambda it: it.store.submit(new, plan, grain=grain))
        self.plans[run] = plan
        if not lose:
            self.post(submitted.dispatch)

    @precondition(lambda self: self.mail)
    @rule(index=INDEX)
    def deliver(self, index: int) -> None:
        self.claim(self.mail.pop(index % len(self.mail)))

    def claim(self, ticket: AttemptRef | UnitRef) -> None:
        if isinstance(ticket, UnitRef):
            adopted = self.both(lambda it: it.store.adopt(ticket, worker="w"))
            if adopted is not None:
                assert ticket not in self.units, "adopted twice"
                self.units[ticket] = Worker(set(adopted.nodes), resumed=adopted.resumed)
            return
        wanted = self.plans[ticket.run].pred[ticket.node]
        claim = self.both(lambda it: it.store.claim(ticket, worker="w", outputs_of=wanted))
        if claim is not None:
            assert claim.ticket not in self.claimed, "each claim of an attempt is another turn"
            self.claimed.append(claim.ticket)

    @precondition(lambda self: self.mail)
    @rule(index=INDEX)
    def deliver_and_do(self, index: int) -> None:
        self.work(self.mail.pop(index % len(self.mail)))

    @precondition(lambda self: self.mail)
    @rule(index=INDEX)
    def duplicate(self, index: int) -> None:
        self.mail.append(self.mail[index % len(self.mail)])

    @precondition(lambda self: self.mail)
    @rule(index=INDEX)
    def drop(self, index: int) -> None:
        self.mail.pop(index % len(self.mail))

    @precondition(lambda self: self.claimed)
    @rule(
        index=INDEX,
        kind=st.sampled_from(KINDS),
        cut=st.integers(0, 7),
        lose=st.booleans(),
        knows=st.booleans(),
        grain=st.none() | grains(),
    )
    def settle(
        self, index: int, kind: Any, cut: int, grain: Granularity | None, *, lose: bool, knows: bool
    ) -> None:
        """Any attempt that was ever claimed reports, be it the first time or not.

        Whoever has seen a process die may not know which turn of an attempt that had.
        """
        ticket = self.claimed[index % len(self.claimed)]
        if kind == "lost" and not knows:
            ticket = replace(ticket, turn=None)
        self.report(ticket, kind, cut, lose=lose, grain=grain, unit=None)

    @precondition(lambda self: any(worker.kept for worker in self.units.values()))
    @rule(
        index=INDEX,
        kind=st.sampled_from(KINDS),
        cut=st.integers(0, 7),
        grain=st.none() | grains(),
    )
    def settle_one_of_a_unit(
        self, index: int, kind: Any, cut: int, grain: Granularity | None
    ) -> None:
        """A node of a unit failed, or has conditions on its edges."""
        owned = [(unit, node) for unit, one in self.units.items() for node in sorted(one.kept)]
        unit, node = owned[index % len(owned)]
        if kind == "lost":
            return
        ticket = AttemptRef(run=unit.run, node=node, attempt=1)
        self.report(ticket, kind, cut, lose=False, grain=grain, unit=unit.unit)

    def report(
        self,
        ticket: AttemptRef,
        kind: Any,
        cut: int,
        *,
        lose: bool,
        grain: Granularity | None,
        unit: str | None,
    ) -> None:
        after = self.plans[ticket.run].succ[ticket.node]
        outcome = Outcome(
            kind=kind,
            output=b"\x01" if kind == "succeeded" else None,
            failure=None
            if kind in {"succeeded", "skipped", "waiting"}
            else Failure(type="E", message=kind),
            delay=1.5,
            wait=self.wait_of(ticket, cut) if kind == "waiting" else None,
            # Half of the draws cut nothing: whole paths should live, too.
            dead=tuple(n for bit, n in enumerate(after) if cut & 4 and cut >> bit & 1),
        )
        advance = self.both(lambda it: it.store.settle(ticket, outcome, unit=unit, grain=grain))
        if advance.accepted:
            self.keep(ticket.run, advance)
        if not (lose and kind != "succeeded"):
            self.post(advance.dispatch)

    def wait_of(self, ticket: AttemptRef, cut: int) -> Suspension:
        """Half of those that have started a run wait for it."""
        child = f"{ticket.run}/{ticket.node}"
        started = child in self.plans and cut % 2
        return Suspension(child=child) if started else WAITS[cut % len(WAITS)]

    @precondition(lambda self: self.claimed and len(self.plans) < 5)
    @rule(index=INDEX, plan=plans(), lose=st.booleans(), grain=st.none() | grains())
    def start_a_child(
        self, index: int, plan: Plan, grain: Granularity | None, *, lose: bool
    ) -> None:
        """An attempt starts a run, be it still running or not, and perhaps once more."""
        parent = self.parent(index)
        run = f"{parent.run}/{parent.node}"
        plan = self.plans.get(run, plan)
        new = NewRun(id=run, plan=plan.hash, input=b"\x80", parent=parent)
        submitted = self.both(
            lambda it: _or_orphan(lambda: it.store.submit(new, plan, grain=grain))
        )
        if submitted is None:
            return
        self.plans[run] = plan
        if not lose:
            self.post(submitted.dispatch)

    @precondition(lambda self: self.claimed and any("/" in run for run in self.plans))
    @rule(index=INDEX, grain=st.none() | grains())
    def resume_a_child(self, index: int, grain: Granularity | None) -> None:
        """The attempt that has started a run wants it to go on, or another one does."""
        parent = self.parent(index)
        run = f"{parent.run}/{parent.node}"
        if run in self.plans:
            resumed = self.both(
                lambda it: _or_orphan(lambda: it.store.resume(run, grain=grain, parent=parent))
            )
            self.post(resumed.dispatch if resumed else None)

    def parent(self, index: int) -> Parent:
        # The latest ones are the likeliest to be running.
        ticket = self.claimed[-1 - index % min(3, len(self.claimed))]
        name = self.plans[ticket.run].ids[ticket.node]
        attempt = ticket.attempt
        return Parent(run=ticket.run, node=ticket.node, name=name, attempt=attempt, chance=attempt)

    @precondition(lambda self: self.units)
    @rule(
        index=INDEX,
        count=st.integers(0, 8),
        current=st.none() | INDEX,
        give_back=st.booleans(),
        again=st.booleans(),
        grain=grains(),
    )
    def flush(
        self,
        index: int,
        count: int,
        current: int | None,
        grain: Granularity,
        *,
        give_back: bool,
        again: bool,
    ) -> None:
        """A unit says what it has done, sometimes twice; one that was lost may say so, too."""
        unit = list(self.units)[index % len(self.units)]
        worker, plan = self.units[unit], self.plans[unit.run]
        done: list[CompletedNode] = []
        while len(done) < count and (able := worker.next(plan)):
            node = able[index % len(able)]
            worker.did.add(node)
            worker.fresh.add(node)
            told = node in worker.told
            done.append(
                CompletedNode(node, msgpack.packb(node), took=3, ago=count - len(done), told=told)
            )
        able = [node for node in worker.next(plan) if node not in worker.told]
        busy = able[current % len(able)] if current is not None and able else None
        news = UnitProgress(done=done, current=busy, since=2, give_back=give_back, ahead=0)
        advance = self.flush_both(unit, news, grain)
        if again:
            advance = self.flush_both(unit, news, grain)
        if busy is not None:
            worker.told.add(busy)
        worker.kept = set(advance.kept)
        worker.fresh.clear()
        worker.seen = {node for node, letter in enumerate(advance.ahead) if letter == "s"}

    @precondition(lambda self: any(worker.kept for worker in self.units.values()))
    @rule(index=INDEX, bits=st.integers(0, 255), grain=grains(), proxy=st.booleans())
    def a_parent_gives_back(
        self, index: int, bits: int, grain: Granularity, *, proxy: bool
    ) -> None:
        """The process of a unit cannot be heard: what it has not begun goes to others."""
        able = [unit for unit, worker in self.units.items() if worker.kept]
        unit = able[index % len(able)]
        worker = self.units[unit]
        keep = [node for at, node in enumerate(sorted(worker.kept)) if bits >> at & 1]
        busy = keep.pop() if keep else None
        proxy = proxy and busy is not None
        news = UnitProgress(current=busy, since=2, give_back=True, keep=keep, proxy=proxy)
        advance = self.flush_both(unit, news, grain)
        assert set(advance.kept) <= {*keep, busy}
        if busy is not None:
            worker.told.add(busy)
        worker.kept = set(advance.kept)

    def flush_both(self, unit: UnitRef, news: UnitProgress, grain: Granularity) -> Transition:
        plan = self.plans[unit.run]
        advance: Transition = self.both(
            lambda it: it.store.flush(unit, news, plan, worker="w", grain=grain)
        )
        self.post(advance.dispatch)
        return advance

    @precondition(lambda self: self.units)
    @rule(index=INDEX, bits=st.none() | st.integers(0, 255))
    def a_unit_is_lost(self, index: int, bits: int | None) -> None:
        """Somebody may know what it had begun, nodes that were not ready among it."""
        unit = list(self.units)[index % len(self.units)]
        worker, plan = self.units[unit], self.plans[unit.run]
        able = sorted({*worker.kept, *worker.fresh, *worker.next(plan)})
        begun = None if bits is None else [node for node in able if bits >> node & 1]
        self.post(self.both(lambda it: it.store.lose(unit, begun=begun, worker="w")).dispatch)

    @precondition(lambda self: self.claimed)
    @rule(index=INDEX)
    def wake(self, index: int) -> None:
        ticket = self.claimed[index % len(self.claimed)]
        self.post(self.both(lambda it: it.store.wake(ticket)).dispatch)

    @rule(
        index=INDEX,
        name=st.sampled_from(["go", "other"]),
        most=st.sampled_from([0, 1, 2, 1000]),
        node=st.none() | INDEX,
        value=st.integers(0, 3),
    )
    def signal(
        self, index: int, name: str, most: int = 1000, node: int | None = None, value: int = 7
    ) -> None:
        """Signals are a queue; an answer counts once."""
        run, plan = list(self.plans.items())[index % len(self.plans)]
        asked = None if node is None else node % len(plan)
        given = bytes([value])
        advance = self.both(lambda it: it.store.signal(run, name, given, most=most, node=asked))
        self.post(advance.dispatch)

    @precondition(lambda self: self.claimed)
    @rule(index=INDEX)
    def emit(self, index: int) -> None:
        """A node says something; what it has said it may say again."""
        ticket = self.claimed[index % len(self.claimed)]
        words = [{"at": at} for at in range(index % 3 + 1)]
        self.both(lambda it: it.say(ticket, *words, number=index % 5 + 1))

    @precondition(lambda self: self.claimed or self.units)
    @rule(indices=st.lists(INDEX, max_size=4))
    def renew(self, indices: list[int]) -> None:
        known: list[AttemptRef | UnitRef] = [*self.claimed, *self.units]
        tickets = list({known[index % len(known)]: None for index in indices})
        self.both(lambda it: it.store.renew(tickets))

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.5, LEASES.dispatch, LEASES.lease, 21.0, -3.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(limit=st.sampled_from([1, 2, 200]), lose=st.booleans())
    def sweep(self, limit: int, *, lose: bool) -> None:
        swept: SweepResult = self.both(lambda it: it.store.sweep(limit=limit))
        if not lose:
            for dispatch in swept.dispatches:
                self.post(dispatch)
            for dispatch, _ in swept.overdue:
                self.post(dispatch)

    @rule(index=INDEX, rarely=st.integers(0, 5))
    def stop(self, index: int, rarely: int) -> None:
        if rarely == 0:
            run = list(self.plans)[index % len(self.plans)]
            self.both(lambda it: it.store.stop(run, reason="test"))

    @rule(index=INDEX, rarely=st.integers(0, 2), inside=st.booleans())
    def pause(self, index: int, rarely: int, *, inside: bool) -> None:
        if rarely == 0:
            run = list(self.plans)[index % len(self.plans)]
            self.both(lambda it: it.store.pause(run, inside=inside))

    @rule(index=INDEX, lose=st.booleans(), grain=st.none() | grains())
    def resume(self, index: int, grain: Granularity | None, *, lose: bool) -> None:
        self.go_on(list(self.plans)[index % len(self.plans)], grain, lose=lose)

    def go_on(self, run: str, grain: Granularity | None = None, *, lose: bool = False) -> None:
        resumed = self.both(lambda it: it.store.resume(run, grain=grain))
        if not lose:
            self.post(resumed.dispatch)

    @precondition(lambda self: len(self.plans) < 4 and any(map(self.outputs, self.plans)))
    @rule(index=INDEX, node=INDEX, lose=st.booleans(), grain=st.none() | grains())
    def rerun(self, index: int, node: int, grain: Granularity | None, *, lose: bool) -> None:
        """A run takes over what another one has done, however far that is."""
        useful = [run for run in self.plans if self.outputs(run)]
        old = useful[index % len(useful)]
        plan = self.plans[old]
        origin = Origin(run=old, node=([*plan.ids, None])[node % (len(plan) + 1)])
        self.submit(plan, f"r{len(self.plans)}", lose=lose, grain=grain, origin=origin)

    def outputs(self, run: str) -> Mapping[int, bytes]:
        return self.pair[0].reader.outputs(run)

    @precondition(lambda self: self.claimed)
    @rule()
    def everybody_dies(self) -> None:
        """No lease is renewed and all is taken over: what was claimed so far is stale."""
        self.clock.advance(LEASES.lease)
        self.janitor()
        while self.mail:
            self.claim(self.mail.pop())

    def janitor(self) -> None:
        swept: SweepResult = self.both(lambda it: it.store.sweep())
        for dispatch in (*swept.dispatches, *(dispatch for dispatch, _ in swept.overdue)):
            self.post(dispatch)

    @invariant()
    def look(self) -> None:
        """A difference stays, so that a look at every third step finds it, too."""
        self.looks += 1
        if self.looks % 3 == 0:
            self.agree()

    def agree(self) -> None:
        agenda = self.both(lambda it: dict(it.agenda()))
        self.both(lambda it: list(it.reader.list_runs(RunQuery())))
        self.both(lambda it: list(it.reader.dead_letters()))
        for run in self.plans:
            self.agree_on(run, agenda)

    def agree_on(self, run: str, agenda: Mapping[str, int]) -> None:
        plan = self.plans[run]
        states = self.both(lambda it: it.reader.states(run, range(len(plan))))
        busy = [node for node, state in states.items() if state in {"dispatched", "running"}]
        assert len(busy) <= (plan.max_parallel or len(plan))
        if self.pair[0].state(run) is RunState.PAUSED:
            assert "dispatched" not in states.values()
        self.both(lambda it: it.reader.children(run))
        self.both(lambda it: it.reader.summary(run))
        units = self.pair[0].units(run)
        owned = {node: f"{run}|{name}" for name, nodes in units.items() for node in nodes}
        assert all(f"{run}|{node}" in agenda or owned.get(node) in agenda for node in busy), (
            "somebody must look at it"
        )
        seen = self.read.get(run, 0)
        news = self.both(lambda it: list(it.events.read(run, after=seen)))
        assert [event.id for event in news] == [seen + 1 + k for k in range(len(news))]
        self.read[run] = seen + len(news)

    def teardown(self) -> None:
        """Let the janitor and a patient worker bring everything to its end."""
        self.agree()
        for at in range(400):
            if at % 50 == 0:
                for index in range(len(self.plans)):
                    self.signal(index, "go")
            if all(map(self.has_ended, self.plans)):
                break
            self.janitor()
            while self.mail:
                self.work(self.mail.pop())
            for run in filter(self.is_paused, self.plans):
                self.go_on(run)
            self.clock.advance(1)
        for run in self.plans:
            self.compare_records(run)
        self.clock.advance(LEASES.retention + STEPPED_BACK)
        self.both(lambda it: it.store.sweep())
        self.clock.advance(PLAN_GRACE / 1000 + STEPPED_BACK)
        left = [it.leftovers() for it in self.pair]
        assert left == [[], []], left

    def is_paused(self, run: str) -> bool:
        return self.pair[0].state(run) is RunState.PAUSED

    def has_ended(self, run: str) -> bool:
        return bool(self.both(lambda it: it.state(run)).is_terminal)

    def work(self, ticket: AttemptRef | UnitRef) -> None:
        self.claim(ticket)
        if isinstance(ticket, UnitRef):
            if ticket in self.units:
                self.finish_unit(ticket)
            return
        ended = Outcome(kind="succeeded", output=b"\x02")
        self.post(self.both(lambda it: it.store.settle(ticket, ended)).dispatch)

    def finish_unit(self, unit: UnitRef) -> None:
        """Do what there is to do, and give the rest back: there is none."""
        worker = self.units[unit]
        done = [
            CompletedNode(node, b"\x02", 1, 1, told=node in worker.told)
            for node in sorted(worker.kept)
        ]
        worker.did |= worker.kept
        self.flush_both(unit, UnitProgress(done=done, give_back=True), Granularity())

    def compare_records(self, run: str) -> None:
        self.both(lambda it: it.reader.record(run))
        self.both(lambda it: dict(it.reader.outputs(run)))
        for it in self.pair:
            it.assert_ended_well(run)


def _or_orphan(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except OrphanError:
        return None


@pytest.mark.integration
def test_both_stores_agree_on_every_schedule(redis_client: "redis.Redis") -> None:
    class DuelHere(Duel):
        def __init__(self) -> None:
            super().__init__(redis_client)

    run_state_machine_as_test(
        DuelHere,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
