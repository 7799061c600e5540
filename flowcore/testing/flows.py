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

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import Any

from flowcore.client.flow import Definition, Flow
from flowcore.engine import answers
from flowcore.engine.children import EngineChildren
from flowcore.engine.complete import complete
from flowcore.engine.execute import Executor
from flowcore.engine.guard import Shared
from flowcore.engine.limits import Limits
from flowcore.engine.payloads import Payloads
from flowcore.engine.pinning import pinned
from flowcore.engine.spawn import Spawner
from flowcore.engine.streaming import is_generator
from flowcore.engine.submit import submit
from flowcore.errors import CeleryTaskError, RunNotFoundError, UsageError
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.ports.flows import DeployedFlow
from flowcore.ports.store import Dispatch, Ticket
from flowcore.ports.tasks import answer_name
from flowcore.run.event import Event
from flowcore.run.record import RunRecord
from flowcore.run.wire import pack
from flowcore.stores.inmemory.breaker import InMemoryBreakers
from flowcore.stores.inmemory.cache import InMemoryCache
from flowcore.stores.inmemory.flows import InMemoryFlows
from flowcore.stores.inmemory.limiter import InMemoryLimiter
from flowcore.stores.inmemory.memory import InMemoryMemory
from flowcore.stores.inmemory.store import InMemoryStore
from flowcore.testing.doubles import Fault, Messages, NoLeases
from flowcore.testing.run import TestRun
from flowcore.testing.secrets import GivenSecrets
from flowcore.types import parse_duration

__all__ = ["Flows", "TestRun"]

_WORKER = "test"

#: Turns of nodes after which a run is thought to go round in circles.
_MOST_TURNS = 1_000_000


