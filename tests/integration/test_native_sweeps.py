"""Sweeps of real workers with poison in their way: schedules, runs, and what people see of it."""

import json
from typing import Any

import msgpack
import pytest

from flowcore import Flow, Run, Schedules
from flowcore.cli.main import main
from tests.engine import Engine, poll

pytestmark = pytest.mark.integration


def _deploy(engine: Engine, name: str) -> None:
    nodes = {"a": {"uses": "engine_nodes:echo", "with": {"value": name}}}
    Flow.load({"id": name, "nodes": nodes}).deploy(session=engine.session)


def _change(client: Any, name: str, **fields: Any) -> None:
    """Change an entry behind the book's back, as another release, or another tzdata, would."""
    kept = msgpack.unpackb(client.hget("fc:schedules:", name), strict_map_key=False)
    client.hset("fc:schedules:", name, msgpack.packb({**kept, **fields}))


def test_a_schedule_in_an_unknown_zone_stops_no_other_and_is_shown(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _deploy(engine, "swept")
    schedules = Schedules(session=engine.session)
    client: Any = engine.session.runtime.store.client
    schedules.put("zoned", "swept", cron="* * * * *", zone="Europe/Berlin")
    _change(client, "zoned", zone="Mars/Base", due=1.0)
    client.zadd("fc:schedules:due:", {"zoned": 1, "garbage": 1})
    client.hset("fc:schedules:", "garbage", b"\xc1")
    schedules.put("steady", "swept", every="1s", overlap="allow")
    try:
        runs = poll(
            lambda: Run.list(tag="schedule:steady", session=engine.session), what="the other's run"
        )
        assert Run(runs[0].id, session=engine.session).wait(60).success
        poll(lambda: schedules.get("zoned").trouble, what="the mark")
        monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
        monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
        assert main(["schedules", "list", "-o", "json"]) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert "No time zone found with key Mars/Base" in rows["zoned"]["trouble"]
        assert "its entry cannot be read" in rows["garbage"]["trouble"]
        assert main(["doctor", "-o", "json"]) == 0
        (left,) = (row for row in json.loads(capsys.readouterr().out) if row["check"] == "left")
        assert left["status"] == "warn"
        assert "schedules 'zoned'" in left["found"]
        assert "Mars/Base" in left["found"]
        schedules.put("zoned", "swept", every="1s", overlap="allow")
        poll(lambda: Run.list(tag="schedule:zoned", session=engine.session), what="its own run")
    finally:
        for name in ("zoned", "steady", "garbage"):
            schedules.remove(name)


def test_a_schedule_that_is_put_again_and_again_runs(engine: Engine) -> None:
    """An application puts its schedules each time that it starts."""
    _deploy(engine, "again")
    schedules = Schedules(session=engine.session)
    first = schedules.put("same", "again", every="1s", overlap="allow")

    def some_runs() -> bool:
        put = schedules.put("same", "again", every="1s", overlap="allow")
        assert put.start == first.start
        return len(Run.list(tag="schedule:same", session=engine.session)) >= 2

    try:
        poll(some_runs, what="two runs of a schedule that is put all the time")
    finally:
        schedules.remove("same")


def test_a_poisoned_agenda_stops_no_run_of_real_workers(engine: Engine) -> None:
    client: Any = engine.session.runtime.store.client
    client.zadd("fc:agenda", {"no-run": 1, b"\xff|0": 1, "odd|0": 1})
    client.rpush("fc:{odd}:run", "x")
    # Both nodes depend on the sweep: a wait ends with one, a retry begins with one.
    nodes = {
        "wait": {"uses": "wait", "with": {"for": "100ms"}},
        "after": {
            "uses": "engine_nodes:recite_twice",
            "needs": ["wait"],
            "retry": {"max_attempts": 2, "delay": "50ms"},
        },
    }
    assert engine.run(nodes).output == "attempt 2"
    items = {one.item for one in engine.session.runtime.troubles.troubles()}
    assert {"no-run", "odd|0"} <= items
    client.zrem("fc:agenda", "no-run", b"\xff|0", "odd|0")
    client.delete("fc:{odd}:run", "fc:troubles")


def test_commands_show_what_is_there_beside_damaged_entries(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = engine.session.runtime.store.client
    done = engine.run({"a": {"uses": "engine_nodes:echo", "with": {"value": 1}}})
    _deploy(engine, "whole")
    flows = f"fc:flows:{engine.session.runtime.settings.namespace}"
    odd = {"fc:workers": "odd", "fc:workers:callables": "odd", flows: "odd@1"}
    cards = "fc:a2a:cards"
    try:
        for key, field in odd.items():
            client.hset(key, field, b"\xc1")
        client.hset(cards, "odd|1", msgpack.packb({"card": {}, "until": 1e12, "keep": 1}))
        client.rpush("fc:{damaged}:run", "x")
        client.zadd("fc:runs", {"damaged": 9e15})
        monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
        monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))

        def told(*command: str, code: int = 0) -> tuple[Any, str]:
            assert main([*command, "-o", "json"]) == code, command
            out, err = capsys.readouterr()
            return json.loads(out) if out else None, err

        rows, err = told("list")
        assert done.run_id in {row["run_id"] for row in rows}
        assert "1 runs cannot be read: 'damaged'" in err
        rows, err = told("flows")
        assert "whole" in {row["name"] for row in rows}
        assert "'odd@1'" in err
        rows, err = told("agents")
        assert rows == []
        assert "1 cards cannot be read: 'odd|1'" in err
        rows, _ = told("doctor")
        said = {row["check"]: row["found"] for row in rows if row["status"] == "warn"}
        assert "'odd'" in said["workers"]
        assert "'odd|1'" in said["agents"]
        assert [row for row in rows if row["check"] == "workers" and row["status"] == "ok"]
        told("status", done.run_id)
        _, err = told("status", "damaged", code=4)
        assert "damaged" in err
        assert "bug" not in err
        assert [row.id for row in Run.list(session=engine.session) if row.id == done.run_id]
        assert engine.run({"a": {"uses": "engine_nodes:echo", "with": {"value": 2}}}).output == 2
    finally:
        for key, field in odd.items():
            client.hdel(key, field)
        client.hdel(cards, "odd|1")
        client.delete("fc:{damaged}:run")
        client.zrem("fc:runs", "damaged")
