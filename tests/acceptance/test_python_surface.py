"""What people write in Python: enqueue, wait, await, stream, cancel, list."""

import asyncio
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from flowcore import ExecutionResult, Flow, Run, Session, parallel
from flowcore.errors import (
    BlockingCallError,
    RunCancelledError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
    UsageError,
    WaitTimeoutError,
)
from flowcore.run.event import EventType
from tests.acceptance.conftest import DefaultSession


def _flow() -> Flow:
    with Flow("surface") as flow:
        first = flow.add("numbers", "engine_nodes:numbers")
        total = flow.add("total", "engine_nodes:total")
        largest = flow.add("largest", "engine_nodes:largest")
        report = flow.add("report", "engine_nodes:report")
        first >> parallel(total, largest) >> report
    return flow


def _one(uses: str, **given: object) -> Flow:
    return Flow.load(
        {"id": "one", "nodes": {"only": {"uses": f"engine_nodes:{uses}", "with": given}}}
    )


def test_enqueue_gives_a_handle_whose_result_is_the_output(default_session: DefaultSession) -> None:
    handle = _flow().enqueue({"n": 4}, tags=["eu"])
    assert handle.result(timeout=60) == "total 6, largest 3"
    assert handle.status() == "succeeded"
    assert handle.summary().tags == ("eu",)
    assert [row.id for row in Run.list(tag="eu", limit=1)] == [handle.id]


def test_the_same_id_twice_is_the_same_run(default_session: DefaultSession) -> None:
    first = _flow().enqueue({"n": 4}, id="order-42")
    second = _flow().enqueue({"n": 9}, id="order-42")
    assert first.result(60) == second.result(60) == "total 6, largest 3"
    assert Run.get("order-42").id == "order-42"


def test_an_id_belongs_to_one_flow(default_session: DefaultSession) -> None:
    assert _one("echo", value=3).run(id="taken").output == 3
    with pytest.raises(UsageError, match=r"'taken' exists already, of flow 'one'"):
        _flow().enqueue({"n": 4}, id="taken")


def test_an_id_belongs_to_one_project(default_session: DefaultSession) -> None:
    _one("echo", value=3).run(id="taken-here")
    settings = replace(default_session.runtime.settings, namespace="elsewhere")
    with (
        Session(replace(settings, redis_url=default_session.runtime.redis_url)) as other,
        pytest.raises(UsageError, match="in another project"),
    ):
        _one("echo", value=3).enqueue(id="taken-here", session=other)


def test_numbers_are_good_ids_and_a_lone_tag_is_one_word(default_session: DefaultSession) -> None:
    key: Any = 4711
    handle = _one("echo", value=3).enqueue(id=key, tags="eu")
    assert handle.result(60) == 3
    assert (handle.id, handle.summary().tags) == ("4711", ("eu",))


def test_a_flow_whose_name_starts_with_an_underscore_runs(default_session: DefaultSession) -> None:
    assert Flow.load({"id": "_own", "nodes": {"only": {"uses": "start"}}}).run().success


def test_a_state_that_no_run_has_is_refused(default_session: DefaultSession) -> None:
    with pytest.raises(UsageError, match=r"'finished'; states are pending, running"):
        Run.list(state="finished")


def test_run_waits_and_tells_everything(default_session: DefaultSession) -> None:
    result = _flow().run({"n": 4})
    assert isinstance(result, ExecutionResult)
    assert result.success
    assert result.outputs["total"] == 6
    assert result.duration > 0
    assert result.nodes["report"].attempts == 1


async def test_every_blocking_call_has_an_async_twin(default_session: DefaultSession) -> None:
    flow = _flow()
    handle = await flow.aenqueue({"n": 4})
    result = await handle
    assert result.output == "total 6, largest 3"
    assert await handle.aresult() == result.output
    assert (await flow.arun({"n": 4}, timeout=60)).success


async def test_an_awaited_wait_may_be_limited_too(default_session: DefaultSession) -> None:
    with pytest.raises(WaitTimeoutError):
        await _one("nap", seconds=1.5).arun(timeout=0.1)


