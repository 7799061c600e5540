"""Schedules under the time of a test: cron in a zone, intervals, overlap, what was missed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from flowcore.errors import UsageError
from flowcore.run.status import RunState
from flowcore.testing import Flows

NOTE: dict[str, Any] = {"id": "note", "nodes": {"a": {"uses": "flowcore.testing.nodes:inputs"}}}
SLOW: dict[str, Any] = {"id": "slow", "nodes": {"w": {"uses": "wait", "with": {"for": "90m"}}}}


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _runs(flows: Flows, name: str) -> dict[str, str]:
    """The times of a schedule's runs, and their states."""
    rows = flows.store._world.runs.values()
    found = {run.new.id: run.state.value for run in rows}
    return {
        id.removeprefix(f"{name}:"): state
        for id, state in sorted(found.items())
        if id.startswith(f"{name}:")
    }


@pytest.fixture
def night() -> Flows:
    """A test that begins at midnight before the clocks go forward in Berlin."""
    flows = Flows(now=_at("2026-03-28T00:00:00"))
    flows.deploy(NOTE)
    flows.deploy(SLOW)
    return flows


def test_a_cron_expression_counts_in_its_zone_over_the_change_of_the_clocks(night: Flows) -> None:
    night.schedules.put(
        "daily", "note", cron="30 4 * * *", zone="Europe/Berlin",
        input={"for": "${{ scheduled_for }}"},
    )  # fmt: skip
    night.advance("2d")
    assert _runs(night, "daily") == {
        "2026-03-28T03:30:00Z": "succeeded",
        "2026-03-29T02:30:00Z": "succeeded",
    }
    first = night.get("daily:2026-03-28T03:30:00Z")
    assert first.output("a") == {"for": "2026-03-28T03:30:00Z"}
    assert first.record.created == _at("2026-03-28T03:30:00")
    assert night.schedules.get("daily").last_run == "daily:2026-03-29T02:30:00Z"


@pytest.mark.parametrize(
    ("overlap", "states"),
    [
        ("skip", ["succeeded", "running"]),
        ("cancel", ["cancelled", "cancelled", "running"]),
        ("allow", ["succeeded", "running", "running"]),
    ],
)
def test_a_run_that_has_not_ended_is_treated_as_the_schedule_says(
    night: Flows, overlap: str, states: list[str]
) -> None:
    night.schedules.put("s", "slow", every="1h", overlap=overlap)
    night.advance("3h10m")
    assert list(_runs(night, "s").values()) == states


@pytest.mark.parametrize(("catch_up", "count"), [("skip", 0), ("last", 1), ("all", 5)])
def test_what_was_missed_while_no_worker_looked_is_made_up_for_as_it_says(
    night: Flows, catch_up: str, count: int
) -> None:
    night.schedules.put("s", "note", every="1h", catch_up=catch_up, overlap="allow")
    night.advance("5h10m", workers=False)
    assert len(_runs(night, "s")) == count
    night.advance("1h")
    assert len(_runs(night, "s")) == count + 1


def test_schedules_are_paused_resumed_run_at_once_and_removed(night: Flows) -> None:
    night.schedules.put("s", "note", every="1h")
    run = night.schedules.run_now("s")
    assert run.state is RunState.SUCCEEDED
    night.schedules.pause("s")
    night.advance("3h")
    night.schedules.resume("s")
    night.advance("61m")
    night.schedules.remove("s")
    night.advance("3h")
    assert len([at for at in _runs(night, "s") if not at.endswith("now")]) == 1
    with pytest.raises(UsageError, match="schedule"):
        night.schedules.get("s")
    with pytest.raises(UsageError, match="no flow 'nosuch' is deployed"):
        night.schedules.put("t", "nosuch", every="1h")
    with pytest.raises(UsageError, match="is not a cron expression"):
        night.schedules.put("t", "note", cron="61 * * * *")


def test_running_out_waits_for_the_runs_that_there_are_and_not_for_schedules(night: Flows) -> None:
    night.schedules.put("s", "note", every="1h")
    before = night.now
    result = night.run({"nodes": {"w": {"uses": "wait", "with": {"for": "150m"}}}})
    assert (result.success, night.now - before) == (True, 9000)
    assert len(_runs(night, "s")) == 2
    night.schedules.put("t", "slow", every="1s", overlap="allow")
    asks = night.start({"nodes": {"ask": {"uses": "approval"}}})
    night.run_out()
    assert asks.state is RunState.RUNNING


def test_a_schedule_that_comes_to_nothing_says_why_and_goes_on(night: Flows) -> None:
    night.deploy({**NOTE, "id": "typed", "inputs": {"n": {"type": "integer"}}})
    night.schedules.put("s", "typed", every="1h", input={"n": 1})
    night.deploy({**NOTE, "id": "typed", "inputs": {"n": {"type": "string"}}})
    night.advance("2h")
    assert "'n'" in str(night.schedules.get("s").trouble)
    assert _runs(night, "s") == {}