class Flows:
    """Runs flows in this process; a fixture of the pytest plugin."""

    def __init__(self, *, now: float = 1_800_000_000.0, duplicate: bool = False) -> None:
        """Begin with nothing.

        Args:
            now: The time at which it begins, in Unix seconds.
            duplicate: Deliver each message twice, as brokers may.
        """
        self.now = now
        self.duplicate = duplicate
        clock = self._clock
        self.store = InMemoryStore(clock=clock)
        self.registry = InMemoryFlows(self.store)
        self._post = Messages()
        self._faults: dict[str, Fault] = {}
        self._names: dict[str, set[str]] = {}
        self._stubs: dict[str, Callable[..., Any]] = {}
        self._tasks: dict[str, Callable[..., Any]] = {}
        self._answers: deque[tuple[Ticket, dict[str, Any]]] = deque()
        self._calls: Counter[str] = Counter()
        self._secrets = GivenSecrets()
        payloads = Payloads()
        self._executor = Executor(
            store=self.store,
            reader=self.store,
            events=self.store,
            keeper=NoLeases(self.store, interval=3600.0),
            shared=Shared(
                limiter=InMemoryLimiter(clock=clock),
                breakers=InMemoryBreakers(clock=clock),
                cache=InMemoryCache(clock=clock),
            ),
            limits=Limits(),
            payloads=payloads,
            memory=InMemoryMemory(clock=clock),
            spawner=Spawner(
                self.store,
                payloads,
                EngineChildren(
                    store=self.store,
                    reader=self.store,
                    dispatcher=self._post,
                    payloads=payloads,
                    slots=None,
                ),
            ),
            sender=self,
            secrets=self._secrets,
            substitute=self._substitute,
            on_wake=self._wake,
        )

    def revoke(self, tickets: Sequence[Ticket]) -> None:
        """Nothing to do: tasks run as soon as they are sent."""

    # ── what a test arranges ────────────────────────────────────────────────────────────────────

    def stub(
        self, node: str, gives: Any = None, *, calls: Callable[..., Any] | None = None
    ) -> None:
        """Put something else in the place of a node's function.

        Args:
            node: The node's id, in whatever flow; ``embed[3]`` for one item of a map.
            gives: What it gives.
            calls: Or a function to call, with the arguments of the node's own.
        """
        self._stubs[node] = calls if calls is not None else lambda *_, **__: gives

    def fail(self, node: str, error: BaseException | None = None, *, times: int = 1) -> None:
        """Have a node fail.

        Args:
            node: The node's id; ``embed[3]`` for one item of a map.
            error: What it raises; a ``RuntimeError`` when left out.
            times: In how many of its next attempts.
        """
        self._faults[node] = Fault(error or RuntimeError(f"{node} was told to fail"), times)

    def check(self) -> None:
        """Refuse faults and stubs of nodes that there are not; the fixture does so after each test.

        Raises:
            UsageError: ``fail`` or ``stub`` names what is no node of a flow that ran.
        """
        names = set().union(*self._names.values())
        told = [("fail", name) for name in self._faults] + [("stub", name) for name in self._stubs]
        for what, name in told:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "nothing of that name ran"
                msg = f"{what}({name!r}): there is no such node in any flow that ran; {hint}"
                raise UsageError(msg)

    def task(self, name: str, function: Callable[..., Any]) -> None:
        """Say what a Celery task of somebody else does: ``uses: celery:NAME``."""
        self._tasks[name] = function

    def secret(self, name: str, value: str) -> None:
        """Say what a secret is: ``${{ secrets.NAME }}``."""
        self._secrets.values[name] = value

    def deploy(self, definition: Definition) -> None:
        """Deploy a flow, so that others can run it by name."""
        plan = _flow(definition).plan()
        self.store.put_plan(plan)
        self.registry.deploy(
            DeployedFlow(name=plan.flow, version=plan.version, plan=plan.hash, deployed=self.now)
        )

    def calls(self, node: str) -> int:
        """How often a node's function was called, those attempts included that were to fail."""
        return self._calls[node]

    # ── running ─────────────────────────────────────────────────────────────────────────────────

    def run(self, definition: Definition, input: Any = None, **more: Any) -> ExecutionResult:
        """Run a flow to its end; ``more`` is as for ``start``.

        Raises:
            UsageError: It waits for what will never come by itself, such as a signal.
        """
        run = self.start(definition, input, **more)
        self.run_out()
        if not run.state.is_terminal:
            waiting = {id: node.waits for id, node in run.record.nodes.items() if node.waits}
            told = ", ".join(f"{id} {why}" for id, why in waiting.items()) or "nothing is due"
            msg = f"run {run.id!r} has not ended and waits: {told}; use start() and run.signal()"
            raise UsageError(msg)
        return run.result()

    def start(self, definition: Definition, input: Any = None, *, id: str | None = None) -> TestRun:
        """Start a run and let it go on as far as it gets without time passing.

        Args:
            definition: A path, a map, a ``Flow``.
            input: The run's input.
            id: The run's id.
        """
        plan = pinned(_flow(definition).plan(), self.registry, self.store.get_plan)
        run, _ = submit(self.store, self._post, plan, input=input, run_id=id)
        self._go_on()
        return TestRun(self, run, plan)

    def advance(self, by: float | str) -> None:
        """Let time pass, and whatever falls due in it.

        Args:
            by: Seconds, or text such as ``2h``.
        """
        until = self.now + float(parse_duration(by))
        while (due := self._next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self._go_on()
        self.now = until
        self._go_on()

    def run_out(self, *, most: float | str = "3650d") -> None:
        """Let time pass until nothing is due any more, or a run waits for a signal.

        Args:
            most: How long that may be; what runs are kept for is none of it.
        """
        ends = self.now + float(parse_duration(most))
        self._go_on()
        while self._is_busy() and (due := self._next_due()) is not None and due <= ends:
            self.now = max(self.now, due)
            self._go_on()

    def record(self, run: str) -> RunRecord:
        """All that is recorded of a run."""
        found = self.store.record(run)
        if found is None:
            raise RunNotFoundError(run)
        return found

    def events(self, run: str) -> list[Event]:
        """What has happened in a run, in order."""
        found: list[Event] = []
        while page := self.store.read(run, after=len(found)):
            found += page
        return found

    def signal(self, run: str, name: str, value: Mapping[str, Any]) -> None:
        """Give a signal to a run."""
        answers.signal(self.store, self.store, self._post, run, name, pack(dict(value)))
        self._go_on()

    def answer(self, run: str, node: str, value: Mapping[str, Any]) -> None:
        """Answer a node of a run that asks for an approval."""
        asked = answers.question(self.store, self.store, run, node)
        answers.answer(self.store, self.store, self._post, asked, pack(dict(value)))
        self._go_on()

    def cancel(self, run: str, reason: str) -> None:
        """Stop a run."""
        if self.store.stop(run, reason=reason) is None:
            raise RunNotFoundError(run)
        self._go_on()

    def send(
        self,
        task: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        queue: str | None,
        ticket: Ticket,
    ) -> str:
        """Run a Celery task of somebody else: what ``task`` was told of it."""
        if task not in self._tasks:
            msg = f"no test has said what the Celery task {task} does: flows.task({task!r}, ...)"
            raise CeleryTaskError(msg)
        try:
            answer: dict[str, Any] = {"result": self._tasks[task](*args, **kwargs)}
        except Exception as error:  # noqa: BLE001  (whatever it raises, the node hears of it)
            kind = type(error)
            answer = {
                "error": {
                    "type": kind.__name__,
                    "module": kind.__module__,
                    "message": str(error),
                }
            }
        self._answers.append((ticket, answer))
        return f"{ticket.run}.{ticket.node}"

    # ── the engine's part ───────────────────────────────────────────────────────────────────────

    def _clock(self) -> float:
        return self.now

    def _is_busy(self) -> bool:
        runs = self.store._world.runs.values()  # noqa: SLF001  (its own tests' store)
        return any(not run.state.is_terminal for run in runs)

    def _next_due(self) -> float | None:
        agenda = self.store._world.agenda  # noqa: SLF001
        due = [at for (_, what), at in agenda.items() if what != "R"]
        return min(due) / 1000 if due else None

    def _publish(self, dispatch: Dispatch | None) -> None:
        if dispatch is not None:
            self._post.publish(dispatch, self.store.get_plan(dispatch.plan))

    def _wake(self, ticket: Ticket) -> None:
        self._publish(self.store.wake(ticket).dispatch)

    def _go_on(self) -> None:
        """Do all there is to do without time passing."""
        for _ in range(_MOST_TURNS):
            if self._post.tickets:
                self._deliver(*self._post.tickets.popleft())
            elif self._answers:
                ticket, answer = self._answers.popleft()
                advance = self.store.signal(ticket.run, answer_name(ticket), pack(answer))
                self._publish(advance.dispatch if advance else None)
            elif not self._sweep():
                return
        msg = f"more than {_MOST_TURNS:,} turns: does a loop never end?"
        raise UsageError(msg)

    def _sweep(self) -> bool:
        """Fire what is due; say whether that was anything."""
        due = self._next_due()
        if due is None or due > self.now:
            return False
        swept = self.store.sweep()
        for dispatch in swept.dispatches:
            self._publish(dispatch)
        for dispatch, _ in swept.overdue:
            self._publish(dispatch)
        return True

    def _deliver(self, ticket: Ticket, plan: Plan) -> None:
        if plan.hash not in self._names:
            self._names[plan.hash] = {*plan.ids, *map(plan.label, range(len(plan)))}
        for _ in range(2 if self.duplicate else 1):
            attempt = self._executor.run(ticket, plan, worker=_WORKER)
            if attempt is None:
                continue
            outcome = attempt.outcome

            def write(outcome: Any = outcome) -> Any:
                return self.store.settle(ticket, outcome)

            advance = complete(write, self._post, plan)
            if self.duplicate:
                complete(write, self._post, plan)
            if advance.parent is not None:
                over = advance.parent
                self._wake(Ticket(run=over.run, node=over.node, attempt=over.attempt))

    def _substitute(
        self, plan: Plan, node: int, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        names = (plan.ids[node], plan.label(node))
        if is_generator(function) and not any(name in self._stubs for name in names):
            return function

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            for name in dict.fromkeys(names):
                self._calls[name] += 1
            for name in names:
                fault = self._faults.get(name)
                if fault is not None and fault.left > 0:
                    fault.left -= 1
                    raise fault.error
            stub = next((self._stubs[name] for name in names if name in self._stubs), function)
            return stub(*args, **kwargs)

        return called


def _flow(definition: Definition) -> Flow:
    return definition if isinstance(definition, Flow) else Flow.load(definition)  # type: ignore[arg-type]
