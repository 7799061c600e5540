"""Advice about another attempt, whichever error carries it, and what is made of it."""

import random
from functools import partial

from flowcore.engine.policies.retry import next_delay
from flowcore.errors import AnswerError, HttpStatusError
from flowcore.errors.advice import RetryAdvice, advice_of, advise
from flowcore.graph.policy import Retry
from flowcore.testing import Flows
from tests.deep import count


class OddError(Exception):
    """An exception that answers any question with another one."""

    is_final = True
    retry_after = 5.0

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


def test_advice_is_that_of_flowcore_alone() -> None:
    assert advice_of(OddError()) == RetryAdvice()
    assert advice_of(HttpStatusError("x", again=False)) == RetryAdvice(final=True)
    assert advice_of(HttpStatusError("x", after=5.0)) == RetryAdvice(after=5.0)
    assert advice_of(AnswerError("x", again=False)) == RetryAdvice(final=True)
    error = OSError("x")
    advise(error, final=True, after=1.5)
    assert advice_of(error) == RetryAdvice(final=True, after=1.5)
    assert advice_of(OSError("x")) == RetryAdvice()


def test_no_attempt_comes_sooner_than_asked_nor_later_than_the_policy_allows() -> None:
    dice = random.Random(3)
    for _ in range(count(2000, 50_000)):
        delay = dice.choice([0.0, 0.1, 1.0, 30.0])
        most = dice.choice([delay, delay + 5, 60.0])
        policy = Retry(
            max_attempts=9,
            delay=delay,
            max_delay=max(most, delay),
            backoff=dice.choice(["fixed", "linear", "exponential"]),
            jitter=dice.random() < 0.5,
        )
        failures = dice.randrange(1, 9)
        after = dice.choice([None, 0.0, 0.5, 3.0, 59.0, 10.0**12])
        draw = dice.random()
        names = frozenset({"X"})
        plain = next_delay(policy, failures=failures, names=names, random=partial(float, draw))
        found = next_delay(
            policy, failures=failures, names=names, random=partial(float, draw), after=after
        )
        assert plain is not None
        assert found is not None
        assert found <= policy.max_delay
        assert found >= plain
        if after is not None:
            assert found >= min(after, policy.max_delay)
            assert found <= max(plain, after * 1.1)


def busy() -> None:
    """Fail as a node that was sent away for 30 s."""
    raise HttpStatusError("busy", after=30.0)


def test_a_function_of_ones_own_may_say_how_long_to_wait() -> None:
    node = {"uses": f"{__name__}:busy", "retry": {"max_attempts": 2, "delay": "1s"}}
    flows = Flows()
    test = flows.start({"id": "busy", "nodes": {"busy": node}}, {})
    flows.run_out()
    began = [one.time for one in test.events if one.type.value == "node.started"]
    assert 30 <= began[1] - began[0] <= 33.1
