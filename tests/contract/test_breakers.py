"""Circuits that hold on all workers together; one suite for both implementations."""

from dataclasses import dataclass, replace
from importlib import resources

import pytest
import redis

from flowcore.ports.breaker import Breakers, Circuit
from flowcore.stores.inmemory.breaker import InMemoryBreakers
from flowcore.stores.redis.breaker import RedisBreakers
from flowcore.stores.redis.connection.script import Script, ScriptConnection
from tests.contract.harness import Clock, on_clock

API = Circuit(name="api", failures=3, within=10.0, reset_after=5.0)


@dataclass
class It:
    breakers: Breakers
    clock: Clock
    circuit: Circuit = API
    client: "redis.Redis | None" = None

    def call(self, holder: str, verdict: str | None = "failed") -> float | str | None:
        """Begin and end; return why it could not begin, or what it changed."""
        wait = self.breakers.enter(self.circuit, holder)
        if wait is not None:
            return wait
        return self.breakers.leave(self.circuit, holder, verdict)  # type: ignore[arg-type]

    def trip(self) -> None:
        assert [self.call(f"t{k}") for k in range(self.circuit.failures)][-1] == "open"


def _on_redis(client: "redis.Redis") -> It:
    clock, breakers, line = Clock(), RedisBreakers(client), ScriptConnection(client)
    for name in ("enter", "leave"):
        path = resources.files("flowcore.stores.redis") / "lua" / "breakers" / f"{name}.lua"
        source = on_clock(client, clock, path.read_text())
        setattr(breakers, f"_{name}", Script(line, source))
    return It(breakers, clock, client=client)


@pytest.fixture(params=["inmemory", pytest.param("redis", marks=pytest.mark.integration)])
def it(request: pytest.FixtureRequest) -> It:
    if request.param == "redis":
        return _on_redis(request.getfixturevalue("redis_client"))
    clock = Clock()
    return It(InMemoryBreakers(clock=clock), clock)


def test_failures_open_a_circuit_and_nothing_gets_through(it: It) -> None:
    assert [it.call(f"h{k}") for k in range(3)] == [None, None, "open"]
    assert it.call("h3") == 5.0
    it.clock.advance(2)
    assert it.call("h4") == 3.0


def test_the_same_attempt_that_fails_twice_counts_once(it: It) -> None:
    assert [it.call("same") for _ in range(5)] == [None] * 5


def test_failures_that_are_long_ago_do_not_count(it: It) -> None:
    it.call("a")
    it.call("b")
    it.clock.advance(10.1)
    assert it.call("c") is None
    assert it.call("d") is None
    assert it.call("e") == "open"


def test_successes_and_what_says_nothing_leave_it_closed(it: It) -> None:
    for k in range(9):
        assert it.call(f"s{k}", "succeeded") is None
        assert it.call(f"n{k}", None) is None
    it.trip()


def test_a_trial_that_succeeds_closes_it(it: It) -> None:
    it.trip()
    it.clock.advance(5)
    assert it.call("trial", "succeeded") == "closed"
    assert it.call("x") is None, "and its failures are forgotten"
    assert it.call("y") is None


def test_a_trial_that_fails_opens_it_again(it: It) -> None:
    it.trip()
    it.clock.advance(5)
    assert it.call("trial") == "open"
    assert it.call("next") == 5.0


def test_no_more_try_at_a_time_than_may(it: It) -> None:
    it.trip()
    it.clock.advance(5)
    assert it.breakers.enter(it.circuit, "one") is None
    assert it.breakers.enter(it.circuit, "one") is None, "asking again is no second trial"
    it.clock.advance(1)
    assert it.breakers.enter(it.circuit, "two") == 4.0
    assert it.breakers.leave(it.circuit, "one", None) is None, "it says nothing"
    assert it.breakers.enter(it.circuit, "two") is None


def test_the_trial_of_a_dead_holder_does_not_count_for_ever(it: It) -> None:
    it.trip()
    it.clock.advance(5)
    assert it.breakers.enter(it.circuit, "dead") is None
    it.clock.advance(5.1)
    assert it.call("alive", "succeeded") == "closed"


def test_as_many_successes_as_trials_close_it(it: It) -> None:
    it.circuit = replace(API, trials=2)
    it.trip()
    it.clock.advance(5)
    assert it.call("a", "succeeded") is None
    assert it.call("b", "succeeded") == "closed"


def test_what_began_before_it_opened_says_nothing_about_it_now(it: It) -> None:
    assert it.breakers.enter(it.circuit, "slow") is None
    it.trip()
    assert it.breakers.leave(it.circuit, "slow", "succeeded") is None
    assert it.call("next") == 5.0
    it.clock.advance(5)
    assert it.breakers.leave(it.circuit, "slow", "failed") is None
    assert it.call("trial", "succeeded") == "closed"


def test_circuits_of_other_names_are_not_touched(it: It) -> None:
    it.trip()
    it.circuit = replace(API, name="other")
    assert it.call("a", "succeeded") is None


def test_nothing_is_kept_for_ever(it: It) -> None:
    it.trip()
    it.clock.advance(5)
    it.breakers.enter(it.circuit, "trial")
    it.circuit = replace(API, name="other")
    it.call("a")
    if it.client is not None:
        keys = it.client.keys("fc:*")
        assert keys
        assert all(it.client.pttl(key) > 0 for key in keys)


def test_a_circuit_opened_by_an_older_definition_is_open_no_longer_than_the_new_one_says(
    it: It,
) -> None:
    it.circuit = replace(API, reset_after=3600.0)
    it.trip()
    assert it.call("a") == pytest.approx(3600.0, abs=0.01)
    it.circuit = API
    assert it.call("a") == pytest.approx(5.0, abs=0.01)
    it.clock.advance(5.1)
    assert it.call("a", "succeeded") == "closed"
