"""A unit runs what it owns and what that makes ready; nobody waits for it longer than need be."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowcore import Context
from flowcore.check.check import check
from flowcore.engine.attempts.heartbeat import Heartbeater
from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.policies.pipeline import SharedState
from flowcore.engine.runs.granularity import DurationEstimates
from flowcore.engine.values.event_limits import Limits
from flowcore.engine.values.payloads import Payloads
from flowcore.engine.worker import unit as module
from flowcore.engine.worker.executor import Executor
from flowcore.engine.worker.ports import ExecutorPorts
from flowcore.engine.worker.unit import Unit, UnitHost, UnitWatch
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, NewRun, Outcome, Transition
from flowcore.ports.unit import BatchSize, Bundle, Granularity, UnitRef
from flowcore.run.status import NodeState, RunState
from flowcore.run.wire import unpack
from flowcore.stores.inmemory import InMemoryStore
from flowcore.stores.inmemory.breaker import InMemoryBreakers
from flowcore.stores.inmemory.cache import InMemoryCache
from flowcore.stores.inmemory.limiter import InMemoryLimiter

HERE = __name__
WAITING = threading.Event()
GO_ON = threading.Event()


def one() -> int:
    return 1


def successor(upstream: int) -> int:
    return upstream + 1


def sizeable() -> bytes:
    return bytes(200_000)


def boom() -> None:
    msg = "boom"
    raise ValueError(msg)


def waits() -> None:
    WAITING.set()
    assert GO_ON.wait(timeout=30)


def tells(ctx: Context) -> bool:
    return ctx.emit("progress", done=1)


def watches_for_the_end(ctx: Context) -> bool:
    WAITING.set()
    return ctx.stopping.wait(timeout=30)


class Unbiased(DurationEstimates):
    """Never learns: a busy machine must not turn a short node into a long one."""

    def note(self, uses: str, seconds: float) -> None:
        pass


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is about how fast this machine is."""
    monkeypatch.setattr(module, "HAND_BACK", 60.0)
    monkeypatch.setattr(module, "_FLUSH_AFTER", 60.0)


@dataclass
class Scene:
    """A run in memory, of which one unit owns the first nodes."""

    nodes: Mapping[str, Mapping[str, Any]]
    store: InMemoryStore = field(default_factory=InMemoryStore)
    estimates: DurationEstimates = field(default_factory=Unbiased)
    writes: list[Transition] = field(default_factory=list)
    edges: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        flow = {"id": "flow", "nodes": self.nodes, "edges": list(self.edges)}
        self.plan: Plan = compile_plan(check(load_tree(flow)))
        packs = {number: BatchSize(cost=0, least=99, most=99) for number in range(99)}
        submitted = self.store.submit(
            NewRun(id="r", plan=self.plan.hash, input=b"\x80"),
            self.plan,
            grain=Granularity(packs=packs),
        )
        assert submitted.dispatch is not None
        (bundle,) = submitted.dispatch.bundles
        self.ticket = UnitRef(run="r", unit=bundle.unit)
        adopted = self.store.adopt(self.ticket, worker="w")
        assert adopted is not None
        self.owned = adopted.nodes

    def unit(self) -> Unit:
        store = self.store
        executor = Executor(
            ExecutorPorts(
                limits=Limits(),
                store=store,
                reader=store,
                events=store,
                shared=SharedState(
                    limiter=InMemoryLimiter(), breakers=InMemoryBreakers(), cache=InMemoryCache()
                ),
                payloads=Payloads(),
            ),
            keeper=Heartbeater(store, interval=60),
        )

        def record(write: Callable[[], Transition], *_: object) -> Transition:
            self.writes.append(write())
            return self.writes[-1]

        return Unit(
            host=UnitHost(
                store=store,
                executor=executor,
                estimates=self.estimates,
                record=record,
                slots=lambda: 1,
            ),
            ticket=self.ticket,
            plan=self.plan,
            queue=None,
            worker="w",
            upstream=Upstream(run="r", plan=self.plan, reader=store),
        )

    def run(self) -> "Scene":
        self.unit().run(self.owned)
        return self

    def state(self) -> RunState:
        summary = self.store.summary("r")
        assert summary is not None
        return summary.state

    def states(self) -> dict[str, NodeState]:
        record = self.store.record("r")
        assert record is not None
        return {name: node.state for name, node in record.nodes.items()}

    def outputs(self) -> dict[str, Any]:
        found = self.store.outputs("r")
        return {self.plan.ids[node]: unpack(blob) for node, blob in found.items()}

    def told(self) -> list[str]:
        return [f"{event.type.value} {event.node}" for event in self.store.read("r") if event.node]

    def given_back(self) -> list[str]:
        ids = self.plan.ids
        names: list[str] = []
        for advance in self.writes:
            if advance.dispatch is not None:
                names += [ids[node] for node, _ in advance.dispatch.nodes]
                names += [name for one in advance.dispatch.bundles for name in self._of(one)]
        return sorted(names)

    def _of(self, bundle: Bundle) -> list[str]:
        return list(self.plan.ids[bundle.node : bundle.node + bundle.count])


