"""Limits that hold on all workers together; one suite for both limiters."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import pytest
import redis

from flowcore.ports.limiter import Limiter, Places, RateLimitState
from flowcore.stores.inmemory.limiter import InMemoryLimiter
from flowcore.stores.redis.connection.script import Script, ScriptConnection
from flowcore.stores.redis.limiter import RedisLimiter
from tests.contract.harness import Clock, on_clock

TWO = Places("db", 2)
RATE = RateLimitState("api", 2, 1.0)


@dataclass
class It:
    limiter: Limiter
    clock: Clock
    kept: Callable[[], list[str]]

    def take(self, holder: str) -> float | None:
        return self.limiter.acquire(holder, places=TWO, rate=None)

    def turn(self, holder: str) -> float | None:
        return self.limiter.acquire(holder, places=None, rate=RATE)

    def give(self, holder: str) -> list[str]:
        return list(self.limiter.release(TWO.name, TWO.limit, holder))


def _on_redis(client: "redis.Redis") -> It:
    clock = Clock()
    limiter = RedisLimiter(client, lease=6)
    line = ScriptConnection(client)
    for name in ("acquire", "release"):
        path = resources.files("flowcore.stores.redis") / "lua" / f"{name}.lua"
        setattr(limiter, f"_{name}", Script(line, on_clock(client, clock, path.read_text())))

    class OnClock:
        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def time(self) -> tuple[int, int]:
            return clock.ms // 1000, clock.ms % 1000 * 1000

    limiter._client = OnClock()
    return It(limiter, clock, lambda: list(map(str, client.keys("fc:*"))))


@pytest.fixture(params=["inmemory", pytest.param("redis", marks=pytest.mark.integration)])
def it(request: pytest.FixtureRequest) -> It:
    if request.param == "redis":
        return _on_redis(request.getfixturevalue("redis_client"))
    clock = Clock()
    return It(InMemoryLimiter(clock=clock, lease=6), clock, list)


def test_no_more_have_a_place_than_there_are(it: It) -> None:
    assert [it.take(f"r|{k}|1") for k in range(3)] == [None, None, 5.0]


def test_asking_again_takes_no_second_place(it: It) -> None:
    assert [it.take("r|0|1"), it.take("r|0|1"), it.take("r|1|1")] == [None, None, None]


def test_a_place_given_back_goes_to_the_first_in_the_line(it: It) -> None:
    for holder in ("a", "b", "c", "d"):
        it.take(holder)
        it.clock.advance(0.1)
    assert it.give("a") == ["c"]
    assert it.take("c") is None, "it was woken, and has its place"
    assert it.take("d") == 5.0
    assert it.give("b") == ["d"]


def test_nobody_passes_the_line(it: It) -> None:
    for holder in ("a", "b", "c"):
        it.take(holder)
    it.clock.advance(6)  # the holders are dead
    assert it.take("new") is None, "two places, one waits before it"
    assert it.take("newer") == 5.0
    assert it.take("c") is None


def test_the_place_of_a_dead_holder_is_free_after_its_lease(it: It) -> None:
    it.take("a")
    it.take("b")
    it.clock.advance(5.9)
    assert it.take("c") == 5.0
    it.clock.advance(0.2)
    assert it.take("c") is None


def test_a_place_that_is_renewed_stays(it: It) -> None:
    it.take("a")
    it.take("b")
    for _ in range(3):
        it.clock.advance(4)
        it.limiter.renew([("db", "a"), ("db", "b"), ("db", "stranger")])
    assert it.take("c") == 5.0
    assert it.take("a") is None


def test_who_waits_and_never_asks_again_is_forgotten(it: It) -> None:
    for holder in ("a", "b", "ghost"):
        it.take(holder)
    for _ in range(4):
        it.clock.advance(4)
        it.limiter.renew([("db", "a"), ("db", "b")])
    assert it.give("a") == ["ghost"] or it.take("c") == 5.0
    it.clock.advance(7)
    assert it.take("d") is None
    assert it.take("e") is None


def test_a_rate_lets_some_begin_at_once_and_spreads_the_rest(it: It) -> None:
    waits = [it.turn(f"h{k}") for k in range(5)]
    assert waits == [None, None, 0.5, 1.0, 1.5]


def test_a_turn_that_was_given_ahead_is_taken_once(it: It) -> None:
    for k in range(3):
        it.turn(f"h{k}")
    assert it.turn("h2") == 0.5, "asking early changes nothing"
    it.clock.advance(0.5)
    assert it.turn("h2") is None
    assert it.turn("h3") == 0.5


def test_after_a_pause_there_is_no_more_than_the_limit_at_once(it: It) -> None:
    it.clock.advance(1000)
    assert [it.turn(f"h{k}") for k in range(3)] == [None, None, 0.5]


def test_limits_of_other_names_are_not_touched(it: It) -> None:
    it.take("a")
    it.take("b")
    assert it.limiter.acquire("c", places=Places("other", 1), rate=None) is None


def test_who_waits_for_its_turn_holds_no_place(it: It) -> None:
    one = Places("db", 1)
    slow = RateLimitState("slow", 1, 10.0)
    assert it.limiter.acquire("a", places=None, rate=slow) is None
    assert it.limiter.acquire("b", places=one, rate=slow) == 10.0
    assert it.limiter.acquire("c", places=one, rate=None) is None


def test_nothing_is_kept_for_ever(it: It) -> None:
    it.take("a")
    it.take("b")
    it.take("c")
    it.turn("a")
    for key in it.kept():
        client = it.limiter._client  # type: ignore[attr-defined]
        assert client.pttl(key.removeprefix("b'").removesuffix("'")) > 0, key


def test_who_may_not_wait_is_refused_at_once(it: It) -> None:
    now = Places("db", 2, max_wait=0.0)
    it.take("a")
    it.take("b")
    assert it.limiter.acquire("c", places=now, rate=None) == math.inf
    assert it.give("a") == [], "it does not stand in the line"
    assert it.limiter.acquire("c", places=now, rate=None) is None


def test_who_may_wait_for_a_while_is_refused_after_it(it: It) -> None:
    soon = Places("db", 2, max_wait=3.0)
    it.take("a")
    it.take("b")
    assert it.limiter.acquire("c", places=soon, rate=None) == 3.0
    it.clock.advance(1)
    assert it.limiter.acquire("c", places=soon, rate=None) == 2.0
    it.limiter.renew([("db", "a"), ("db", "b")])
    it.clock.advance(2)
    assert it.limiter.acquire("c", places=soon, rate=None) == math.inf
    assert it.give("a") == []


def test_who_waits_without_a_worker_keeps_its_place_without_renewals(it: It) -> None:
    it.take("a")
    it.take("b")
    it.limiter.keep("db", "a")
    assert list(it.limiter.kept("db")) == ["a"]
    it.clock.advance(1000)
    assert [it.take("c"), it.take("d")] == [None, 5.0], "b is dead, a is not"
    assert it.take("a") is None, "it has its place"
    it.clock.advance(6)
    assert list(it.limiter.kept("db")) == ["a"]


def test_a_place_that_was_kept_goes_to_the_first_in_the_line_in_the_end(it: It) -> None:
    for holder in ("a", "b"):
        it.take(holder)
        it.limiter.keep("db", holder)
    it.take("c")
    assert it.give("a") == ["c"]
    assert list(it.limiter.kept("db")) == ["b"]
    assert it.give("c") == []
    assert it.take("d") is None


def test_turns_of_an_older_definition_do_not_hold_up_those_of_a_new_one(it: It) -> None:
    slow, fast = RateLimitState("api", 1, 3600.0), RateLimitState("api", 10, 1.0)
    waits = [it.limiter.acquire(f"s{at}", places=None, rate=slow) for at in range(4)]
    assert waits[0] is None
    assert waits[3] == pytest.approx(3 * 3600.0, abs=1)
    fresh = it.limiter.acquire("f", places=None, rate=fast)
    assert fresh is None or fresh <= 1.0
    it.clock.advance(1.0)
    assert it.limiter.acquire("g", places=None, rate=fast) is None


def test_a_place_is_by_the_limit_of_who_asks(it: It) -> None:
    one, three = Places("pool", 1), Places("pool", 3)
    assert it.limiter.acquire("a", places=one, rate=None) is None
    assert it.limiter.acquire("b", places=one, rate=None) is not None
    assert it.limiter.acquire("b", places=three, rate=None) is None
    assert it.limiter.acquire("c", places=three, rate=None) is None
