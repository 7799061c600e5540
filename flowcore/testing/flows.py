"""Flows in a test: in this process, in no time, with whatever goes wrong on demand.

In: a definition. Out: what it comes to, on the very engine that workers run, over the in-memory
store. Not here: real workers; see the fixture ``flow_session`` of the plugin.

::

    def test_a_failing_embed_is_tried_again(flows):
        flows.fail("embed", ConnectionError("down"), times=2)
        result = flows.run("rag.yaml", {"url": "https://example.org"})
        assert result.success and flows.calls("embed") == 3

Time is the test's own: it stands still while nodes run and jumps to whatever is due next, so that a
flow that waits for a week takes milliseconds.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

from flowcore.assembly.session import Session
from flowcore.client.flow import Definition, deploy_plan, start_run
from flowcore.client.memory import Memory
from flowcore.engine.attempts.invocation import timed_out
from flowcore.engine.background.callbacks import find_callbacks, tell_all
from flowcore.engine.values.store_writes import complete
from flowcore.errors import RunNotFoundError, UsageError
from flowcore.nodes.resolve import resolving_afresh
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.ports.external_tasks import answer_name
from flowcore.ports.store import AttemptRef
from flowcore.run.event import Event
from flowcore.run.record import RunRecord
from flowcore.run.wire import pack
from flowcore.testing.definitions import Definitions
from flowcore.testing.environment import InProcess
from flowcore.testing.executor import make_executor
from flowcore.testing.loops import outside_of_loops
from flowcore.testing.report import report_of
from flowcore.testing.run import TestRun
from flowcore.testing.schedules import TestSchedules
from flowcore.testing.secrets import GivenSecrets
from flowcore.testing.stubs import Stubs
from flowcore.testing.tasks import GivenTasks
from flowcore.types import parse_duration

__all__ = ["Flows", "TestRun"]

_WORKER = "test"

#: Turns of nodes after which a run is thought to go round in circles.
_MOST_TURNS = 1_000_000


class Flows:
    """Runs flows in this process; a fixture of the pytest plugin.

    As a context manager it refuses, at its end, stubs and faults of nodes that there are not.
    """

    def __init__(self, *, now: float = 1_800_000_000.0, duplicate: bool = False) -> None:
        """Begin with nothing.

        Args:
            now: The time at which it begins, in Unix seconds.
            duplicate: Deliver each message twice, as brokers may.
        """
        self.now, self.duplicate = now, duplicate
        self.session = InProcess(self._clock, runner=self)
        runtime = self.session.runtime
        self.store = runtime.store
        self.registry = runtime.flows
        self.schedules = TestSchedules(self.session)
        self._post = runtime.dispatcher
        self._stubs = Stubs(self._spend)
        self._tasks = GivenTasks()
        self._secrets = GivenSecrets()
        self._definitions = Definitions()
        self._depth = 0
        self._executor = make_executor(
            self.session,
            self._clock,
            substitute=self._stubs.substitute,
            sender=self._tasks,
            secrets=self._secrets,
            on_wake=self._wake,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.check()

    # ── what a test arranges ────────────────────────────────────────────────────────────────────

    def stub(
        self, node: str, gives: Any = None, *, calls: Callable[..., Any] | None = None
    ) -> None:
        """Put something else in the place of a node's function.

        Args:
            node: The node's id, in whatever flow; ``embed[3]`` for one item of a map, and
                ``embed.for_each`` for the function that gives a map its items.
            gives: What it gives.
            calls: Or a function to call. It is a node: it gets what the node's own function gets
                as far as it takes that, and its context, and outputs by their names; it may be
                async or yield.

        Raises:
            UsageError: The node calls no function: it runs nodes of its own. Or ``calls`` is none.
        """
        self._stubs.stub(node, calls if calls is not None else lambda **_: gives)

    def fail(
        self,
        node: str,
        error: BaseException | type[BaseException] | None = None,
        *,
        times: float = 1,
    ) -> None:
        """Have a node fail.

        Args:
            node: The node's id; ``embed[3]`` for one item of a map.
            error: What it raises; a ``RuntimeError`` when left out.
            times: In how many of its next attempts.
        """
        self._stubs.fail(node, error, times)

    def delay(self, node: str, by: float | str) -> None:
        """Have a node take its time, which passes here without anybody waiting.

        A node whose time limit is shorter fails with ``NodeTimeoutError``; what falls due
        meanwhile, such as the deadline of the run, falls due.

        Args:
            node: The node's id; ``embed[3]`` for one item of a map.
            by: Seconds, or text such as ``45s``, in each attempt.
        """
        self._stubs.delay(node, _seconds(by))

    def check(self) -> None:
        """Raise if ``fail``, ``stub`` or ``delay`` names no node of a flow that ran.

        The fixture does so after each test.
        """
        self._stubs.check()

    def task(self, name: str, function: Callable[..., Any]) -> None:
        """Say what a Celery task of somebody else does: ``uses: celery:NAME``."""
        self._tasks.functions[name] = function

    def secret(self, name: str, value: str) -> None:
        """Say what ``${{ secrets.NAME }}`` is."""
        self._secrets.values[name] = value

    def deploy(self, definition: Definition) -> None:
        """Deploy a flow, so that others, and schedules, can run it by name."""
        flow, plan = self._definitions.read(definition)
        deploy_plan(self._session, plan, flow.description)

    def memory(self, name: str, thread: str) -> Memory:
        """A thread of a flow's memory, to fill it or to look at it."""
        return Memory(name, thread, session=self._session)

    def calls(self, node: str) -> int:
        """Count the calls of a node's function, attempts that were to fail included.

        Raises:
            UsageError: No flow that ran has such a node.
        """
        return self._stubs.calls(node)

    # ── running ─────────────────────────────────────────────────────────────────────────────────

    def run(
        self,
        definition: Definition,
        input: Any = None,
        *,
        callbacks: Sequence[Any] = (),
        **more: Any,
    ) -> ExecutionResult:
        """Run a flow to its end.

        Args:
            definition: A path, a map, a ``Flow``.
            input: The run's input.
            callbacks: What hears of each event, in order.
            more: As for ``start``.

        Raises:
            UsageError: It waits for what will never come by itself, such as a signal.
        """
        heard = list(map(find_callbacks, callbacks))
        run = self.start(definition, input, **more)
        self.run_out()
        if heard:
            outside_of_loops(lambda: asyncio.run(tell_all(heard, run.events)))
        if not run.state.is_terminal:
            waiting = {id: node.waits for id, node in run.record.nodes.items() if node.waits}
            told = ", ".join(f"{id} {why}" for id, why in waiting.items()) or "nothing is due"
            msg = f"run {run.id!r} has not ended and waits: {told}; use start() and run.signal()"
            raise UsageError(msg)
        return run.result()

    def start(
        self,
        definition: Definition,
        input: Any = None,
        *,
        id: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 5,
    ) -> TestRun:
        """Start a run and let it go on as far as it gets without time passing.

        Args:
            definition: A path, a map, a ``Flow``.
            input: The run's input.
            id: The run's id.
            tags: Words to find it by.
            priority: 0 to 9.

        Raises:
            DefinitionError: The flow has problems.
            UsageError: As for ``Flow.enqueue``.
        """
        _, plan = self._definitions.read(definition)
        self._stubs.learn(plan)
        made = start_run(self._session, plan, input, id=id, tags=tags, priority=priority)
        run = TestRun(made.id, session=self.session)
        self.proceed()
        return run

    def get(self, run: str) -> TestRun:
        """The handle of a run, such as one that a schedule has made.

        Raises:
            RunNotFoundError: No run has this id.
        """
        self.record(run)
        return TestRun(run, session=self.session)

    def advance(self, by: float | str, *, workers: bool = True) -> None:
        """Let time pass, and whatever falls due in it.

        Args:
            by: Seconds, or text such as ``2h``.
            workers: Whether workers look meanwhile. If not, all of that falls due at its end, late:
                as after a night without workers.
        """
        until = self.now + _seconds(by)
        if workers:
            self.proceed()
            self._pass(until, lambda: True)
        self.now = until
        self.proceed()

    def run_out(self, *, most: float | str = "3650d") -> None:
        """Let time pass until nothing is due any more, or all runs wait for somebody.

        Runs that schedules make meanwhile are begun, and not waited for.

        Args:
            most: How long that may be; what runs are kept for is none of it.
        """
        self.proceed()
        there = self.session.open_runs()
        self._pass(self.now + _seconds(most), lambda: self._goes_on(there))

    def record(self, run: str) -> RunRecord:
        """All that is recorded of a run."""
        found = self.store.record(run)
        if found is None:
            raise RunNotFoundError(run)
        return found

    def events(self, run: str) -> list[Event]:
        """Return the events of a run, in order."""
        found: list[Event] = []
        while page := self.store.read(run, after=len(found)):
            found += page
        return found

    def report(self) -> str:
        """The runs that have not succeeded: states of their nodes, what these wait for, tracebacks.

        The plugin shows it for each test that fails.
        """
        return report_of(self.store)

    def proceed(self) -> None:
        """Do all there is to do without time passing; what starts and moves runs does so itself."""
        with resolving_afresh(), self._definitions.importable(), self._threads():
            outside_of_loops(self._turns)

    # ── the engine's part ───────────────────────────────────────────────────────────────────────

    @property
    def _session(self) -> Session:
        return cast("Session", self.session)

    def _clock(self) -> float:
        return self.now

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """Leave no threads behind; a node may let runs go on itself."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._executor.close()

    def _pass(self, until: float, wanted: Callable[[], bool]) -> None:
        """Let time pass from one thing that falls due to the next, as long as that is wanted."""
        while wanted() and (due := self._next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self.proceed()

    def _spend(self, seconds: float, limit: float | None) -> None:
        """Let time pass while a node runs; what becomes ready meanwhile begins afterwards."""
        ends = self.now + (seconds if limit is None else min(seconds, limit))
        while (due := self._next_due()) is not None and due <= ends:
            self.now = max(self.now, due)
            self._look()
        self.now = ends
        if limit is not None and seconds >= limit:
            raise timed_out(limit)

    def _goes_on(self, runs: frozenset[str]) -> bool:
        """Return whether something will fall due in one of these runs, or inside it."""
        return any(run.partition("/")[0] in runs for run, _ in self.session.agenda())

    def _next_due(self) -> float | None:
        due = [at for _, at in self.session.agenda()]
        if (at := self.session.next_time(self.now)) is not None:
            due.append(at)
        return min(due, default=None)

    def _wake(self, ticket: AttemptRef) -> None:
        self.session.publish(self.store.wake(ticket).dispatch)

    def _turns(self) -> None:
        for _ in range(_MOST_TURNS):
            if self._post.tickets:
                self._deliver(*self._post.tickets.popleft())
            elif self._tasks.answers:
                ticket, answer = self._tasks.answers.popleft()
                advance = self.store.signal(ticket.run, answer_name(ticket), pack(answer))
                self.session.publish(advance.dispatch if advance else None)
            elif not self._look():
                return
        msg = f"more than {_MOST_TURNS:,} turns: does a loop never end?"
        raise UsageError(msg)

    def _look(self) -> bool:
        """Fire what is due; say whether that was anything."""
        due = min((at for _, at in self.session.agenda()), default=None)
        if due is None or due > self.now:
            return bool(self.session.scheduler.step())
        swept = self.store.sweep()
        for dispatch in [*swept.dispatches, *(dispatch for dispatch, _ in swept.overdue)]:
            self.session.publish(dispatch)
        return True

    def _deliver(self, ticket: AttemptRef, plan: Plan) -> None:
        self._stubs.learn(plan)
        for _ in range(2 if self.duplicate else 1):
            attempt = self._executor.run(ticket, plan, worker=_WORKER)
            if attempt is None:
                continue

            def write(attempt: Any = attempt) -> Any:
                return self.store.settle(attempt.ticket, attempt.outcome)

            advance = complete(write, self._post, plan)
            if self.duplicate:
                complete(write, self._post, plan)
            if advance.parent is not None:
                over = advance.parent
                self._wake(AttemptRef(run=over.run, node=over.node, attempt=over.attempt))


def _seconds(time: float | str) -> float:
    try:
        return float(parse_duration(time))
    except (ValueError, TypeError) as error:
        raise UsageError(f"a time to pass: {error}") from error
