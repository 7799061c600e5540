"""Refused messages are kept to a bound, and counted beyond it."""

from typing import TYPE_CHECKING

from flowcore.ports.refusals import Refusal
from flowcore.stores.redis.refusals import KEPT, RedisRefusals

if TYPE_CHECKING:
    import redis


def _one(number: int) -> Refusal:
    return Refusal(time=float(number), queue="q", reason=f"reason {number}", shown="x", worker="w")


def test_the_latest_come_first_and_all_are_counted(redis_client: "redis.Redis") -> None:
    refusals = RedisRefusals(redis_client)
    assert (refusals.count(), refusals.latest()) == (0, [])
    refusals.keep([_one(1), _one(2)], count=2)
    refusals.keep([_one(3)], count=10)
    assert [one.time for one in refusals.latest()] == [3.0, 2.0, 1.0]
    assert refusals.latest(limit=1) == [_one(3)]
    assert refusals.count() == 12


def test_the_list_is_bounded_and_the_count_is_not(redis_client: "redis.Redis") -> None:
    refusals = RedisRefusals(redis_client)
    for start in range(0, 3 * KEPT, 100):
        refusals.keep([_one(start + k) for k in range(100)], count=100)
    found = refusals.latest(limit=10 * KEPT)
    assert len(found) == KEPT
    assert found[0] == _one(3 * KEPT - 1)
    assert refusals.count() == 3 * KEPT


def test_what_is_dropped_is_gone(redis_client: "redis.Redis") -> None:
    refusals = RedisRefusals(redis_client)
    refusals.keep([_one(1)], count=4)
    assert refusals.drop() == 4
    assert refusals.drop() == 0
    assert not redis_client.keys("fc:refused*")
