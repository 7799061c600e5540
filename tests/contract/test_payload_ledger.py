"""The ledger gives each run a space, and gives it up once the run is gone."""

from typing import Any

import pytest
import redis

from flowcore.ports.store import NewRun
from flowcore.stores.redis.payloads import RedisLedger
from tests.contract.harness import RUN, make_plan, on_redis

pytestmark = pytest.mark.integration


@pytest.fixture
def client(redis_client: "redis.Redis") -> Any:
    return redis_client


@pytest.fixture
def ledger(client: Any) -> RedisLedger:
    return RedisLedger(client, look=60)


def _submit(client: Any) -> None:
    it = on_redis(client)
    plan = make_plan([[]])
    it.store.put_plan(plan)
    it.store.submit(NewRun(id=RUN, plan=plan.hash, input=b"\x80"), plan)


def _seconds_to_look(client: Any, space: str) -> float:
    now, _ = client.time()
    due: float = client.zscore("fc:payloads:due", space)
    return due / 1000 - float(now)


def _make_due(client: Any, space: str) -> None:
    client.zadd("fc:payloads:due", {space: 1})


def test_a_run_keeps_its_space(ledger: RedisLedger) -> None:
    space = ledger.enter(RUN)
    assert space.rpartition(".")[0] == RUN
    assert ledger.enter(RUN) == space
    assert ledger.enter("another") != space


def test_a_run_that_does_not_exist_yet_is_left_alone_for_a_day(
    client: Any, ledger: RedisLedger
) -> None:
    space = ledger.enter(RUN)
    assert 86_000 < _seconds_to_look(client, space) < 86_500
    assert ledger.orphans() is None
    _submit(client)
    assert ledger.enter(RUN) == space
    assert 50 < _seconds_to_look(client, space) < 70, "from then on it is looked at with the others"


def test_a_run_that_goes_on_keeps_its_payloads(client: Any, ledger: RedisLedger) -> None:
    _submit(client)
    space = ledger.enter(RUN)
    _make_due(client, space)
    assert ledger.orphans() == []
    assert ledger.orphans() is None
    assert 50 < _seconds_to_look(client, space) < 70


def test_a_finished_run_is_looked_at_when_its_time_is_over(
    client: Any, ledger: RedisLedger
) -> None:
    _submit(client)
    space = ledger.enter(RUN)
    now, _ = client.time()
    client.hset(f"fc:{{{RUN}}}:run", mapping={"finished": now * 1000, "keep": 3_600_000})
    _make_due(client, space)
    assert ledger.orphans() == []
    assert 3_500 < _seconds_to_look(client, space) < 3_700


def test_a_run_that_is_gone_gives_up_its_space(client: Any, ledger: RedisLedger) -> None:
    _submit(client)
    space = ledger.enter(RUN)
    client.flushall()
    client.hset("fc:payloads", RUN, space.rpartition(".")[2])
    _make_due(client, space)
    assert ledger.orphans() == [space]
    assert ledger.orphans() is None, "who removes it has some minutes for that"
    assert ledger.enter(RUN) != space, "a run that takes the id again gets another space"
    _make_due(client, space)
    assert ledger.orphans() == [space], "nobody said that it was removed"
    ledger.forget(space)
    _make_due(client, "another.0123")
    assert ledger.orphans() == ["another.0123"]


def test_an_old_space_goes_though_a_new_run_has_the_id(client: Any, ledger: RedisLedger) -> None:
    old = ledger.enter(RUN)
    _make_due(client, old)
    assert ledger.orphans() == [old]
    new = ledger.enter(RUN)
    _submit(client)
    for space in (old, new):
        _make_due(client, space)
    assert ledger.orphans() == [old]
    assert ledger.enter(RUN) == new


def test_a_long_list_is_looked_at_in_parts(client: Any, ledger: RedisLedger) -> None:
    spaces = {ledger.enter(f"run.{number}") for number in range(25)}
    for space in spaces:
        _make_due(client, space)
    found: list[str] = []
    while (part := ledger.orphans(limit=10)) is not None:
        assert len(part) <= 10
        found += part
    assert set(found) == spaces
    assert client.hlen("fc:payloads") == 0


def test_nothing_is_left_of_a_ledger_without_runs(client: Any, ledger: RedisLedger) -> None:
    space = ledger.enter(RUN)
    _make_due(client, space)
    for gone in ledger.orphans() or ():
        ledger.forget(gone)
    assert client.keys("*") == []