@pytest.fixture
def watched() -> Iterator[Callable[[Scene], threading.Thread]]:
    """Runs a scene's unit in a thread of its own, looked after; ends with the test."""
    WAITING.clear()
    GO_ON.clear()
    threads: list[threading.Thread] = []

    def start(scene: Scene) -> threading.Thread:
        unit, watch = scene.unit(), UnitWatch()

        def run() -> None:
            with watch.over(unit):
                unit.run(scene.owned)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        assert WAITING.wait(timeout=30)
        return threads[-1]

    yield start
    GO_ON.set()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def _chain(length: int) -> dict[str, dict[str, Any]]:
    nodes: dict[str, dict[str, Any]] = {"n0": {"uses": f"{HERE}:one"}, "x": {"uses": f"{HERE}:one"}}
    for at in range(1, length):
        nodes[f"n{at}"] = {"uses": f"{HERE}:successor", "needs": [f"n{at - 1}"]}
    return nodes


def test_a_chain_runs_in_one_unit_and_few_writes() -> None:
    scene = Scene(_chain(200)).run()
    assert scene.state() is RunState.SUCCEEDED
    assert scene.outputs()["n199"] == 200
    assert len(scene.writes) == 1
    assert scene.given_back() == []


def test_every_node_has_its_start_and_its_end_in_the_log_in_the_order_they_ran() -> None:
    told = Scene(_chain(3)).run().told()
    assert [line for line in told if line.endswith("n0")][:2] == [
        "node.started n0",
        "node.succeeded n0",
    ]
    assert told.index("node.succeeded n0") < told.index("node.started n1")
    assert len([line for line in told if line.startswith("node.succeeded")]) == 4


def test_a_join_of_nodes_that_the_unit_has_done_is_done_by_it() -> None:
    nodes: dict[str, dict[str, Any]] = {
        f"{layer}{k}": {
            "uses": f"{HERE}:one",
            "needs": [f"{before}{j}" for j in range(5)] if before else [],
        }
        for before, layer in (("", "a"), ("a", "b"), ("b", "c"))
        for k in range(5)
    }
    scene = Scene(nodes).run()
    assert scene.state() is RunState.SUCCEEDED
    assert len(scene.writes) == 1


def test_a_failure_is_recorded_behind_what_was_done_before_it() -> None:
    scene = Scene(
        {
            "a": {"uses": f"{HERE}:one"},
            "x": {"uses": f"{HERE}:one"},
            "b": {"uses": f"{HERE}:boom", "needs": ["a"]},
            "c": {"uses": f"{HERE}:one", "needs": ["b"]},
        }
    ).run()
    assert scene.state() is RunState.FAILED
    assert scene.states() == {
        "a": NodeState.SUCCEEDED,
        "x": NodeState.SUCCEEDED,
        "b": NodeState.FAILED,
        "c": NodeState.CANCELLED,
    }
    told = scene.told()
    assert (
        told.index("node.succeeded a") < told.index("node.started b") < told.index("node.failed b")
    )