async def test_a_blocking_call_in_an_event_loop_names_its_twin(
    default_session: DefaultSession,
) -> None:
    flow = _flow()
    handle = await flow.aenqueue({"n": 4})
    with pytest.raises(BlockingCallError, match=r"await flow\.aenqueue"):
        flow.enqueue({"n": 4})
    with pytest.raises(BlockingCallError, match=r"await flow\.arun"):
        flow.run({"n": 4})
    with pytest.raises(BlockingCallError, match=r"await handle\.aresult"):
        handle.result()
    await handle


async def test_stream_replays_follows_and_resumes(default_session: DefaultSession) -> None:
    handle = await _flow().aenqueue({"n": 4})
    events = [event async for event in handle.stream()]
    assert events[0].type is EventType.RUN_CREATED
    assert events[-1].type is EventType.RUN_SUCCEEDED
    resumed = [event async for event in handle.stream(after=events[3].id)]
    assert resumed == events[4:]


async def test_fifty_awaited_runs_share_one_event_loop(default_session: DefaultSession) -> None:
    flow = _one("async_nap", seconds=0.01)
    handles = [await flow.aenqueue() for _ in range(50)]
    results = await asyncio.gather(*handles)
    assert all(result.success for result in results)


def test_a_failed_run_raises_from_result_and_not_from_wait(default_session: DefaultSession) -> None:
    handle = _one("fail", message="boom").enqueue()
    result = handle.wait(60)
    assert result.error == "node 'only': ValueError: boom"
    assert result.outputs == {}
    with pytest.raises(RunFailedError, match="ValueError: boom") as caught:
        handle.result(60)
    assert caught.value.run_id == handle.id
    with pytest.raises(RunFailedError, match="ValueError: boom") as read:
        _ = result.output
    assert str(read.value) == str(caught.value)


async def test_output_of_a_run_without_success_raises_in_every_form(
    default_session: DefaultSession,
) -> None:
    failed = {"uses": "engine_nodes:fail", "with": {"message": "boom"}}
    nested = {"sub": {"uses": "workflow", "flow": {"id": "inner", "nodes": {"only": failed}}}}
    late = {"only": {"uses": "wait", "with": {"for": "1h"}}}
    bounded = {"execution": {"timeout_seconds": 0.2}}
    for flow, kind in (
        (Flow.load({"id": "one", "nodes": {"only": failed}}), RunFailedError),
        (Flow.load({"id": "outer", "nodes": nested}), RunFailedError),
        (Flow.load({"id": "late", "nodes": late, "config": bounded}), RunTimeoutError),
    ):
        for result in (
            await flow.arun(timeout=60),
            await asyncio.to_thread(flow.run, timeout=60),
            await asyncio.to_thread((await flow.aenqueue()).wait, 60),
            await (await flow.aenqueue()),
        ):
            with pytest.raises(kind, match=f"flowcore status {result.run_id}"):
                _ = result.output
            again = pickle.loads(pickle.dumps(result))
            assert (again, repr(again)) == (result, repr(result))
            assert asdict(again)["error"] == result.error


def test_a_cancelled_run_raises_from_result(default_session: DefaultSession) -> None:
    handle = _one("async_nap", seconds=60).enqueue()
    handle.cancel()
    with pytest.raises(RunCancelledError):
        handle.result(60)


def test_a_wait_that_is_over_leaves_the_run_alone(
    default_session: DefaultSession, tmp_path: Path
) -> None:
    handle = _one("wait_for", path=str(tmp_path / "go")).enqueue()
    with pytest.raises(WaitTimeoutError, match="continues"):
        handle.result(timeout=0.2)
    (tmp_path / "go").write_text("went")
    assert handle.result(60) == "went"


def test_an_unknown_run_is_not_found(default_session: DefaultSession) -> None:
    for call in (
        lambda: Run.get("nobody"),
        lambda: Run("nobody").wait(1),
        lambda: Run("nobody").cancel(),
        lambda: list(Run("nobody").events()),
    ):
        with pytest.raises(RunNotFoundError, match="nobody"):
            call()


@pytest.mark.parametrize("bad", ["", "a b", "x" * 121, "a|b", "-a", "é"])
def test_a_bad_run_id_is_refused_with_the_rule(default_session: DefaultSession, bad: str) -> None:
    with pytest.raises(UsageError, match="a run id is"):
        _flow().enqueue(id=bad)
