"""Every state has a look, words and a next step; none of them is an error to show."""

import random
import unicodedata
from dataclasses import replace
from itertools import product

import pytest

from flowcore.check.check import check
from flowcore.cli.child_runs import Question, questions_of
from flowcore.cli.commands.runs import node_table, run_head
from flowcore.cli.hints import hint_lines, next_steps
from flowcore.cli.live_view import Lines, draw
from flowcore.cli.node_status import situation
from flowcore.cli.run_state import Picture
from flowcore.cli.state_styles import NODE_LOOKS, RUN_LOOKS, UNKNOWN, ansi, look
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.run.event import Event, EventType
from flowcore.run.fold import fold_nodes
from flowcore.run.record import WORKER_LOST, Failure, NodeRecord, RunRecord
from flowcore.run.status import NodeState, RunState
from tests.deep import count

PLAN = {
    "ask": {"uses": "approval"},
    "sig": {"uses": "signal", "with": {"name": "go"}},
    "n": {"uses": "passthrough", "retry": {"max_attempts": 3}},
}


def plan_of(nodes: dict[str, object]) -> Plan:
    return compile_plan(check(load_tree({"id": "flow", "nodes": nodes}), resolve=False))


def record_of(state: RunState, nodes: dict[str, NodeRecord], **more: object) -> RunRecord:
    facts = {"id": "r", "flow": "flow", "version": "1", "created": 0.0, **more}
    return RunRecord(state=state, nodes=nodes, **facts)  # type: ignore[arg-type]


def test_every_state_has_a_look_of_its_own() -> None:
    assert set(NODE_LOOKS) == set(NodeState)
    assert set(RUN_LOOKS) == set(RunState)
    for state in (*NodeState, *RunState):
        found = look(state.value)
        assert found is not UNKNOWN
        assert found.ascii.isascii()
        assert state.value in ansi
    assert len({(one.sign, one.colour) for one in NODE_LOOKS.values()}) == len(NodeState)
    assert len({one.ascii for one in NODE_LOOKS.values()}) == len(NodeState)
    assert look("a state of next year") is UNKNOWN


@pytest.mark.parametrize(("state", "run"), list(product(NodeState, RunState)))
def test_every_state_of_a_node_in_every_state_of_a_run_is_shown(
    state: NodeState, run: RunState
) -> None:
    plan = plan_of(PLAN)
    nodes = {
        id: NodeRecord(id=id, state=state, waits="waits for it", signal=id, until=1.0, attempts=2)
        for id in plan.ids
    }
    record = record_of(run, nodes)
    assert run.value in run_head(record)
    assert node_table(record, plan).count(state.value) >= len(nodes)
    assert hint_lines(next_steps(record, plan)).startswith("next: flowcore ")


@pytest.mark.parametrize("kind", list(EventType))
def test_every_event_is_drawn_and_told(kind: EventType, capsys: pytest.CaptureFixture[str]) -> None:
    picture = Picture("r", plan_of(PLAN))
    nodes = () if kind.value.startswith("run.") else ("n",)
    event = Event(id=1, type=kind, run="r", time=1.0, nodes=nodes, attempt=1)
    picture.apply([event])
    assert "flow  r  " in draw(picture, now=2.0, rows=10).plain
    Lines(picture).show([event])
    assert "Traceback" not in capsys.readouterr().err


def test_a_retry_says_which_try_comes_when() -> None:
    plan = plan_of(PLAN)
    node = NodeRecord(id="n", state=NodeState.RETRYING, attempts=1, until=104.5)
    assert situation(node, plan, now=100.0) == "try 2 of 3, next in 4s"
    assert situation(replace(node, state=NodeState.RUNNING, attempts=2), plan) == "try 2 of 3"
    beyond = replace(node, attempts=5, until=None)
    assert situation(beyond, plan) == "try 6", "losses of workers count as tries, too"


def test_a_wait_says_for_what_and_until_when() -> None:
    plan = plan_of(PLAN)
    node = NodeRecord(id="n", state=NodeState.WAITING, waits="waits for 9.00 s", until=109.5)
    assert situation(node, plan, now=100.0) == "waits for 9.00 s (in 9s)"
    asked = replace(node, id="sig", waits="waits for the signal 'go'", signal="go", until=400.5)
    assert situation(asked, plan, now=100.0) == "waits for the signal 'go' (time is up in 5m)"
    assert situation(node, plan, progress={"n": "2/4 items"}) == "2/4 items"
    for state in (NodeState.SUCCEEDED, NodeState.CANCELLED, NodeState.SKIPPED):
        done = replace(node, state=state)
        assert not situation(done, plan, progress={"n": "3/4 items"}), "that was before its end"


