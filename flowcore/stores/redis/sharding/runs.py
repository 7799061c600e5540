"""Several servers as one: each run lives on one of them, whole.

In: the engine's commands. Out: the answers of the server that has the run. Not here: which one that
is (redis.connection.placement), and what a server does (redis.runs.store, redis.runs.reader).

Nothing spans two servers: a run's plan, events and part of the agenda are where the run is. So a
server that is down takes its own runs out of reach and no others'.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from flowcore.errors import StoreFullError, StoreUnreachableError
from flowcore.plan.plan import Plan
from flowcore.ports.listing import Listing
from flowcore.ports.store import (
    KEPT_SIGNALS,
    AttemptRef,
    Claim,
    NewRun,
    Outcome,
    Resumed,
    RunQuery,
    SubmitResult,
    SweepResult,
    Transition,
)
from flowcore.ports.unit import Granularity, UnitClaim, UnitProgress, UnitRef
from flowcore.run.record import DeadLetter, Parent, RunRecord, RunSummary
from flowcore.run.status import NodeState, RunState
from flowcore.stores.redis.connection.connect import Client
from flowcore.stores.redis.connection.fanout import Fanout
from flowcore.stores.redis.connection.health import Health, Liveness
from flowcore.stores.redis.connection.placement import Placement
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.sharding.shard import Shard

__all__ = ["PATIENCE", "ShardedReader", "ShardedStore", "bound"]

_T = TypeVar("_T")

#: Seconds that housekeeping waits for a server before it goes on with the others.
PATIENCE = 0.5

#: Seconds that a list waits for a server before it goes without its runs.
_LIST_PATIENCE = 3.0

_PLANS_KEPT = 64


class ShardedStore:
    """Implements ``RunStore`` on several servers."""

    def __init__(self, shards: Sequence[Shard], *, patience: float = PATIENCE) -> None:
        """Ask no server yet.

        Args:
            shards: The servers; their names decide where runs go, their order does not.
            patience: Seconds that sweeping and renewing wait for a server.
        """
        self.shards = tuple(shards)
        self.health = Health([shard.name for shard in shards])
        self.placement = Placement(self.health, [shard.holds for shard in shards])
        self._liveness = Liveness(self.health, [shard.ping for shard in shards])
        self._plans: dict[str, Plan] = {}
        self._sweeps: Fanout[SweepResult] = Fanout(self.health, patience=patience)
        self._renewals: Fanout[Mapping[AttemptRef | UnitRef, bool]] = Fanout(
            self.health, patience=patience
        )

    @property
    def client(self) -> Client:
        """The first server's."""
        return self.shards[0].store.client

    def put_plan(self, plan: Plan) -> None:
        """Remember a plan: ``submit`` puts it where its run goes."""
        self._keep(plan)

    def get_plan(self, digest: str) -> Plan:
        """Return a plan from whichever server has it."""
        if (known := self._plans.get(digest)) is not None:
            return known
        silent: StoreUnreachableError | None = None
        for at in self.health.first(range(len(self.shards))):
            try:
                return self._keep(self.shards[at].store.get_plan(digest))
            except KeyError:
                continue
            except StoreUnreachableError as error:
                self.health.failed(at, error)
                silent = error
        if silent is not None:
            raise silent
        raise KeyError(digest)

    def submit(self, run: NewRun, plan: Plan, *, grain: Granularity | None = None) -> SubmitResult:
        """Create the run at its home, unless another server has it from before."""
        # What a run takes over from another is copied on that one's server, and what is part of
        # another ends in the same step as that one's wait.
        origin = run.origin
        near = run.parent or origin
        home = self.placement.home(run.id) if near is None else self.placement.locate(near.run)
        other = None if run.fresh else self.placement.elsewhere(run.id, home)
        at = home if other is None else other
        self._liveness.require(at)
        try:
            self._admit(run.id, at)
            submitted = self.shards[at].store.submit(run, plan, grain=grain)
        except StoreUnreachableError as error:
            self.health.failed(at, error)
            raise
        self.placement.note(run.id, at)
        return submitted

    def claim(
        self, ticket: AttemptRef, *, worker: str, outputs_of: Sequence[int] = ()
    ) -> Claim | None:
        """Take a dispatched node."""
        return self._take(
            ticket.run,
            lambda store: store.claim(ticket, worker=worker, outputs_of=outputs_of),
        )

    def adopt(self, unit: UnitRef, *, worker: str) -> UnitClaim | None:
        """Take a bundle."""
        return self._take(unit.run, lambda store: store.adopt(unit, worker=worker))

    def settle(
        self,
        ticket: AttemptRef,
        outcome: Outcome,
        *,
        unit: str | None = None,
        grain: Granularity | None = None,
    ) -> Transition:
        """Record how an attempt ended."""
        return self._advance(
            ticket.run, lambda store: store.settle(ticket, outcome, unit=unit, grain=grain)
        )

    def flush(
        self, unit: UnitRef, news: UnitProgress, plan: Plan, *, worker: str, grain: Granularity
    ) -> Transition:
        """Record what a unit has done."""
        return self._advance(
            unit.run, lambda store: store.flush(unit, news, plan, worker=worker, grain=grain)
        )

    def renew(self, tickets: Sequence[AttemptRef | UnitRef]) -> Mapping[AttemptRef | UnitRef, bool]:
        """Prolong leases on all servers at once."""
        shares: dict[int, list[AttemptRef | UnitRef]] = {}
        for ticket in tickets:
            shares.setdefault(self.placement.of(ticket.run), []).append(ticket)
        rounds = {at: bound(self._renew, at, share) for at, share in shares.items()}
        answers = self._renewals.ask(rounds)
        asked = set(tickets)
        # A late answer may be about attempts that have ended since.
        return {
            ticket: lost
            for verdicts in answers.values()
            for ticket, lost in verdicts.items()
            if ticket in asked
        }

    def wake(self, ticket: AttemptRef) -> Transition:
        """End the wait of a node."""
        return self._advance(ticket.run, lambda store: store.wake(ticket))

    def signal(
        self,
        run: str,
        name: str,
        value: bytes,
        *,
        most: int = KEPT_SIGNALS,
        node: int | None = None,
    ) -> Transition | None:
        """Give a signal to the nodes that wait for it."""
        return self.placement.ask(
            run,
            lambda at: self.shards[at].store.signal(run, name, value, most=most, node=node),
            _is_none,
        )

    def lose(
        self, unit: UnitRef, *, begun: Collection[int] | None = None, worker: str = ""
    ) -> Transition:
        """Let others have the nodes of a unit whose process is dead."""
        return self._advance(unit.run, lambda store: store.lose(unit, begun=begun, worker=worker))

    def sweep(self, *, limit: int = 200) -> SweepResult:
        """Deal with what is overdue on every server that answers."""
        rounds = {at: bound(self._sweep, at, limit) for at in range(len(self.shards))}
        found = self._sweeps.ask(rounds).values()
        ahead = [sweep.next_due for sweep in found if sweep.next_due is not None]
        return SweepResult(
            dispatches=tuple(one for sweep in found for one in sweep.dispatches),
            overdue=tuple(one for sweep in found for one in sweep.overdue),
            finished={run: state for sweep in found for run, state in sweep.finished.items()},
            next_due=min(ahead, default=None),
        )

    def stop(self, run: str, *, reason: str) -> RunState | None:
        """Cancel a run."""
        return self.placement.ask(
            run, lambda at: self.shards[at].store.stop(run, reason=reason), _is_none
        )

    def pause(self, run: str, *, inside: bool = False) -> RunState | None:
        """Start nothing more of a run."""
        return self.placement.ask(
            run, lambda at: self.shards[at].store.pause(run, inside=inside), _is_none
        )

    def resume(
        self, run: str, *, grain: Granularity | None = None, parent: Parent | None = None
    ) -> Resumed | None:
        """Let a run go on."""
        return self.placement.ask(
            run,
            lambda at: self.shards[at].store.resume(run, grain=grain, parent=parent),
            _is_none,
        )

    def _admit(self, run: str, at: int) -> None:
        """Let a run in where there is room; one that exists already needs none."""
        try:
            self.shards[at].room.admit()
        except StoreFullError:
            if not self.shards[at].holds(run):
                raise

    def _take(self, run: str, call: Callable[[RedisStore], _T | None]) -> _T | None:
        """Begin something: not worth waiting for on a server that is known to be down."""

        def take(at: int) -> _T | None:
            self.health.check(at)
            return call(self.shards[at].store)

        return self.placement.ask(run, take, _is_none)

    def _advance(self, run: str, call: Callable[[RedisStore], Transition]) -> Transition:
        """Record something: tried on a server that may be down, for the work is done."""
        return self.placement.ask(
            run, lambda at: call(self.shards[at].store), lambda advance: not advance.accepted
        )

    def _renew(
        self, at: int, tickets: Sequence[AttemptRef | UnitRef]
    ) -> Mapping[AttemptRef | UnitRef, bool]:
        verdicts = dict(self.shards[at].store.renew(tickets))
        for ticket in [ticket for ticket, lost in verdicts.items() if lost]:
            other = self.placement.moved(ticket.run, at)
            if other is not None:
                del verdicts[ticket]
                verdicts.update(self.shards[other].store.renew([ticket]))
        return verdicts

    def _sweep(self, at: int, limit: int) -> SweepResult:
        store = self.shards[at].store
        found = store.sweep(limit=limit)
        for dispatch in (*found.dispatches, *(late for late, _ in found.overdue)):
            self.placement.note(dispatch.run, at)
            # Whoever publishes it asks for its plan without knowing where that is.
            if dispatch.plan not in self._plans:
                self._keep(store.get_plan(dispatch.plan))
        return found

    def _keep(self, plan: Plan) -> Plan:
        if len(self._plans) >= _PLANS_KEPT and plan.hash not in self._plans:
            self._plans.clear()
        self._plans[plan.hash] = plan
        return plan


