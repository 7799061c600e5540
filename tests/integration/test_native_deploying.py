"""Flows that are deployed, and schedules of them, on real Celery workers."""

from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow, Run, Schedules
from flowcore.errors import RunStateError, UsageError
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll

N = "structured_nodes:"


def _flow(id: str, nodes: dict[str, Any], **more: Any) -> Flow:
    return Flow.load({"id": id, "nodes": nodes, **more})


def _says(id: str, text: str, **more: Any) -> Flow:
    return _flow(id, {"a": {"uses": N + "echo", "with": {"value": text}}}, **more)


def test_a_flow_is_run_by_its_name_and_by_a_version(engine: Engine) -> None:
    _says("by-name", "one", version="1").deploy(session=engine.session)
    _says("by-name", "two", version="2").deploy(session=engine.session)
    for address, said in (("by-name", "two"), ("by-name@1", "one"), ("by-name@2", "two")):
        flow = Flow.deployed(address, session=engine.session)
        assert flow.run(session=engine.session, timeout=60).output == said
    with pytest.raises(UsageError, match="no flow 'by-name@3' is deployed"):
        Flow.deployed("by-name@3", session=engine.session)
    with pytest.raises(UsageError, match="its definition is not kept"):
        Flow.deployed("by-name", session=engine.session).document()


def test_a_deployed_flow_that_is_changed_under_100_runs_disturbs_none_of_them(
    engine: Engine,
) -> None:
    def version(text: str) -> Flow:
        nodes = {
            "hold": {"uses": "signal", "with": {"name": "go"}},
            "say": {"uses": N + "echo", "needs": ["hold"], "with": {"value": text}},
            "sub": {"uses": "workflow", "needs": ["hold"], "flow": "changing-sub"},
        }
        return _flow("changing", nodes)

    session = engine.session
    _says("changing-sub", "old sub").deploy(session=session)
    version("old").deploy(session=session)
    runs = [Flow.deployed("changing", session=session).enqueue(session=session) for _ in range(100)]
    reader = session.runtime.reader

    def all_wait() -> bool:
        return all(reader.states(run.id, [0])[0] is NodeState.WAITING for run in runs)

    poll(all_wait, what="100 runs in flight")
    _says("changing-sub", "new sub").deploy(session=session)
    version("new").deploy(session=session)
    fresh = Flow.deployed("changing", session=session).enqueue(session=session)
    for run in [*runs, fresh]:
        run.signal("go")
    old = [run.wait(60) for run in runs]
    assert [one.outputs["say"] for one in old] == ["old"] * 100
    assert [one.outputs["sub"] for one in old] == ["old sub"] * 100
    new = fresh.wait(60)
    assert (new.outputs["say"], new.outputs["sub"]) == ("new", "new sub")


def test_a_sub_flow_that_is_not_deployed_is_refused_before_anything_runs(engine: Engine) -> None:
    flow = _flow("needs-other", {"s": {"uses": "workflow", "flow": "not-there"}})
    with pytest.raises(UsageError, match="no flow 'not-there' is deployed"):
        flow.enqueue(id="needs-other-1", session=engine.session)
    assert engine.session.runtime.reader.summary("needs-other-1") is None


def test_a_flow_that_would_run_itself_for_ever_is_refused(engine: Engine) -> None:
    session = engine.session
    _flow("ring-a", {"s": {"uses": "workflow", "flow": "ring-b"}}).deploy(session=session)
    _flow("ring-b", {"s": {"uses": "workflow", "flow": "ring-a"}}).deploy(session=session)
    with pytest.raises(UsageError, match="runs itself as a sub-flow: ring-a -> ring-b -> ring-a"):
        Flow.deployed("ring-a", session=session).enqueue(session=session)


