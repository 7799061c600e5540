"""Failures of random text and of exceptions that misbehave: always recorded, always bounded."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

import flowcore.engine
from flowcore.celery.attempt_end import record_end, record_unfinished
from flowcore.engine.values import failure
from flowcore.engine.values.event_limits import MOST_MESSAGE, MOST_TRACEBACK
from flowcore.engine.values.failure import describe
from flowcore.errors import StoreUnreachableError
from flowcore.ports.store import Outcome
from flowcore.run.record import Failure
from flowcore.run.text import to_utf8
from tests.deep import count
from tests.integration.modules.odd_nodes import ERRORS

ALPHABET = "ab \x00\x1b\x9b\u202e\ud800\udfff\udcff\U0001f600\n\t\u2028é"


def _texts(many: int) -> list[str]:
    dice = random.Random(8)
    return ["".join(dice.choices(ALPHABET, k=dice.randrange(60))) for _ in range(many)]


def _raise(error: BaseException) -> None:
    raise error


def _raised(make: Callable[[], BaseException]) -> Failure:
    with pytest.raises(BaseException) as caught:  # noqa: PT011  (whatever it is)
        _raise(make())
    return describe(caught.value, node="n", attempt=1, worker="w")


def _storable(failure: Failure) -> None:
    told = failure.as_dict()
    msgpack.packb(told)
    json.dumps(told).encode()
    assert len(failure.message) < MOST_MESSAGE + 100
    assert len(failure.traceback or "") < MOST_TRACEBACK + 200


def test_text_becomes_utf8_and_stays_what_it_was_if_it_is() -> None:
    for text in _texts(count(2000, 50_000)):
        made = to_utf8(text)
        made.encode()
        if made != text:
            with pytest.raises(UnicodeEncodeError):
                text.encode()
    assert to_utf8("\ud83d\ude00") == "\U0001f600"
    assert to_utf8("a\udcffb") == "a\N{REPLACEMENT CHARACTER}b"


def test_an_error_of_random_text_can_be_stored() -> None:
    for text in _texts(count(300, 10_000)):
        error = ValueError(text)
        error.add_note(text)
        failure = _raised(lambda error=error: error)  # type: ignore[misc]
        _storable(failure)
        assert failure.message == to_utf8(text)
        assert failure.type == "ValueError"


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_that_misbehaves_can_be_stored(kind: str) -> None:
    began = time.monotonic()
    failure = _raised(ERRORS[kind])
    _storable(failure)
    assert type(ERRORS[kind]()).__qualname__ in failure.type
    assert time.monotonic() - began < 60


def test_the_words_of_ordinary_errors_are_asked_without_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(*_: Any, **__: Any) -> Any:
        pytest.fail("a thread for each failure costs too much")

    monkeypatch.setattr("flowcore.engine.values.failure.threading.Thread", no_thread)
    assert _raised(lambda: KeyError("k")).message == "'k'"
    assert "No such file" in _raised(lambda: FileNotFoundError(2, "No such file", "x")).message
    assert _raised(lambda: ZeroDivisionError("by zero")).message == "by zero"


# ── The end of an attempt ───────────────────────────────────────────────────────────────────────


class Host:
    """A host whose store stumbles as often as it is told."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.recorded: list[Outcome] = []

    def record(self, attempt: Any, *, worker: str) -> Any:
        assert worker
        if self.troubles:
            raise self.troubles.pop(0)
        self.recorded.append(attempt.outcome)
        return SimpleNamespace(accepted=True)

    def record_and_go_on(self, attempt: Any, *, worker: str, queue: str) -> None:
        assert queue
        self.record(attempt, worker=worker)


def _attempt() -> Any:
    from flowcore.engine.attempts.attempt import AttemptResult

    plan: Any = SimpleNamespace(ids=["n"])
    ticket: Any = SimpleNamespace(run="r", node=0, attempt=1)
    done = Outcome(kind="succeeded", output=b"\xc0")
    upstream: Any = None
    return AttemptResult(ticket=ticket, plan=plan, outcome=done, upstream=upstream)


def test_what_the_engine_stumbles_over_is_recorded_as_its_own_failure() -> None:
    host: Any = Host(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"))
    record_end(host, _attempt(), worker="w", queue="q")
    (outcome,) = host.recorded
    assert outcome.kind == "failed"
    assert outcome.failure.code == "FC518"
    assert "a bug in flowcore" in outcome.failure.message


@pytest.mark.parametrize("trouble", [RuntimeError("x"), StoreUnreachableError("away")])
def test_nothing_is_raised_into_celery_once_the_function_has_ended(trouble: Exception) -> None:
    for times in (1, 2):
        host: Any = Host(*[trouble] * times)
        record_end(host, _attempt(), worker="w", queue="q")
        host = Host(*[trouble] * times)
        assert record_unfinished(host, _attempt(), worker="w") is False


def test_the_places_that_tracebacks_leave_out_are_there() -> None:
    assert all(Path(place).exists() for place in failure._OURS)
    assert Path(failure._OURS[0]) == Path(str(flowcore.engine.__file__)).parent