def test_the_times_of_waits_and_retries_come_from_events() -> None:
    def at(number: int, kind: EventType, **data: object) -> Event:
        return Event(id=number, type=kind, run="r", time=100.0, nodes=("n",), attempt=1, data=data)

    told = {
        "retry": [at(1, EventType.NODE_RETRYING, delay=4.0)],
        "timer": [at(1, EventType.NODE_WAITING, reason="waits", seconds=4.0)],
        "clock": [at(1, EventType.NODE_WAITING, reason="waits", until=104.0)],
    }
    for events in told.values():
        states = {"n": NodeState.WAITING}
        assert fold_nodes(events, states=states, failures={})["n"].until == 104.0
        again = [*events, at(2, EventType.NODE_STARTED)]
        assert fold_nodes(again, states=states, failures={})["n"].until is None


def test_questions_name_the_command_that_answers_them() -> None:
    plan = plan_of(PLAN)
    nodes = {
        "ask": NodeRecord(id="ask", state=NodeState.WAITING, signal="ask"),
        "sig": NodeRecord(id="sig", state=NodeState.WAITING, signal="go"),
        "n": NodeRecord(id="n", state=NodeState.WAITING, signal="flowcore:task"),
    }
    assert [one.path for one in questions_of(plan, nodes.values())] == ["ask", "sig"]
    inside = [Question(path="m/m[1]"), Question(path="deep/x", signal="go")]
    shown = hint_lines(next_steps(record_of(RunState.RUNNING, nodes), plan, inside))
    assert shown.splitlines() == [
        "next: flowcore approve r ask  (or with --reject)",
        "  or: flowcore signal r go  (with -i KEY=VALUE for what goes with it)",
        "  or: flowcore approve r 'm/m[1]'  (or with --reject)",
        "  or: flowcore watch r",
    ]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(type="E", message="m", node="n"), ["r/n", "resume r", "rerun r --from n"]),
        (Failure(type="E", message="m", node="n[2]"), ["'r/n[2]'", "rerun r --from n"]),
        (Failure(type="E", message="m", node="n/x"), ["r/n/x", "rerun r --from n"]),
        (Failure(type="E", message="m"), ["inspect r", "resume r", "rerun r"]),
        (replace(WORKER_LOST, node="n"), ["requeue r n"]),
    ],
)
def test_a_failure_says_where_to_look_and_how_to_go_on(
    failure: Failure, expected: list[str]
) -> None:
    nodes = {"n": NodeRecord(id="n", state=NodeState.FAILED)}
    shown = hint_lines(next_steps(record_of(RunState.FAILED, nodes, error=failure), plan_of(PLAN)))
    for part in expected:
        assert part in shown


def test_nothing_of_a_picture_is_wider_or_higher_than_it_may_be() -> None:
    plan = plan_of({f"n{at}": {"uses": "approval"} for at in range(100)})
    picture = Picture("r", plan)
    picture.apply(
        [
            Event(
                id=at + 1,
                type=EventType.NODE_WAITING,
                run="r",
                time=1.0,
                nodes=(name,),
                data={"reason": "waits for 日本語 " * 9, "signal": name},
            )
            for at, name in enumerate(plan.ids)
        ]
    )
    for rows, width in product((5, 10, 200), (20, 40, 80)):
        lines = draw(picture, now=2.0, rows=rows, width=width).plain.split("\n")
        answers = [line for line in lines if "answer: " in line]
        assert 1 <= len(answers) <= 3
        assert all(len(line) <= width for line in answers)
        assert sum("waits for" in line for line in lines) <= max(rows, 1)


def test_whatever_a_run_says_is_drawn_without_control() -> None:
    dice = random.Random(11)
    plan = plan_of(PLAN)
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for _ in range(count(200, 10_000)):
        text = "".join(chr(dice.randrange(0x110000)) for _ in range(20)) + "\x1b]0;x\x07\u202e"
        said = {"reason": text, "error": {"type": text, "message": text}, "signal": text}
        kind = dice.choice([EventType.NODE_WAITING, EventType.NODE_FAILED])
        picture = Picture(text, plan)
        picture.apply(
            [Event(id=1, type=kind, run="r", time=1.0, nodes=("sig",), attempt=1, data=said)]
        )
        shown = draw(picture, now=1.0, rows=9).plain
        left = {char for char in shown if unicodedata.category(char) in hidden}
        assert left <= set("\n\u200c\u200d"), ascii(shown)