def test_a_retry_goes_to_the_agenda_and_the_unit_goes_on() -> None:
    scene = Scene(
        {
            "x": {"uses": f"{HERE}:one"},
            "y": {"uses": f"{HERE}:one"},
            "a": {
                "uses": f"{HERE}:boom",
                "needs": ["x"],
                "retry": {"max_attempts": 2, "delay": 60},
            },
            "b": {"uses": f"{HERE}:one", "needs": ["y"]},
        }
    ).run()
    assert scene.states()["a"] is NodeState.RETRYING
    assert scene.states()["b"] is NodeState.SUCCEEDED


def test_a_dead_edge_is_not_followed() -> None:
    nodes = {name: {"uses": f"{HERE}:one"} for name in ("a", "x", "b", "c")}
    edges = [
        {"from": "a", "to": "b", "when": "a.output == 2"},
        {"from": "a", "to": "c", "when": "a.output == 1"},
    ]
    scene = Scene(nodes, edges=edges).run()
    assert scene.states()["b"] is NodeState.SKIPPED
    assert scene.states()["c"] is NodeState.SUCCEEDED
    assert scene.state() is RunState.SUCCEEDED


def test_what_a_node_emits_is_heard_though_nothing_was_recorded_before() -> None:
    scene = Scene(
        {
            "a": {"uses": f"{HERE}:one"},
            "x": {"uses": f"{HERE}:one"},
            "b": {"uses": f"{HERE}:tells", "needs": ["a"]},
        }
    ).run()
    assert scene.outputs()["b"] is True
    told = scene.told()
    assert told.index("node.started b") < told.index("node.emitted b")
    assert told.count("node.started b") == 1


def test_a_node_that_takes_long_keeps_nobody_waiting(
    watched: Callable[[Scene], threading.Thread],
) -> None:
    scene = Scene(
        {
            "a": {"uses": f"{HERE}:one"},
            "a2": {"uses": f"{HERE}:one"},
            "b": {"uses": f"{HERE}:waits", "needs": ["a"]},
            "c": {"uses": f"{HERE}:one", "needs": ["b", "a2"]},
            "d": {"uses": f"{HERE}:one", "needs": ["a2"]},
        }
    )
    thread = watched(scene)
    with scene.store._changed:
        assert scene.store._changed.wait_for(lambda: scene.writes, timeout=30)
    assert scene.store.outputs("r"), "what was done before it is recorded"
    assert scene.given_back() == ["d"]
    assert scene.states()["b"] is NodeState.RUNNING
    GO_ON.set()
    thread.join(timeout=30)
    assert scene.states()["b"] is NodeState.SUCCEEDED


def test_a_unit_that_is_lost_ends_without_a_word(
    watched: Callable[[Scene], threading.Thread],
) -> None:
    scene = Scene({"a": {"uses": f"{HERE}:waits"}, "x": {"uses": f"{HERE}:waits"}})
    thread = watched(scene)
    assert scene.store.lose(scene.ticket).accepted
    GO_ON.set()
    thread.join(timeout=30)
    assert scene.states() == {"a": NodeState.DISPATCHED, "x": NodeState.DISPATCHED}
    assert scene.outputs() == {}


def test_a_stopped_run_starts_nothing_more(
    watched: Callable[[Scene], threading.Thread],
) -> None:
    node = {"uses": f"{HERE}:watches_for_the_end"}
    scene = Scene({"a": node, "x": node})
    scene.store.stop("r", reason="test")  # before the unit has said a word
    thread = watched(scene)
    thread.join(timeout=30)
    assert scene.state() is RunState.CANCELLED


def test_a_unit_whose_time_is_over_gives_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAND_BACK", -1.0)
    scene = Scene({"a": {"uses": f"{HERE}:one"}, "b": {"uses": f"{HERE}:one"}}).run()
    assert scene.given_back() == ["a", "b"]
    assert scene.outputs() == {}


