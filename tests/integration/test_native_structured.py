"""Nodes that start runs of their own, on real Celery workers: maps, loops, branches, sub-flows."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowcore import Flow, Run
from flowcore.errors import RunStateError, UsageError
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll

N = "structured_nodes:"


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes and their children, and wait until they are gone."""
    roots = [psutil.Process(pid) for pid in pids]
    processes = [*roots, *(child for root in roots for child in root.children(recursive=True))]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=30)


def _child(engine: Engine, run: Run, node: str) -> Run:
    return Run.get(f"{run.id}/{node}", session=engine.session)


# ── maps ────────────────────────────────────────────────────────────────────────────────────────


def test_a_map_runs_a_node_for_each_item_of_a_list_that_is_written_down(engine: Engine) -> None:
    result = engine.run({"m": {"uses": N + "double", "for_each": [1, 2, 3]}})
    assert result.output == [2, 4, 6]


def test_a_map_runs_a_node_for_each_item_that_another_node_gave_in_their_order(
    engine: Engine,
) -> None:
    nodes = {
        "list": {"uses": N + "echo", "with": {"value": list(range(200))}},
        "m": {"uses": N + "double", "needs": ["list"], "for_each": "${{ list.output }}"},
        "sum": {"uses": N + "total", "needs": ["m"]},
    }
    result = engine.run(nodes)
    assert result.outputs["m"] == [2 * n for n in range(200)]
    assert result.output == sum(result.outputs["m"])


def test_what_an_item_is_given_can_be_read_of_it_of_the_outside_and_of_the_inputs(
    engine: Engine,
) -> None:
    nodes = {
        "base": {"uses": N + "echo", "with": {"value": {"n": 10}}},
        "sums": {
            "uses": N + "add",
            "needs": ["base"],
            "for_each": [1, 2],
            "with": {"to": "${{ base.output.n + index + inputs.more }}"},
        },
        "labels": {"uses": N + "label", "for_each": [{"name": "a"}, {"name": "b"}]},
    }
    result = engine.run(nodes, {"more": 100, "size": 7})
    assert result.outputs["sums"] == [111, 113]
    assert result.outputs["labels"] == ["0:a:7", "1:b:7"]


def test_the_only_parameter_takes_the_item_though_the_run_has_an_input_of_its_name(
    engine: Engine,
) -> None:
    nodes = {"m": {"uses": N + "double", "for_each": [1, 2]}}
    assert engine.run(nodes, {"item": 50}).output == [2, 4]
    nodes = {"m": {"uses": N + "greet", "for_each": ["ada", "bob"]}}
    assert engine.run(nodes, {"name": "eve"}).output == ["hello ada", "hello bob"]
    loop: dict[str, Any] = {"l": {"uses": N + "count_up", "initial": 3, "max_iterations": 2}}
    assert engine.run(loop, {"state": 50}).output == 5


def test_further_parameters_come_from_the_input(engine: Engine) -> None:
    nodes = {"m": {"uses": N + "add", "for_each": [1, 2]}}
    assert engine.run(nodes, {"to": 10}).output == [11, 12]


def test_a_map_of_nothing_gives_an_empty_list(engine: Engine) -> None:
    nodes = {
        "m": {"uses": N + "double", "for_each": []},
        "after": {"uses": N + "total", "needs": ["m"]},
    }
    result = engine.run(nodes)
    assert (result.outputs["m"], result.output) == ([], 0)


def test_a_map_that_is_skipped_starts_nothing(engine: Engine) -> None:
    handle = engine.start({"m": {"uses": N + "double", "for_each": [1], "if": "false"}})
    assert handle.wait(60).nodes["m"].state is NodeState.SKIPPED
    assert Run.list(part_of=handle.id, session=engine.session) == []


def test_a_map_of_chunks_gives_its_node_lists(engine: Engine) -> None:
    nodes = {"m": {"uses": N + "total", "for_each": [1, 2, 3, 4, 5], "chunk_size": 2}}
    assert engine.run(nodes).output == [3, 7, 5]


