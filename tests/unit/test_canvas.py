"""The Celery canvas of a plan, run eagerly; real workers run it in the integration tests."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from celery import Celery, chain, signature
from celery.exceptions import Reject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcore.celery.canvas import export as canvas
from flowcore.celery.canvas.export import CanvasFailedError, canvas_text, register, to_canvas
from flowcore.celery.signing import Keyring
from flowcore.check.check import check
from flowcore.engine.attempts.upstream import Upstream
from flowcore.errors import UnsupportedValueError, UsageError
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan

KEYS = Keyring(["known to this test only"])


class Runner:
    """Runs nodes by a table of functions of their upstream value, and keeps count."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[[Any], Any]] = {}
        self.calls: list[str] = []
        self.seen: dict[str, Mapping[str, Any]] = {}
        self.runs: list[str] = []

    def __call__(self, plan: Plan, node: int, *, upstream: Upstream, run: str, attempt: int) -> Any:
        id = plan.ids[node]
        self.runs.append(run)
        self.calls.append(id)
        ancestors = list(plan.ancestors(node))
        self.seen[id] = {plan.ids[n]: value for n, value in upstream.outputs(ancestors).items()}
        value = upstream.value_of(node)
        function = self.functions.get(id)
        return {id: value} if function is None else function(value)


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def app(runner: Runner) -> Iterator[Celery]:
    app = Celery("canvas", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    register(app, run_node=runner, keys=lambda: KEYS)
    yield app
    app.close()


def _plan(config: Mapping[str, Any] | None = None, edges: Any = (), **nodes: Any) -> Plan:
    tree = {id: {"uses": "acme:f", **node} for id, node in nodes.items()}
    document = load_tree({"id": "f", "nodes": tree, "edges": list(edges), "config": config or {}})
    return compile_plan(check(document, resolve=False))


def _run(plan: Plan, app: Celery, input: Any = None) -> Any:
    return to_canvas(plan, app=app, keys=KEYS, input=input).apply().get()


def _steps(plan: Plan, app: Celery) -> Any:
    whole: Any = to_canvas(plan, app=app, keys=KEYS)
    return whole.tasks


DIAMOND: dict[str, Any] = {
    "a": {},
    "b": {"needs": ["a"]},
    "c": {"needs": ["a"]},
    "d": {"needs": ["b", "c"]},
}


def _boom(_value: Any) -> Any:
    msg = "boom"
    raise RuntimeError(msg)


def test_the_output_is_the_sole_sinks(app: Celery, runner: Runner) -> None:
    assert _run(_plan(**DIAMOND), app, 1) == {"d": {"b": {"b": {"a": 1}}, "c": {"c": {"a": 1}}}}
    assert sorted(runner.calls) == ["a", "b", "c", "d"]


def test_several_sinks_give_their_outputs_by_id(app: Celery) -> None:
    plan = _plan(a={}, early={"needs": ["a"]}, b={"needs": ["a"]}, late={"needs": ["b"]}, alone={})
    assert _run(plan, app, 1) == {
        "alone": {"alone": 1},
        "early": {"early": {"a": 1}},
        "late": {"late": {"b": {"a": 1}}},
    }


def test_each_time_a_canvas_is_sent_it_is_another_run(app: Celery, runner: Runner) -> None:
    """Whose id is in the idempotency keys of its nodes."""
    made = to_canvas(_plan(**DIAMOND), app=app, keys=KEYS)
    made.apply().get()
    made.apply().get()
    assert len(runner.runs) == 8
    assert len(set(runner.runs[:4])) == len(set(runner.runs[4:])) == 1
    assert runner.runs[0] != runner.runs[4]


def test_one_node_is_a_canvas_too(app: Celery) -> None:
    assert _run(_plan(a={}), app, [1]) == {"a": [1]}


def test_three_groups_in_a_row_run_each_task_once(app: Celery, runner: Runner) -> None:
    rows = [[f"n{row}{at}" for at in range(3)] for row in range(3)]
    nodes = {id: {"needs": rows[row - 1] if row else []} for row in range(3) for id in rows[row]}
    _run(_plan(**nodes), app)
    assert sorted(runner.calls) == sorted(nodes)


def test_a_node_sees_all_its_ancestors_and_nobody_else(app: Celery, runner: Runner) -> None:
    plan = _plan(
        a={},
        b={"needs": ["a"]},
        c={"needs": ["b"]},
        v={},
        w={"needs": ["v"]},
        z={"needs": ["c", "w"]},
    )
    _run(plan, app)
    assert set(runner.seen["c"]) == {"a", "b"}
    assert set(runner.seen["z"]) == {"a", "b", "c", "v", "w"}


def test_outputs_that_nobody_needs_any_more_are_dropped(app: Celery) -> None:
    plan = _plan(
        big={},
        used={"needs": ["big"]},
        a={},
        b={"needs": ["a"]},
        c={"needs": ["b", "used"]},
        d={"needs": ["b"]},
        e={"needs": ["d"]},
    )
    state: Any = app.tasks["flowcore.canvas_begin"](_steps(plan, app)[0].args[0])
    kept = []
    for layer in canvas._layers(plan):
        calls = [{"plan": plan.hash, "node": node, "carry": node == layer[0]} for node in layer]
        parts = [
            app.tasks["flowcore.canvas_node"](state, **call, sig=KEYS.sign_value(call))
            for call in calls
        ]
        state = app.tasks["flowcore.canvas_gather"](parts)
        kept.append(set(state["settled"]))
    assert kept == [
        {"big", "a"},
        {"big", "a", "used", "b"},
        {"c", "d", "a", "b"},
        {"c", "e"},
    ]


def test_a_condition_that_does_not_hold_skips_what_follows(app: Celery, runner: Runner) -> None:
    plan = _plan(
        a={},
        left={},
        right={},
        after={"needs": ["right"]},
        join={"needs": ["left", "after"]},
        edges=[
            {"from": "a", "to": "left", "when": "a.output.a == 1"},
            {"from": "a", "to": "right", "when": "a.output.a == 2"},
        ],
    )
    assert _run(plan, app, 1) == {"join": {"left": {"left": {"a": 1}}}}
    assert runner.calls == ["a", "left", "join"]


def test_a_sole_sink_that_is_skipped_gives_nothing(app: Celery) -> None:
    plan = _plan(a={}, b={}, edges=[{"from": "a", "to": "b", "when": "false"}])
    assert _run(plan, app) is None


def test_sinks_that_are_skipped_are_left_out(app: Celery) -> None:
    plan = _plan(a={}, b={}, c={"needs": ["a"]}, edges=[{"from": "a", "to": "b", "when": "false"}])
    assert _run(plan, app, 1) == {"c": {"c": {"a": 1}}}


def test_a_join_that_accepts_failures_runs_after_one(app: Celery, runner: Runner) -> None:
    runner.functions["b"] = _boom
    tree = {**DIAMOND, "d": {"needs": ["b", "c"], "join": "all_done"}}
    assert _run(_plan(**tree), app, 1) == {"d": {"c": {"c": {"a": 1}}}}


def test_a_failure_nobody_tolerates_is_raised_as_it_is(app: Celery, runner: Runner) -> None:
    runner.functions["b"] = _boom
    with pytest.raises(RuntimeError, match="boom"):
        _run(_plan(**DIAMOND), app)
    assert "d" not in runner.calls


def test_without_fail_fast_the_rest_runs_before_the_run_fails(app: Celery, runner: Runner) -> None:
    runner.functions["b"] = _boom
    plan = _plan({"execution": {"fail_fast": False}}, **DIAMOND, e={"needs": ["c"]})
    with pytest.raises(CanvasFailedError, match="node 'b' failed: RuntimeError: boom"):
        _run(plan, app)
    assert sorted(runner.calls) == ["a", "b", "c", "e"]


def test_an_any_success_join_that_hoped_in_vain_fails_the_run(app: Celery, runner: Runner) -> None:
    runner.functions |= {"b": _boom, "c": _boom}
    with pytest.raises(CanvasFailedError, match="no predecessor of 'd' succeeded"):
        _run(_plan(**{**DIAMOND, "d": {"needs": ["b", "c"], "join": "any_success"}}), app)


def test_a_condition_may_ask_how_its_source_ended(app: Celery, runner: Runner) -> None:
    runner.functions["a"] = _boom
    plan = _plan(
        a={},
        rescue={"join": "all_done"},
        edges=[{"from": "a", "to": "rescue", "when": "a.state == 'failed'"}],
    )
    assert _run(plan, app) == {"rescue": None}


def test_a_condition_that_is_no_condition_fails_its_source(app: Celery) -> None:
    plan = _plan(a={}, b={}, edges=[{"from": "a", "to": "b", "when": "a.output.a"}])
    with pytest.raises(Exception, match="it is 1, not true or false"):
        _run(plan, app, 1)


def test_a_failed_node_is_tried_again_as_its_policy_says(app: Celery, runner: Runner) -> None:
    runner.functions["a"] = lambda value: _boom(value) if len(runner.calls) < 3 else value
    assert _run(_plan(a={"retry": {"max_attempts": 3, "delay": 0}}), app, 7) == 7
    assert runner.calls == ["a"] * 3


def test_the_last_error_is_the_one_that_is_told(app: Celery, runner: Runner) -> None:
    runner.functions["a"] = _boom
    with pytest.raises(RuntimeError, match="boom"):
        _run(_plan(a={"retry": {"max_attempts": 2, "delay": 0}}), app)
    assert runner.calls == ["a"] * 2


def test_an_output_that_cannot_travel_is_named(app: Celery, runner: Runner) -> None:
    runner.functions["a"] = lambda _: object()
    with pytest.raises(UnsupportedValueError, match="output of node 'a'"):
        _run(_plan(a={}), app)


def test_a_canvas_fits_into_a_canvas_of_ones_own(app: Celery) -> None:
    @app.task(name="mine", shared=False)
    def mine(value: Any) -> Any:
        return {"mine": value}

    own = chain(
        mine.si(0), to_canvas(_plan(**DIAMOND), app=app, keys=KEYS, input=1), mine.s(), app=app
    )
    assert own.apply().get() == {"mine": {"d": {"b": {"b": {"a": 1}}, "c": {"c": {"a": 1}}}}}


def test_a_canvas_survives_its_trip_as_json(app: Celery) -> None:
    import json

    packed = json.dumps(to_canvas(_plan(**DIAMOND), app=app, keys=KEYS, input=1))
    assert "d" in signature(json.loads(packed), app=app).apply().get()


def test_nodes_travel_on_their_queues(app: Celery) -> None:
    plan = _plan(a={"queue": "gpu"}, b={"needs": ["a"]})
    steps = _steps(plan, app)
    assert [step.options.get("queue") for step in steps] == [None, "gpu", None, None]


def test_a_chord_too_many_is_refused_with_the_way_out(app: Celery) -> None:
    rows = {
        f"n{row}{at}": {"needs": [f"n{row - 1}{at}"] if row else []}
        for row in range(101)
        for at in "ab"
    }
    with pytest.raises(
        UsageError, match=r"101 chords in a row; .* run the flow on the native backend"
    ):
        to_canvas(_plan(**rows), app=app, keys=KEYS)


def test_too_many_bytes_are_refused_with_the_way_out(app: Celery) -> None:
    rows = {
        f"n{row}x{at}": {"needs": [f"n{row - 1}x{at}"] if row else []}
        for row in range(20)
        for at in range(50)
    }
    with pytest.raises(UsageError, match=r"send about \d+ MB through the broker \(limit 100 MB\)"):
        to_canvas(_plan(**rows), app=app, keys=KEYS)


def test_a_hundred_nodes_in_a_row_are_no_chords_and_fit(app: Celery, runner: Runner) -> None:
    runner.functions |= {f"n{at}": lambda value: value + 1 for at in range(100)}
    rows = {f"n{at}": {"needs": [f"n{at - 1}"] if at else []} for at in range(100)}
    assert _run(_plan(**rows), app, 0) == 100


def test_the_canvas_reads_as_text() -> None:
    plan = _plan(**DIAMOND, e={"needs": ["d"]})
    assert canvas_text(plan) == (
        "chain(\n    begin,\n    a,\n    group(b, c), gather,\n    d,\n    e,\n    end,\n)\n"
    )


RULES = ("all_success", "all_done", "any_success", "none_failed")


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 8))
    return {
        f"n{at}": {
            "needs": [f"n{b}" for b in draw(st.sets(st.integers(0, at - 1), max_size=3))]
            if at
            else [],
            "join": draw(st.sampled_from(RULES)),
        }
        for at in range(size)
    }


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(tree=trees(), failing=st.sets(st.integers(0, 7)))
def test_every_node_runs_at_most_once_and_after_its_predecessors(
    tree: dict[str, Any], failing: set[int], app: Celery, runner: Runner
) -> None:
    runner.calls.clear()
    runner.functions = {f"n{at}": _boom for at in failing}
    plan = _plan({"execution": {"fail_fast": False}}, **tree)
    try:
        _run(plan, app)
    except CanvasFailedError:
        assert failing
    assert len(runner.calls) == len(set(runner.calls))
    place = {id: at for at, id in enumerate(runner.calls)}
    for id, node in tree.items():
        assert all(place[b] < place[id] for b in node["needs"] if id in place and b in place)
    if not failing:
        assert len(runner.calls) == len(tree)


