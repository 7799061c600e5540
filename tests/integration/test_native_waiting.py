"""Nodes that wait for a time, a signal or a limit, and hold no slot of a worker."""

import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow, InvalidFlowError, Run
from flowcore.cli.main import main
from flowcore.client.flow import start_run
from flowcore.errors import RunNotFoundError, UsageError
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration

NODES = "engine_nodes"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker with two slots."""
    with (
        running_valkey() as url,
        running_engine(url, tmp_path_factory.mktemp("waiting")) as running,
    ):
        running.workers(slots=2)
        yield running


def start(engine: Engine, nodes: dict[str, Any], given: Any = None) -> Run:
    plan = Flow.load({"id": "waiting", "nodes": nodes}).plan()
    return start_run(engine.session, plan, given)


def node_is(run: Run, node: str, state: NodeState) -> bool:
    return run.record().nodes[node].state is state


def test_many_waits_hold_no_slot(engine: Engine) -> None:
    asleep = [start(engine, {"a": {"uses": "wait", "with": {"for": "1h"}}}) for _ in range(10)]
    for run in asleep:
        poll(functools.partial(node_is, run, "a", NodeState.WAITING), what="all to wait")
    assert start(engine, {"a": {"uses": f"{NODES}:numbers"}}).wait(timeout=60).success
    for run in asleep:
        assert run.cancel() is RunState.CANCELLED


def test_a_wait_gives_on_what_came_from_upstream(engine: Engine) -> None:
    nodes = {
        "a": {"uses": f"{NODES}:numbers", "with": {"n": 3}},
        "b": {"uses": "wait", "with": {"for": "50ms"}, "needs": ["a"]},
        "c": {"uses": f"{NODES}:total", "needs": ["b"]},
    }
    run = start(engine, nodes)
    result = run.wait(timeout=60)
    assert result.output == 3
    told = [event.type.value for event in run.events() if event.node == "b"]
    assert told.count("node.waiting") == 1
    assert result.nodes["b"].attempts == 1, "a wait is no failed attempt"


def test_a_time_that_is_over_is_no_wait(engine: Engine) -> None:
    nodes = {"a": {"uses": "wait", "with": {"until": "2020-01-01T00:00:00Z"}}}
    assert start(engine, nodes).wait(timeout=60).success


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"for": "${{ null }}"}, "wait node 'a' needs 'for' or 'until'"),
        ({"for": "${{ 'soon' }}"}, "'for' of wait node 'a': expected a duration such as"),
        ({"for": "${{ 1e300 }}"}, "a duration is at most 100 years, got 1e+300"),
        ({"until": "${{ 'soon' }}"}, "'until' of wait node 'a': expected a time such as"),
    ],
)
def test_a_wait_that_makes_no_sense_fails_and_says_why(
    engine: Engine, given: dict[str, Any], words: str
) -> None:
    result = start(engine, {"a": {"uses": "wait", "with": given}}).wait(timeout=60)
    assert words in (result.error or "")


def test_a_signal_wakes_the_node_that_waits_and_brings_a_value(engine: Engine) -> None:
    nodes = {
        "ask": {"uses": "signal", "with": {"name": "review"}},
        "say": {"uses": f"{NODES}:echo", "needs": ["ask"], "with": {"value": "${{ ask.output }}"}},
    }
    run = start(engine, nodes)
    poll(lambda: node_is(run, "ask", NodeState.WAITING), what="the node to wait")
    run.signal("review", approved=True, by="ada")
    assert run.wait(timeout=60).output == {"approved": True, "by": "ada"}


def test_a_signal_that_comes_early_is_kept(engine: Engine) -> None:
    nodes = {
        "a": {"uses": "wait", "with": {"for": "100ms"}},
        "ask": {"uses": "signal", "with": {"name": "go"}, "needs": ["a"]},
    }
    run = start(engine, nodes)
    run.signal("go", n=1)
    assert run.wait(timeout=60).output == {"n": 1}


def test_a_signal_that_does_not_come_in_time_fails_or_has_a_default(engine: Engine) -> None:
    given = {"name": "never", "timeout": "50ms"}
    result = start(engine, {"ask": {"uses": "signal", "with": given}}).wait(timeout=60)
    assert "no signal 'never' came within 50 ms" in (result.error or "")
    given |= {"default": "no answer"}
    assert start(engine, {"ask": {"uses": "signal", "with": given}}).wait(timeout=60).output == (
        "no answer"
    )


def test_a_signal_to_a_run_that_has_ended_or_never_was_is_refused(engine: Engine) -> None:
    run = start(engine, {"a": {"uses": "start"}})
    run.wait(timeout=60)
    with pytest.raises(UsageError, match="has ended"):
        run.signal("go")
    with pytest.raises(RunNotFoundError):
        Run("no-such-run", session=engine.session).signal("go")


def test_a_concurrency_limit_holds_across_runs(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    nodes = {
        f"n{k}": {
            "uses": f"{NODES}:alone",
            "with": {"log": str(log)},
            "concurrency": {"limit": 1, "name": "printer"},
        }
        for k in range(4)
    }
    runs = [start(engine, nodes) for _ in range(3)]
    assert all(run.wait(timeout=120).success for run in runs)
    lines = log.read_text().split()
    assert len(lines) == 24
    assert lines == ["in", "out"] * 12, "never two at a time"


def test_a_key_has_a_limit_of_its_own(engine: Engine, tmp_path: Path) -> None:
    node = {
        "uses": f"{NODES}:alone",
        "with": {"log": "${{ inputs.log }}"},
        "concurrency": {"limit": 1, "key": "${{ inputs.tenant }}"},
    }
    runs = [
        start(engine, {"n": node}, {"tenant": tenant, "log": str(tmp_path / tenant)})
        for tenant in ("red", "blue", "red", "blue")
    ]
    assert all(run.wait(timeout=60).success for run in runs)
    for tenant in ("red", "blue"):
        assert (tmp_path / tenant).read_text().split() == ["in", "out"] * 2


def test_a_rate_limit_spreads_what_begins(engine: Engine) -> None:
    nodes = {
        f"n{k}": {"uses": "start", "rate_limit": {"limit": 2, "per": "400ms", "name": "api"}}
        for k in range(6)
    }
    run = start(engine, nodes)
    assert run.wait(timeout=60).success
    begun: dict[str, float] = {}
    for event in run.events():
        if event.type.value == "node.succeeded":
            begun[str(event.node)] = event.time
    times = sorted(begun.values())
    assert times[5] - times[0] >= 0.7, "two at once, then one each 200 ms"


def test_a_place_whose_holder_is_killed_is_free_again(engine: Engine, tmp_path: Path) -> None:
    given = {"mark": str(tmp_path / "mark")}
    node = {"uses": f"{NODES}:die_once", "concurrency": 1, "with": given}
    after = {"uses": "passthrough", "needs": ["n"]}
    run = start(engine, {"n": node, "after": after})
    assert run.wait(timeout=120).success


def test_waits_and_signals_take_nothing_from_the_runs_input(engine: Engine) -> None:
    nodes = {
        "nap": {"uses": "wait", "with": {"for": "10ms"}},
        "review": {"uses": "signal", "with": {"name": "go"}},
    }
    run = start(engine, nodes, {"until": "2099-01-01T00:00:00Z", "timeout": "1ms", "default": 7})
    poll(lambda: node_is(run, "nap", NodeState.SUCCEEDED), what="the nap to end")
    assert node_is(run, "review", NodeState.WAITING)
    run.signal("go", done=True)
    assert run.wait(timeout=60).outputs["review"] == {"done": True}
    with pytest.raises(InvalidFlowError, match="signal needs 'name'"):
        start(engine, {"review": {"uses": "signal"}}, {"name": "go"})


BUY = {"uses": "approval", "with": {"message": "buy it?"}}


def ask(engine: Engine, node: dict[str, Any], **more: Any) -> Run:
    run = start(engine, {"buy": node, "after": {"uses": "passthrough", "needs": ["buy"]}, **more})
    poll(functools.partial(node_is, run, "buy", NodeState.WAITING), what="the question")
    return run


def test_an_approval_gives_on_the_answer(engine: Engine) -> None:
    run = ask(engine, BUY)
    assert run.approve(comment="fine", by="ada") == "buy"
    assert run.wait(60).output == {"approved": True, "comment": "fine", "by": "ada"}


def test_a_rejection_fails_the_node_and_is_not_tried_again(engine: Engine) -> None:
    run = ask(engine, {**BUY, "retry": {"max_attempts": 5, "delay": 0}})
    run.reject("buy", comment="too dear")
    result = run.wait(60)
    error = result.nodes["buy"].error
    assert error is not None
    assert (error.type, error.message) == ("ApprovalRejectedError", "rejected: too dear")
    assert result.nodes["buy"].attempts == 1


def test_a_rejection_may_be_an_answer_like_any_other(engine: Engine) -> None:
    run = ask(engine, {**BUY, "with": {"on_reject": "continue"}})
    run.reject()
    assert run.wait(60).output == {"approved": False}


def test_an_approval_that_comes_early_is_kept(engine: Engine, tmp_path: Path) -> None:
    hold = {"uses": f"{NODES}:wait_for", "with": {"path": str(tmp_path / "go")}}
    run = start(engine, {"a": hold, "buy": {**BUY, "needs": ["a"]}})
    assert run.approve("buy") == "buy"
    (tmp_path / "go").touch()
    assert run.wait(60).output == {"approved": True}


def test_when_the_time_is_over_the_default_is_the_answer(engine: Engine) -> None:
    given: dict[str, Any] = {"timeout": "50ms", "default": True}
    run = start(engine, {"buy": {**BUY, "with": given}})
    assert run.wait(60).output == {"approved": True}
    given = {"timeout": "50ms", "default": False}
    rejected = start(engine, {"buy": {**BUY, "with": given}}).wait(60)
    assert rejected.nodes["buy"].error.type == "ApprovalRejectedError"  # type: ignore[union-attr]
    late = start(engine, {"buy": {**BUY, "with": {"timeout": "50ms"}}}).wait(60)
    assert late.nodes["buy"].error.type == "NodeTimeoutError"  # type: ignore[union-attr]


def test_an_answer_that_is_neither_yes_nor_no_is_told_of_and_the_node_waits_on(
    engine: Engine,
) -> None:
    run = ask(engine, BUY)
    run.signal("buy", aproved=True)
    log = engine.session.runtime.events

    def told() -> bool:
        return any("has no 'approved'" in str(event.data) for event in log.read(run.id))

    poll(told, what="the warning")
    poll(functools.partial(node_is, run, "buy", NodeState.WAITING), what="the question again")
    run.approve()
    assert run.wait(60).success


def test_answers_to_nobody_are_refused(engine: Engine) -> None:
    run = ask(engine, BUY, other=BUY)
    poll(functools.partial(node_is, run, "other", NodeState.WAITING), what="the other")
    with pytest.raises(
        UsageError, match="name the node to answer; those that wait are: buy, other"
    ):
        run.approve()
    with pytest.raises(UsageError, match=r"'after' of run .* asks for no approval"):
        run.approve("after")
    run.approve("other")
    poll(functools.partial(node_is, run, "other", NodeState.SUCCEEDED), what="the other's end")
    with pytest.raises(UsageError, match="has succeeded: the answer comes too late"):
        run.reject("other")
    run.approve()
    assert run.wait(60).success
    with pytest.raises(RunNotFoundError):
        Run("nobody", session=engine.session).approve("buy")


@pytest.mark.parametrize("given", [{"default": "yes"}, {"on_reject": "stop"}])
def test_what_an_approval_does_not_take_is_told(engine: Engine, given: dict[str, Any]) -> None:
    """When it is written, or when an expression gives it."""
    with pytest.raises(InvalidFlowError, match=next(iter(given))):
        start(engine, {"buy": {**BUY, "with": given}})
    later = {key: f"${{{{ '{value}' }}}}" for key, value in given.items()}
    error = start(engine, {"buy": {**BUY, "with": later}}).wait(60).nodes["buy"].error
    assert error is not None
    assert error.type == "UsageError"
    assert error.message.startswith(f"'{next(iter(given))}' of approval node 'buy': ")


def test_a_shell_approves_and_rejects(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    run = ask(engine, BUY)
    assert main(["approve", run.id, "--comment", "fine", "-i", "by=ada"]) == 0
    assert "buy is approved" in capsys.readouterr().err
    assert run.wait(60).output == {"approved": True, "by": "ada", "comment": "fine"}
    run = ask(engine, BUY)
    assert main(["approve", run.id, "buy", "--reject"]) == 0
    assert not run.wait(60).success
    assert main(["approve", run.id]) == 2
    assert main(["approve", "nobody"]) == 3
    assert main(["approve", run.id, "-i", "[1]"]) == 2


def test_two_early_signals_of_one_name_are_both_taken(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _in_environment(engine, monkeypatch)
    late = {"name": "go", "timeout": "30s", "default": {"n": "none"}}
    nodes = {
        "pre": {"uses": "signal", "with": {"name": "begin"}},
        "ask": {"uses": "signal", "with": late, "needs": ["pre"]},
        "ask2": {"uses": "signal", "with": late, "needs": ["ask"]},
    }
    run = start(engine, nodes)
    assert main(["signal", run.id, "go", "-i", "n=1"]) == 0
    assert main(["signal", run.id, "go", "-i", "n=2"]) == 0
    assert main(["signal", run.id, "begun"]) == 2
    assert "did you mean 'begin'? they wait for: begin, go" in capsys.readouterr().err
    assert main(["signal", run.id, "begin"]) == 0
    assert run.wait(timeout=60).outputs == {"pre": {}, "ask": {"n": 1}, "ask2": {"n": 2}}


def test_of_two_people_who_answer_at_one_instant_one_counts_and_the_other_is_told(
    engine: Engine,
) -> None:
    nodes = {
        "pre": {"uses": "signal", "with": {"name": "begin"}},
        "buy": {"uses": "approval", "with": {"on_reject": "continue"}, "needs": ["pre"]},
    }
    for number in range(12):
        run = start(engine, nodes)
        if number % 2:
            run.signal("begin")
            poll(lambda run=run: node_is(run, "buy", NodeState.WAITING), what="it to ask")  # type: ignore[misc]
        gate = threading.Barrier(4)

        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(functools.partial(_say, run, gate), range(4)))
        heard = [who for who in said if who.isdigit()]
        assert all("node 'buy'" in refusal for refusal in said if refusal not in heard)
        if not number % 2:
            run.signal("begin")
        assert len(heard) == 1
        assert run.wait(timeout=60).outputs["buy"]["by"] == heard[0]


def _say(run: Run, gate: threading.Barrier, at: int) -> str:
    """Answer together with others; give one's number, or the refusal."""
    gate.wait(30)
    try:
        (run.approve if at % 2 else run.reject)("buy", by=str(at))
    except UsageError as refusal:
        return str(refusal)
    return str(at)


def test_an_early_yes_and_then_a_no_are_not_both_ok(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _in_environment(engine, monkeypatch)
    nodes = {
        "pre": {"uses": "signal", "with": {"name": "begin"}},
        "buy": {"uses": "approval", "needs": ["pre"]},
    }
    run = start(engine, nodes)
    assert main(["approve", run.id, "buy", "-i", "by=ada"]) == 0
    assert main(["approve", run.id, "buy", "--reject"]) == 2
    assert "node 'buy' was approved already by ada" in capsys.readouterr().err
    run.signal("begin")
    assert run.wait(timeout=60).outputs["buy"] == {"approved": True, "by": "ada"}


def _in_environment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands find the engine's server."""
    for name, value in engine.session.worker_env([]).items():
        monkeypatch.setenv(name, value)