class ShardedReader:
    """Implements ``RunReader`` on several servers."""

    def __init__(self, store: ShardedStore) -> None:
        """Read what ``store`` writes."""
        self._shards = store.shards
        self._place = store.placement
        self._health = store.health

    def summary(self, run: str) -> RunSummary | None:
        """Return the run's row."""
        return self._place.ask(run, lambda at: self._shards[at].reader.summary(run), _is_none)

    def record(self, run: str) -> RunRecord | None:
        """Return the run with its nodes."""
        return self._place.ask(run, lambda at: self._shards[at].reader.record(run), _is_none)

    def list_runs(self, query: RunQuery) -> Listing[RunSummary]:
        """Return matching runs of all servers that answer, newest first by the servers' clocks."""
        listing: Fanout[Listing[RunSummary]] = Fanout(self._health, patience=_LIST_PATIENCE)
        pages = listing.ask(
            {at: bound(self._shards[at].reader.list_runs, query) for at in self._health.live()}
        )
        rows = [row for page in pages.values() for row in page]
        rows.sort(key=lambda row: (row.created, row.id), reverse=True)
        return _merged(rows[: query.limit], pages.values())

    def dead_letters(self, *, limit: int = 50) -> Listing[DeadLetter]:
        """Return nodes that were given up, of all servers that answer, latest first."""
        asking: Fanout[Listing[DeadLetter]] = Fanout(self._health, patience=_LIST_PATIENCE)
        pages = asking.ask(
            {
                at: bound(self._shards[at].reader.dead_letters, limit=limit)
                for at in self._health.live()
            }
        )
        letters = [letter for page in pages.values() for letter in page]
        # Those of one time stand as in the sorted set of one server, and a run's are on one server.
        letters.sort(key=lambda one: (one.time, f"{one.run}|"), reverse=True)
        return _merged(letters[:limit], pages.values())

    def children(self, run: str) -> Mapping[str, int]:
        """Return the runs that nodes of a run have started."""
        return self._place.ask(
            run, lambda at: self._shards[at].reader.children(run), lambda found: not found
        )

    def states(self, run: str, nodes: Sequence[int]) -> Mapping[int, NodeState]:
        """Return where these nodes stand."""
        return self._place.ask(
            run, lambda at: self._shards[at].reader.states(run, nodes), lambda found: not found
        )

    def input(self, run: str) -> bytes:
        """Return the msgpack of the run's input."""

        def read(at: int) -> bytes | None:
            try:
                return self._shards[at].reader.input(run)
            except KeyError:
                return None

        found = self._place.ask(run, read, _is_none)
        if found is None:
            raise KeyError(run)
        return found

    def outputs(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, bytes]:
        """Return msgpack of the outputs that exist."""
        return self._place.ask(
            run, lambda at: self._shards[at].reader.outputs(run, nodes), lambda found: not found
        )

    def sizes(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, int]:
        """Return the bytes of the same."""
        return self._place.ask(
            run, lambda at: self._shards[at].reader.sizes(run, nodes), lambda found: not found
        )


def bound(call: Callable[..., _T], *args: Any, **kwargs: Any) -> Callable[[], _T]:
    """Make a call of a function and its arguments, for a round of calls."""
    return lambda: call(*args, **kwargs)


def _merged(entries: Sequence[_T], pages: Iterable[Listing[_T]]) -> Listing[_T]:
    merged = Listing(entries)
    for page in pages:
        merged.unreadable |= page.unreadable
        merged.left_out += page.left_out
    return merged


def _is_none(answer: object) -> bool:
    return answer is None