def _change(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy in which one thing, deep inside, is another."""
    if not path:
        return [value]
    copied = value.copy()
    copied[path[0]] = _change(value[path[0]], path[1:])
    return copied


@pytest.mark.parametrize(
    "path",
    [
        ("plan",),
        ("input",),
        ("failed",),
        ("sig",),
        ("settled",),
        ("settled", "a", "state"),
        ("settled", "a", "output"),
        ("settled", "a", "dead"),
    ],
)
def test_a_state_that_was_changed_on_its_way_is_refused(
    app: Celery, runner: Runner, path: tuple[Any, ...]
) -> None:
    plan = _plan(a={}, b={"needs": ["a"]})
    begin, first, second, _ = _steps(plan, app)
    state = app.tasks["flowcore.canvas_begin"](*begin.args)
    state = app.tasks["flowcore.canvas_node"](state, **first.kwargs)
    forged = _change(state, path)
    calls: list[Callable[[], Any]] = [
        lambda: app.tasks["flowcore.canvas_begin"](forged),
        lambda: app.tasks["flowcore.canvas_node"](forged, **second.kwargs),
        lambda: app.tasks["flowcore.canvas_gather"]([state, forged]),
        lambda: app.tasks["flowcore.canvas_end"](forged),
    ]
    for call in calls:
        with pytest.raises(Reject):
            call()
    assert runner.calls == ["a"]
    assert app.tasks["flowcore.canvas_node"](state, **second.kwargs)["settled"]["b"]


def test_a_call_of_a_node_of_a_canvas_is_good_for_that_node_of_that_plan_only(
    app: Celery, runner: Runner
) -> None:
    begin, first, _, _ = _steps(_plan(a={}, b={"needs": ["a"]}), app)
    other = _steps(_plan(x={}, y={"needs": ["x"]}), app)[1]
    state = app.tasks["flowcore.canvas_begin"](*begin.args)
    for kwargs in ({**first.kwargs, "node": 1}, {**first.kwargs, "carry": False}, other.kwargs, {}):
        with pytest.raises(Reject):
            app.tasks["flowcore.canvas_node"](state, **kwargs)
    assert runner.calls == []


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"cache": "5m"}, "cache"),
        ({"concurrency": 2, "circuit_breaker": 3}, "concurrency, circuit_breaker"),
        ({"fallback": {"uses": "end"}}, "a fallback with 'uses'"),
    ],
)
def test_what_needs_a_run_is_refused(policy: dict[str, Any], told: str) -> None:
    tree = {"id": "f", "nodes": {"a": {"uses": "end", **policy}}}
    plan = compile_plan(check(load_tree(tree), resolve=False))
    message = f"node 'a' has {told}, which a Celery canvas cannot keep: run the flow on the native"
    with pytest.raises(UsageError, match=message):
        to_canvas(plan, app=Celery(set_as_current=False), keys=KEYS)