def test_nodes_of_other_queues_or_with_a_time_limit_are_published() -> None:
    scene = Scene(
        {
            "a": {"uses": f"{HERE}:one"},
            "x": {"uses": f"{HERE}:one"},
            "b": {"uses": f"{HERE}:one", "needs": ["a"], "queue": "gpu"},
            "c": {"uses": f"{HERE}:one", "needs": ["a"], "timeout": 5},
            "d": {"uses": f"{HERE}:one", "needs": ["a"]},
        }
    ).run()
    assert scene.given_back() == ["b", "c"]
    assert scene.states()["d"] is NodeState.SUCCEEDED


def test_joins_whose_other_side_is_done_elsewhere_are_not_asked_for_one_by_one() -> None:
    other = {"uses": f"{HERE}:one", "queue": "other"}
    here = {"uses": f"{HERE}:one"}
    ladder: dict[str, dict[str, Any]] = {"a0": other, "b0": here, "x": here}
    for at in range(1, 200):
        ladder[f"a{at}"] = {**other, "needs": [f"a{at - 1}"]}
        ladder[f"b{at}"] = {**here, "needs": [f"a{at - 1}", f"b{at - 1}"]}
    scene = Scene(ladder)
    for at in range(200):
        ticket = AttemptRef(run="r", node=scene.plan.ids.index(f"a{at}"), attempt=1)
        assert scene.store.claim(ticket, worker="other")
        ended = Outcome(kind="succeeded", output=b"\x01")
        assert scene.store.settle(ticket, ended).accepted
    scene.run()
    assert scene.state() is RunState.SUCCEEDED
    assert len(scene.writes) == 2


def test_sizeable_outputs_are_not_all_recorded_in_one_step() -> None:
    nodes = {f"n{at}": {"uses": f"{HERE}:sizeable"} for at in range(12)}
    scene = Scene(nodes).run()
    assert scene.state() is RunState.SUCCEEDED
    assert len(scene.writes) == 2, "2.4 MB, of which a step takes 1.2"
    small = Scene({f"n{at}": {"uses": f"{HERE}:one"} for at in range(12)}).run()
    assert len(small.writes) == 1


def test_a_unit_of_a_paused_run_ends_after_the_node_in_hand(
    watched: Callable[[Scene], threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_AFTER", -1.0)
    nodes: dict[str, dict[str, Any]] = {
        "long": {"uses": f"{HERE}:waits"},
        "other": {"uses": f"{HERE}:waits"},
        "after": {"uses": f"{HERE}:one", "needs": ["long"]},
    }
    scene = Scene(nodes)
    thread = watched(scene)
    scene.store.pause("r")
    GO_ON.set()
    thread.join(timeout=30)
    assert scene.states() == {
        "long": NodeState.SUCCEEDED,
        "other": NodeState.HELD,
        "after": NodeState.HELD,
    }
    assert scene.state() is RunState.PAUSED


def test_a_unit_of_a_resumed_run_does_only_what_it_was_given() -> None:
    """A node that is not ready yet may have had attempts: the unit could not know its number."""
    scene = Scene(_chain(3))
    unit = scene.unit()
    unit.resumed = True
    unit.run(scene.owned)
    assert scene.outputs()["n2"] == 3
    assert len(scene.writes) == 3, "the store is asked before each link, as for no other run"


class Fixed(DurationEstimates):
    """Every node is thought to take the same."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def note(self, uses: str, seconds: float) -> None:
        pass

    def cost(self, uses: str) -> float:
        return self.seconds


def test_nodes_of_some_milliseconds_are_run_one_after_the_other_once_they_are_here() -> None:
    nodes = {f"n{k}": {"uses": f"{HERE}:one"} for k in range(5)}
    scene = Scene(nodes, estimates=Fixed(0.008)).run()
    assert scene.given_back() == []
    assert len(scene.writes) == 1


def test_a_node_known_to_take_long_is_told_of_and_the_others_go_back_at_once() -> None:
    nodes = {f"n{k}": {"uses": f"{HERE}:one"} for k in range(5)}
    scene = Scene(nodes, estimates=Fixed(1.0)).run()
    assert scene.given_back() == ["n1", "n2", "n3", "n4"]
    assert scene.told()[:2] == ["node.started n0", "node.succeeded n0"]