def test_a_map_keeps_to_its_max_parallel(threaded: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    nodes = {
        "m": {
            "uses": N + "busy",
            "for_each": list(range(8)),
            "max_parallel": 2,
            "with": {"log": str(log)},
        }
    }
    assert threaded.run(nodes).output == list(range(8))
    at_once = 0
    for line in _lines(log):
        at_once += 1 if line[0] == "+" else -1
        assert at_once <= 2


def test_an_item_that_fails_is_tried_again_by_itself(engine: Engine, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    nodes = {
        "m": {
            "uses": N + "fail_while",
            "for_each": [1, 2, 3],
            "with": {"path": str(gate), "log": str(log)},
            "retry": {"max_attempts": 50, "delay": "50ms", "backoff": "fixed"},
        }
    }
    handle = engine.start(nodes)
    poll(lambda: Counter(_lines(log))["2"] >= 2, what="a second attempt")
    gate.unlink()
    assert handle.wait(60).output == [1, 2, 3]
    counts = Counter(_lines(log))
    assert (counts["1"], counts["3"]) == (1, 1)


def test_an_item_that_fails_for_good_fails_the_map_under_its_own_name(engine: Engine) -> None:
    result = engine.run({"m": {"uses": N + "odd_fails", "for_each": [2, 3, 4]}})
    assert not result.success
    assert result.error == "node 'm[1]': ValueError: 3 is odd"


@pytest.mark.parametrize("tolerated", [2, "50%"])
def test_so_many_items_may_fail_and_give_nothing(engine: Engine, tolerated: Any) -> None:
    nodes = {
        "m": {"uses": N + "odd_fails", "for_each": [1, 2, 3, 4], "tolerated_failures": tolerated}
    }
    assert engine.run(nodes).output == [None, 2, None, 4]


@pytest.mark.parametrize("fail_fast", [True, False])
def test_a_flow_says_whether_items_run_on_after_one_that_failed(
    engine: Engine, tmp_path: Path, *, fail_fast: bool
) -> None:
    log = tmp_path / "log"
    nodes = {
        "m": {
            "uses": N + "log_or_fail",
            "with": {"log": str(log)},
            "for_each": [1, 2, 3],
            "max_parallel": 1,
        }
    }
    result = engine.run(nodes, config={"execution": {"fail_fast": fail_fast}})
    assert result.error == "node 'm[0]': ValueError: 1 is odd"
    assert log.read_text().split() == (["1"] if fail_fast else ["1", "2", "3"])


def test_one_failure_more_fails_the_map(engine: Engine) -> None:
    nodes = {"m": {"uses": N + "odd_fails", "for_each": [1, 3, 4], "tolerated_failures": 1}}
    assert not engine.run(nodes).success


def test_what_is_no_list_is_refused_with_a_sentence(engine: Engine) -> None:
    nodes = {"m": {"uses": N + "double", "for_each": "${{ inputs.x }}"}}
    assert engine.run(nodes, {"x": {"a": 1}}).error == (
        "node 'm': UsageError: 'for_each' of node 'm' needs a list, and gave dict"
    )


def test_maps_stand_inside_each_other(engine: Engine) -> None:
    inner = {
        "inputs": {"row": {"type": "array"}},
        "nodes": {"cells": {"uses": N + "double", "for_each": "${{ inputs.row }}"}},
    }
    nodes = {
        "rows": {
            "uses": "map",
            "for_each": [[1, 2], [], [3]],
            "with": {"row": "${{ item }}"},
            "flow": inner,
        }
    }
    assert engine.run(nodes).output == [[2, 4], [], [6]]


# ── loops ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", [1, 2, 9, 10, 11, 100, 101])
def test_a_loop_runs_until_its_condition_holds(engine: Engine, times: int) -> None:
    nodes = {"l": {"uses": N + "count_up", "initial": 0, "until": f"output >= {times}"}}
    assert engine.run(nodes).output == times


@pytest.mark.parametrize("times", [1, 10, 12])
def test_a_loop_without_a_condition_runs_so_often(engine: Engine, times: int) -> None:
    nodes = {"l": {"uses": N + "count_up", "initial": 5, "max_iterations": times}}
    assert engine.run(nodes).output == 5 + times


@pytest.mark.parametrize("most", [3, 10, 15])
def test_a_loop_that_may_run_no_more_fails(engine: Engine, most: int) -> None:
    nodes = {
        "l": {
            "uses": N + "count_up",
            "initial": 0,
            "until": "output > 100",
            "max_iterations": most,
        }
    }
    assert engine.run(nodes).error == (
        f"node 'l': LoopLimitError: node 'l' has run {most} times, and 'output > 100' does not hold"
    )


def test_a_loop_begins_with_what_flows_into_it_and_its_condition_reads_the_outside(
    engine: Engine,
) -> None:
    nodes = {
        "limit": {"uses": N + "echo", "with": {"value": 0.3}},
        "first": {"uses": N + "echo", "needs": ["limit"], "with": {"value": 8.0}},
        "l": {
            "uses": N + "halve",
            "needs": ["first"],
            "until": "output < limit.output && state > output && iteration < 100",
        },
    }
    assert engine.run(nodes).output == 0.25


def test_a_loop_may_begin_with_nothing(engine: Engine) -> None:
    nodes = {
        "first": {"uses": N + "echo", "with": {"value": 8}},
        "l": {
            "uses": N + "echo",
            "needs": ["first"],
            "with": {"value": "${{ state == null ? 'none' : 'some' }}"},
            "initial": None,
            "max_iterations": 1,
        },
    }
    assert engine.run(nodes).output == "none"


def test_a_loop_inside_a_map_knows_its_item(engine: Engine) -> None:
    nodes = {
        "m": {
            "uses": N + "count_up",
            "for_each": [2, 12],
            "initial": "${{ item * 10 }}",
            "until": "output >= item * 10 + item",
        }
    }
    assert engine.run(nodes).output == [22, 132]


def test_a_sub_flow_can_be_the_body_of_a_loop(engine: Engine) -> None:
    body = {
        "inputs": {"n": {"type": "integer"}},
        "nodes": {
            "a": {"uses": N + "count_up", "with": {"state": "${{ inputs.n }}"}},
            "b": {"uses": N + "count_up", "needs": ["a"], "with": {"state": "${{ a.output }}"}},
        },
    }
    nodes = {
        "l": {
            "uses": "loop",
            "flow": body,
            "with": {"n": "${{ state }}"},
            "initial": 0,
            "until": "output >= 6",
        }
    }
    assert engine.run(nodes).output == 6


# ── branches, choices, sub-flows ────────────────────────────────────────────────────────────────


def test_branches_run_at_once_and_give_their_outputs_by_name(engine: Engine) -> None:
    nodes = {
        "a": {"uses": N + "echo", "with": {"value": "x"}},
        "p": {
            "uses": "parallel",
            "needs": ["a"],
            "branches": {
                "left": {"uses": N + "greet", "with": {"name": "${{ a.output }}"}},
                "right": {"uses": N + "double", "for_each": [1, 2]},
                "never": {"uses": N + "fail", "if": "a.output == 'y'"},
            },
        },
    }
    assert engine.run(nodes).output == {"left": "hello x", "right": [2, 4]}


@pytest.mark.parametrize(
    ("amount", "match", "ran"),
    [
        (5, "first", {"small"}),
        (50, "first", {"big"}),
        (500, "first", {"huge"}),
        (500, "all", {"huge", "big"}),
        (5, "all", {"small"}),
    ],
)
def test_a_condition_chooses_where_to_go_on(
    engine: Engine, amount: int, match: str, ran: set[str]
) -> None:
    cases = {"huge": "inputs.amount > 100", "big": "${{ inputs.amount > 10 }}"}
    after = {"uses": N + "echo", "needs": ["c"], "with": {"value": 1}}
    nodes = {
        "c": {"uses": "condition", "with": {"cases": cases, "default": "small", "match": match}},
        "huge": after,
        "big": after,
        "small": after,
        "anyway": after,
    }
    result = engine.run(nodes, {"amount": amount})
    done = {name for name, node in result.nodes.items() if node.state is NodeState.SUCCEEDED}
    assert done == {"c", "anyway", *ran}


def test_a_sub_flow_is_a_run_of_its_own_that_names_its_parent(engine: Engine) -> None:
    sub = {"inputs": {"name": {"type": "string"}}, "nodes": {"g": {"uses": N + "greet"}}}
    nodes = {"s": {"uses": "workflow", "flow": sub, "with": {"name": "you"}}}
    handle = engine.start(nodes)
    assert handle.wait(60).output == "hello you"
    child = _child(engine, handle, "s").summary()
    assert child.parent is not None
    assert (child.parent.run, child.parent.name) == (handle.id, "s")
    assert [row.id for row in Run.list(part_of=handle.id, session=engine.session)] == [child.id]
    assert child.id not in [row.id for row in Run.list(limit=1000, session=engine.session)]
    assert handle.record().nodes["s"].child == child.id


def test_a_sub_flow_in_a_file_is_found_beside_the_one_that_runs_it(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "sub.yaml").write_text(f"nodes: {{g: {{uses: '{N}greet'}}}}")
    main = tmp_path / "main.yaml"
    main.write_text("nodes: {s: {uses: workflow, flow: ./sub.yaml, with: {name: file}}}")
    assert Flow.load(main).run(session=engine.session, timeout=60).output == "hello file"


def test_a_sub_flow_takes_its_input_from_what_flows_in_and_refuses_what_does_not_fit(
    engine: Engine,
) -> None:
    sub = {"inputs": {"name": {"type": "string"}}, "nodes": {"g": {"uses": N + "greet"}}}
    nodes = {"s": {"uses": "workflow", "flow": sub}}
    assert engine.run(nodes, {"name": "you"}).output == "hello you"
    error = engine.run(nodes, {"name": 3}).error
    assert error == "node 's': UsageError: bad input: 'name' should be string, got the number 3"


def test_the_failure_in_a_sub_flow_is_its_nodes_with_the_way_to_it(engine: Engine) -> None:
    sub = {"nodes": {"g": {"uses": N + "fail"}}}
    result = engine.run({"s": {"uses": "workflow", "flow": sub}})
    assert result.error == "node 's/g': RuntimeError: no luck"


def test_a_sub_flow_that_takes_too_long_fails_its_node(engine: Engine) -> None:
    sub = {"nodes": {"w": {"uses": "wait", "with": {"for": "1h"}}}}
    nodes = {"s": {"uses": "workflow", "flow": sub, "timeout": "500ms"}}
    error = engine.run(nodes).error
    said = "its run took longer than the node's timeout, 500 ms"
    assert error == f"node 's': NodeTimeoutError: {said}"


# ── control ─────────────────────────────────────────────────────────────────────────────────────


def _waiting(engine: Engine) -> tuple[Run, Run, Run]:
    """A run, one inside it, and one inside that, which waits for a signal."""
    inner = {"nodes": {"w": {"uses": "signal", "with": {"name": "go"}}}}
    middle = {"nodes": {"inner": {"uses": "workflow", "flow": inner}}}
    handle = engine.start({"middle": {"uses": "workflow", "flow": middle}})
    poll(
        lambda: (
            (found := engine.session.runtime.reader.record(f"{handle.id}/middle/inner"))
            and found.nodes["w"].state is NodeState.WAITING
        ),
        what="the innermost run to wait",
    )
    middle_run = _child(engine, handle, "middle")
    return handle, middle_run, _child(engine, middle_run, "inner")


def test_cancelling_a_run_stops_all_that_it_has_started(engine: Engine) -> None:
    handle, middle, inner = _waiting(engine)
    handle.cancel()
    for run in (handle, middle, inner):
        assert run.wait(60).state is RunState.CANCELLED
    assert inner.summary().stop == "the run that it is part of was stopped"


def test_cancelling_an_inner_run_fails_the_one_around_it(engine: Engine) -> None:
    handle, middle, inner = _waiting(engine)
    inner.cancel()
    assert handle.wait(60).error == (
        f"node 'middle/inner': ChildRunError: run '{inner.id}' was cancelled"
    )
    assert middle.summary().state is RunState.FAILED


def test_pausing_a_run_pauses_all_that_it_has_started_and_resuming_lets_all_go_on(
    engine: Engine,
) -> None:
    handle, middle, inner = _waiting(engine)
    handle.pause()
    runs = (handle, middle, inner)
    assert {run.summary().state for run in runs} == {RunState.PAUSED}
    inner.signal("go", x=1)
    assert inner.summary().state is RunState.PAUSED
    handle.resume()
    assert handle.wait(60).output == {"x": 1}
    assert {run.summary().state for run in runs} == {RunState.SUCCEEDED}


@pytest.mark.parametrize("kind", ["workflow", "wait", "loop"])
def test_items_that_wait_keep_to_max_parallel_too(
    engine: Engine, tmp_path: Path, kind: str
) -> None:
    log = tmp_path / "log"

    def said(text: str) -> dict[str, Any]:
        return {"uses": N + "note", "with": {"what": text, "log": str(log)}}

    nap = {"uses": "wait", "with": {"for": "50ms"}, "needs": ["begin"]}
    inner = {"begin": said("+"), "nap": nap, "end": {**said("-"), "needs": ["nap"]}}
    node: dict[str, Any] = {"uses": "workflow", "flow": {"nodes": inner}}
    if kind == "wait":
        node = {"uses": "wait", "with": {"for": "100ms"}}
    elif kind == "loop":
        node |= {"max_iterations": 2}
    began = time.monotonic()
    result = engine.run({"m": {**node, "for_each": [1, 2, 3], "max_parallel": 1}})
    assert result.error is None
    assert time.monotonic() - began >= (0.3 if kind == "wait" else 0.15)
    lines = _lines(log)
    assert lines == ["+", "-"] * (len(lines) // 2)


def test_sub_flows_count_for_the_nodes_of_a_run_that_may_be_under_way(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    inner = {"b": {"uses": N + "busy", "with": {"item": 1, "log": str(log)}}}
    sub = {"uses": "workflow", "flow": {"nodes": inner}}
    config = {"execution": {"max_parallel_nodes": 1}}
    assert engine.run({"a": sub, "b": sub, "c": sub}, config=config).success
    assert _lines(log) == ["+1", "-1"] * 3


def test_a_run_that_was_cancelled_can_be_resumed_at_once(engine: Engine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    sub = {"nodes": {"slow": {"uses": N + "until_gone", "with": {"path": str(gate)}}}}
    handle = engine.start({"s": {"uses": "workflow", "flow": sub}})
    inner = Run(f"{handle.id}/s", session=engine.session)
    poll(
        lambda: (
            (found := engine.session.runtime.reader.record(inner.id))
            and found.nodes["slow"].state is NodeState.RUNNING
        ),
        what="the slow node",
    )
    assert handle.cancel() is RunState.STOPPING
    with pytest.raises(RunStateError, match="resume it once it has ended"):
        handle.resume()
    gate.unlink()
    assert handle.wait(60).state is RunState.CANCELLED
    handle.resume()
    assert handle.wait(60).success


def test_a_signal_reaches_the_runs_inside_whenever_they_wait_for_it(engine: Engine) -> None:
    handle, _, inner = _waiting(engine)
    handle.signal("go", n=1)
    assert handle.wait(60).success
    assert inner.outputs()["w"] == {"n": 1}
    slow = {"nodes": {"w": {"uses": "wait", "with": {"for": "300ms"}}}}
    slow["nodes"]["s"] = {"uses": "signal", "needs": ["w"], "with": {"name": "go"}}
    early = engine.start({"in": {"uses": "workflow", "flow": slow}})
    early.signal("go", n=2)
    assert early.wait(60).output == {"n": 2}


def test_an_approval_inside_a_run_is_answered_by_its_way(engine: Engine) -> None:
    ask = {"nodes": {"ask": {"uses": "approval"}}}
    each = {"uses": "workflow", "flow": ask, "for_each": [1, 2]}
    handle = engine.start({"m": each})

    def asks(item: int) -> bool:
        found = engine.session.runtime.reader.record(f"{handle.id}/m/{item}")
        return found is not None and found.nodes["ask"].state is NodeState.WAITING

    poll(lambda: asks(0) and asks(1), what="both to ask")
    with pytest.raises(UsageError, match="those that wait are: m/0/ask, m/1/ask"):
        handle.approve()
    with pytest.raises(UsageError, match=r"node 'm/2/ask' of run .* asks for no approval"):
        handle.approve("m/2/ask")
    assert handle.approve("m/1/ask", by="me") == "m/1/ask"
    poll(lambda: not asks(1), what="the answer to arrive")
    assert handle.reject() == "m/0/ask"
    result = handle.wait(60)
    assert (result.success, result.error is not None and "m[0]" in result.error) == (False, True)


def test_resuming_a_run_runs_only_the_items_again_that_have_failed(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    nodes = {
        "m": {
            "uses": N + "fail_while",
            "for_each": [1, 2, 3],
            "max_parallel": 1,
            "tolerated_failures": 0,
            "with": {"path": str(gate), "log": str(log)},
        }
    }
    handle = engine.start(nodes)
    assert not handle.wait(60).success
    with pytest.raises(RunStateError, match=f"is part of run '{handle.id}'"):
        _child(engine, handle, "m").resume()
    gate.unlink()
    handle.resume()
    assert handle.wait(60).output == [1, 2, 3]
    assert _lines(log) == ["1", "2", "2", "3"]


def test_resuming_a_loop_goes_on_with_the_iteration_that_failed(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    given = {"item": "${{ iteration }}", "path": str(gate), "log": str(log)}
    loop = {"uses": N + "fail_while", "with": given, "max_iterations": 4}
    handle = engine.start({"l": loop})
    assert not handle.wait(60).success
    gate.unlink()
    handle.resume()
    assert handle.wait(60).output == 3
    assert _lines(log) == ["0", "1", "2", "2", "3"]


def test_a_map_runs_anew_when_what_it_is_made_of_has_changed(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    given = {"item": 2, "path": str(gate), "log": str(log)}
    nodes = {
        "list": {"uses": N + "fail_while", "with": given},
        "m": {
            "uses": N + "odd_fails",
            "needs": ["list"],
            "join": "all_done",
            "for_each": "${{ list.output == null ? [1] : [list.output, 4] }}",
        },
    }
    handle = engine.start(nodes)
    assert handle.wait(60).error == "node 'm[0]': ValueError: 1 is odd"
    gate.unlink()
    handle.resume()
    assert handle.wait(60).output == [2, 4]


def test_a_rerun_runs_all_items_again(engine: Engine) -> None:
    handle = engine.start({"m": {"uses": N + "double", "for_each": [1, 2]}})
    assert handle.wait(60).success
    again = handle.rerun(from_node="m")
    assert again.wait(60).output == [2, 4]
    assert _child(engine, again, "m").summary().state is RunState.SUCCEEDED


def test_a_worker_that_dies_in_the_middle_of_a_map_costs_nothing_but_time(
    make_engine: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    flow = {
        "nodes": {
            "hold": {"uses": N + "until_gone", "with": {"path": str(gate)}},
            "list": {"uses": N + "echo", "needs": ["hold"], "with": {"value": [1, 2, 3]}},
        }
    }
    nodes = {
        "s": {"uses": "workflow", "flow": flow},
        "m": {"uses": N + "double", "needs": ["s"], "for_each": "${{ s.output }}"},
    }
    with make_engine(tmp_path, heartbeat="0.25", lease="1") as engine:
        first = engine.workers(slots=1)
        handle = engine.start(nodes)
        reader = engine.session.runtime.reader
        poll(
            lambda: reader.states(f"{handle.id}/s", [0]).get(0) is NodeState.RUNNING,
            what="the inner node to run",
        )
        kill_all(first.pids)
        gate.unlink()
        engine.workers(slots=1)
        assert handle.wait(60).output == [2, 4, 6]


def test_twenty_sleeping_sub_flows_hold_no_slot_of_a_worker(engine: Engine) -> None:
    sub = {"nodes": {"w": {"uses": "signal", "with": {"name": "wake"}}}}
    nodes = {f"s{n}": {"uses": "workflow", "flow": sub} for n in range(20)}
    handle = engine.start(nodes)
    runs = [f"{handle.id}/s{n}" for n in range(20)]
    reader = engine.session.runtime.reader

    def asleep() -> bool:
        states = [reader.states(run, [0]).get(0) for run in runs]
        return states == [NodeState.WAITING] * 20

    poll(asleep, what="all of them to sleep")
    # Two slots, and twenty that sleep: another run has its turn at once.
    assert engine.run({"a": {"uses": N + "echo", "with": {"value": "awake"}}}).output == "awake"
    assert asleep()
    for run in runs:
        Run.get(run, session=engine.session).signal("wake")
    assert handle.wait(60).success


def test_large_values_of_items_and_sub_flows_go_through_the_payload_store(
    engine: Engine,
) -> None:
    big = {"nodes": {"b": {"uses": "engine_nodes:large", "with": {"size": 300_000}}}}
    nodes = {
        "m": {"uses": "engine_nodes:large", "for_each": [300_000], "with": {"size": "${{ item }}"}},
        "s": {"uses": "workflow", "flow": big},
        "l": {"uses": N + "echo", "max_iterations": 12, "initial": "x" * 300_000}
        | {"with": {"value": "${{ state }}"}},
    }
    result = engine.run(nodes)
    assert result.error is None
    assert (len(result.outputs["m"][0]), len(result.outputs["s"])) == (300_000, 300_000)
    assert len(result.outputs["l"]) == 300_000
