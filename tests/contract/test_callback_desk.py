"""Each run is told of by one worker at a time, on one server and on several."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from flowcore.ports.callbacks import CallbackQueue, Turn
from flowcore.ports.store import NewRun
from flowcore.stores.redis.callbacks import RedisCallbackDesk, ShardedCallbackDesk
from tests.contract.harness import RUN, make_plan, on_redis
from tests.engine import poll

pytestmark = pytest.mark.integration


@pytest.fixture
def client(redis_client: "redis.Redis") -> Any:
    it = on_redis(redis_client)
    plan = make_plan([[]])
    it.store.put_plan(plan)
    it.store.submit(NewRun(id=RUN, plan=plan.hash, input=b"\x80"), plan)
    redis_client.zadd("fc:runs", {RUN: 1})
    return redis_client


@pytest.fixture(params=[1, 2])
def desk(request: pytest.FixtureRequest, client: Any) -> CallbackQueue:
    desks: Sequence[RedisCallbackDesk] = [RedisCallbackDesk(client) for _ in range(request.param)]
    return desks[0] if request.param == 1 else ShardedCallbackDesk(desks)


def _take(desk: CallbackQueue, lease: float = 60) -> Turn:
    turn: Turn = poll(lambda: desk.take(lease=lease), what="a turn")
    assert turn.run == RUN
    return turn


def test_a_run_is_given_to_one_at_a_time_and_goes_on_at_its_cursor(desk: CallbackQueue) -> None:
    turn = _take(desk)
    assert turn.after == 0
    assert desk.take(lease=60) is None
    assert desk.keep(turn, 7, again=0)
    assert _take(desk).after == 7


def test_a_turn_whose_lease_is_over_is_another_s(desk: CallbackQueue) -> None:
    old = _take(desk, lease=0.01)
    new = _take(desk)
    assert not desk.keep(old, 9, again=0)
    assert desk.keep(new, 1, again=0)
    assert _take(desk).after == 1


def test_a_run_is_over_only_at_the_end_of_its_log(desk: CallbackQueue, client: Any) -> None:
    last = int(client.xrevrange(f"fc:{{{RUN}}}:ev", count=1)[0][0].split(b"-")[1])
    assert desk.keep(_take(desk), last - 1, again=0, over=True)
    assert desk.keep(_take(desk), last, again=0, over=True)
    assert desk.take(lease=60) is None


def test_runs_of_another_namespace_are_left_alone(client: Any) -> None:
    assert RedisCallbackDesk(client, namespace="other").take(lease=60) is None


def test_nothing_is_left_of_a_run_that_is_gone(desk: CallbackQueue, client: Any) -> None:
    turn = _take(desk)
    client.delete(f"fc:{{{RUN}}}:run")
    assert not desk.keep(turn, 1, again=0)
    assert client.keys("fc:callbacks:") == client.keys(f"fc:{{{RUN}}}:cb") == []


def test_a_run_that_is_quiet_is_left_alone_for_a_tenth_of_that(
    desk: CallbackQueue, client: Any
) -> None:
    (entry,) = client.xrevrange(f"fc:{{{RUN}}}:ev", count=1)
    last = int(entry[0].split(b"-")[1])
    ten_minutes_ago = (client.time()[0] - 600) * 1000
    client.xadd(f"fc:{{{RUN}}}:ev", {**entry[1], b"ts": ten_minutes_ago}, id=f"0-{last + 1}")
    turn = _take(desk)
    assert desk.keep(turn, last + 1, again=0, patience=0.01)
    assert _take(desk).token == turn.token + 1, "no longer than one has patience for"
    for after, seconds in ((last, 0), (last + 1, 50)):
        turn = Turn(run=RUN, after=0, token=int(client.hget(f"fc:{{{RUN}}}:cb", "token")))
        before = client.time()[0]
        assert desk.keep(turn, after, again=0, patience=90)
        due = client.zscore("fc:callbacks:", RUN) / 1000 - before
        assert seconds <= due <= seconds + 15, "one with news is due at once"