def test_a_schedule_makes_runs_on_whatever_worker_looks(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    nodes = {
        "note": {"uses": N + "note", "with": {"what": "${{ inputs.at }}", "log": str(log)}},
    }
    _flow("ticking", nodes, inputs={"at": {"type": "string"}}).deploy(session=engine.session)
    schedules = Schedules(session=engine.session)
    made = schedules.put(
        "tick", "ticking", every="1s", input={"at": "${{ scheduled_for }}"}, overlap="allow"
    )
    assert made.due is not None
    try:
        poll(lambda: log.exists() and len(log.read_text().split()) >= 2, what="two runs")
    finally:
        schedules.remove("tick")
    found = Run.list(tag="schedule:tick", limit=50, session=engine.session)
    assert len({run.id for run in found}) >= 2
    for run in found:
        assert run.id.startswith("tick:20")
        assert Run.get(run.id, session=engine.session).wait(60).state is RunState.SUCCEEDED
    told = log.read_text().split()
    assert len(told) == len(set(told))
    assert {f"tick:{at}" for at in told} == {run.id for run in found}


def test_a_schedule_can_be_run_now_changed_paused_and_resumed(engine: Engine) -> None:
    _says("rarely", "hello").deploy(session=engine.session)
    schedules = Schedules(session=engine.session)
    first = schedules.put("rare", "rarely", cron="0 3 1 1 *")
    run = schedules.run_now("rare")
    assert run.wait(60).output == "hello"
    assert schedules.pause("rare").paused
    changed = schedules.put("rare", "rarely", cron="0 4 1 1 *")
    assert (changed.paused, changed.due) != (True, first.due)
    assert schedules.pause("rare").paused
    assert not schedules.resume("rare").paused
    assert len(schedules.next("rare", 3)) == 3
    schedules.remove("rare")
    with pytest.raises(UsageError, match="there is no schedule 'rare'"):
        schedules.get("rare")
    with pytest.raises(UsageError, match="no flow 'nowhere' is deployed"):
        schedules.put("rare", "nowhere", every=60)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"input": {"at": 3}}, "bad input: 'at' should be string, got the number 3"),
        ({"input": {"at": "x", "to": 1}}, "bad input: 'to' is not an input of this flow"),
        ({}, "bad input: 'at' is missing"),
        ({"input": {"at": "x"}, "every": "-5"}, "an interval: a duration cannot be negative"),
    ],
)
def test_a_schedule_whose_runs_could_not_be_is_refused(
    engine: Engine, more: dict[str, Any], sentence: str
) -> None:
    nodes = {"a": {"uses": N + "echo", "with": {"value": "${{ inputs.at }}"}}}
    _flow("strict", nodes, inputs={"at": {"type": "string"}}).deploy(session=engine.session)
    schedules = Schedules(session=engine.session)
    with pytest.raises(UsageError, match=sentence):
        schedules.put("never", "strict", **{"every": "1h", **more})
    made = schedules.put("fine", "strict", every="1h", input={"at": "${{ scheduled_for }}"})
    schedules.remove(made.name)


async def test_flows_and_schedules_are_kept_from_an_event_loop(engine: Engine) -> None:
    session = engine.session
    deployed = await _says("looped", "hello").adeploy(session=session)
    found = await Flow.adeployed("looped", session=session)
    assert (await found.arun(session=session, timeout=60)).output == "hello"
    schedules = Schedules(session=session)
    made = await schedules.aput("in-a-loop", deployed.name, cron="0 3 1 1 *", tags=["looped"])
    kept = await schedules.aget("in-a-loop")
    assert (kept.due, kept.tags) == (made.due, ("looped",))
    assert kept in await schedules.alist()
    assert len(await schedules.anext("in-a-loop", 2)) == 2
    assert (await schedules.apause("in-a-loop")).paused
    assert not (await schedules.aresume("in-a-loop")).paused
    assert (await (await schedules.arun_now("in-a-loop"))).output == "hello"
    await schedules.aremove("in-a-loop")
    with pytest.raises(UsageError, match="there is no schedule 'in-a-loop'"):
        await schedules.aget("in-a-loop")


async def test_runs_are_found_and_changed_at_once_from_an_event_loop(engine: Engine) -> None:
    session = engine.session
    flow = _flow("found", {"hold": {"uses": "signal", "with": {"name": "go"}}})
    ids = {(await flow.aenqueue(tags=["found"], session=session)).id for _ in range(3)}
    assert {row.id for row in await Run.alist(flow="found", session=session)} == ids
    assert {run.id async for run in Run.aquery(tag="found", session=session)} == ids
    done = await Run.aall("pause", flow="found", session=session)
    assert done == dict.fromkeys(ids, RunState.PAUSED)
    run = await Run.aget(min(ids), session=session)
    with pytest.raises(RunStateError, match="dead letter"):
        await run.arequeue()
    assert run.id not in {one.run for one in await Run.adead_letters(session=session)}
    assert (await Run.aall("cancel", flow="found", session=session)).keys() == ids
