"""Adding a message goes on, whatever the function that summarises does."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from flowcore.engine.memory import summaries as summarising
from flowcore.engine.memory.thread import LARGEST, MemoryRules, ThreadMemory
from flowcore.errors import StoreUnreachableError
from flowcore.ports.memory import Written
from flowcore.stores.inmemory.memory import InMemoryMemory
from tests.engine import poll

HERE = "tests.unit.test_summarising"
Messages = Sequence[Mapping[str, Any]]

#: What the summariser does in a test.
behaves: list[Callable[[Messages, str | None], Any]] = []
freed = threading.Event()


def summarise(messages: Messages, summary: str | None) -> Any:
    return behaves[-1](messages, summary)


def joined(messages: Messages, summary: str | None) -> str:
    return (summary or "") + "".join(str(message["content"]) for message in messages)


async def _later(messages: Messages, summary: str | None) -> str:
    await asyncio.sleep(0)
    return joined(messages, summary)


async def _fails_later(messages: Messages, summary: str | None) -> str:
    await asyncio.sleep(0)
    raise RuntimeError("model down")


def _raises(error: BaseException | type[BaseException]) -> Callable[..., Any]:
    def raising(messages: Messages, summary: str | None) -> Any:
        raise error

    return raising


class _OddError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class _Base(BaseException):
    pass


def _hangs(messages: Messages, summary: str | None) -> str:
    freed.wait(30)
    return joined(messages, summary)


async def _hangs_later(messages: Messages, summary: str | None) -> str:
    while not freed.is_set():  # noqa: ASYNC110  (set by a thread that has no loop)
        await asyncio.sleep(0.01)
    return joined(messages, summary)


PAGE = "\n <!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
FAILS: Mapping[str, tuple[Callable[..., Any], str]] = {
    "raises": (_raises(RuntimeError("model down")), "RuntimeError: model down"),
    "raises later": (_fails_later, "RuntimeError: model down"),
    "raises without words": (_raises(_OddError()), "_OddError"),
    "raises half a surrogate pair": (_raises(ValueError("\ud800")), "ValueError"),
    "raises a megabyte": (_raises(ValueError("x" * 2**20)), "ValueError: xxx"),
    "exits": (lambda *_: sys.exit(3), "SystemExit: 3"),
    "is interrupted": (_raises(KeyboardInterrupt), "KeyboardInterrupt"),
    "raises the odd": (_raises(_Base("x")), "_Base: x"),
    "raises a group": (_raises(ExceptionGroup("g", [ValueError("x")])), "ExceptionGroup"),
    "gives nothing": (lambda *_: None, "gave None instead of text"),
    "gives an empty text": (lambda *_: "", "gave '' instead of text"),
    "gives blanks": (lambda *_: " \n\t", "instead of text"),
    "gives a number": (lambda *_: 7, "gave 7 instead of text"),
    "gives bytes": (lambda *_: b"text", "gave b'text' instead of text"),
    "gives a page": (lambda *_: PAGE, "gave a page of HTML instead of text"),
    "gives a page, too": (lambda *_: "<HTML lang=en>", "gave a page of HTML"),
    "gives too much": (lambda *_: "x" * (LARGEST + 1), "the limit is"),
    "takes no arguments": (lambda: "x", "TypeError"),
}


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(summarising, "_running", summarising._Running())
    behaves[:] = [joined]
    freed.clear()
    yield
    freed.set()
    poll(lambda: not summarising._running.tokens, what="the end of the summarisers")


def thread(store: Any = None, **more: Any) -> ThreadMemory:
    rules = MemoryRules(type="summary", summarise_after=4, summariser=f"{HERE}:summarise")
    return ThreadMemory(store=store or InMemoryMemory(), rules=rules, space="s", id="t", **more)


def contents(it: ThreadMemory) -> list[Any]:
    return [message["content"] for message in it.messages()]


@pytest.mark.parametrize("how", FAILS)
def test_adding_goes_on_and_says_why_there_is_no_summary(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    behaves[:], words = [FAILS[how][0]], FAILS[how][1]
    it = thread()
    with caplog.at_level(logging.WARNING):
        assert [it.add("user", letter) for letter in "abcdefgh"] == list(range(1, 9))
    assert contents(it) == list("abcdefgh"), "nothing is lost"
    (row,) = it.store.unsummarised()
    assert (row.name, row.messages, row.tries) == ("s/t", 8, 4)
    assert words in row.why
    assert len(row.why) < 400
    row.why.encode()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3, "the first, the second and the fourth try"
    assert told[0].startswith("thread s/t is not summarised yet, and nothing of it is lost (try 1)")
    assert words in told[0]
    behaves[:] = [joined]
    it.add("user", "i")
    assert contents(it) == ["abcdefg", "h", "i"], "made up for"
    assert it.store.unsummarised() == []


def test_a_summariser_that_is_not_there_is_told_of_like_one_that_fails() -> None:
    it = thread()
    it.rules = MemoryRules(type="summary", summarise_after=1, summariser="nowhere:at_all")
    for letter in "abc":
        it.add("user", letter)
    assert contents(it) == ["a", "b", "c"]
    assert "nowhere" in it.store.unsummarised()[0].why


@pytest.mark.parametrize("how", [_hangs, _hangs_later])
def test_a_summariser_that_hangs_is_not_waited_for_and_comes_in_the_end(
    how: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summarising, "WAIT", 0.05)
    behaves[:] = [how]
    it = thread()
    for letter in "abcdefgh":
        it.add("user", letter)
    assert contents(it) == list("abcdefgh")
    (row,) = it.store.unsummarised()
    assert (row.tries, row.why) == (1, ""), "one call is under way, and no second one"
    freed.set()
    poll(lambda: it.store.unsummarised() == [], what="the summary")
    assert "".join(contents(it)) == "abcdefgh"
    assert len(contents(it)) < 8


def test_at_most_so_many_summarisers_of_a_process_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarising, "WAIT", 0.001)
    behaves[:] = [_hangs]
    it = thread()
    for number in range(summarising.MOST_AT_ONCE + 5):
        for letter in "abcde":
            it.thread(f"t{number}").add("user", letter)
    assert len(it.store.unsummarised()) == summarising.MOST_AT_ONCE
    assert contents(it.thread(f"t{number}")) == list("abcde")


def test_what_was_slow_to_fail_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarising, "_QUICK", -1.0)
    calls: list[int] = []

    def fails(messages: Messages, summary: str | None) -> str:
        calls.append(len(messages))
        now[0] += 0.001
        raise RuntimeError("slow")

    now = [100.0]
    behaves[:] = [fails]
    monkeypatch.setattr(summarising, "_PATIENCE", 1e9)  # times what it took: the longest pause
    it = thread(InMemoryMemory(clock=lambda: now[0]))
    for letter in "abcdefgh":
        it.add("user", letter)
    assert len(calls) == 1
    now[0] += summarising._LONGEST_PAUSE + 1
    behaves[:] = [joined]
    it.add("user", "i")
    assert contents(it) == ["abcdefg", "h", "i"]


def test_a_long_backlog_is_made_up_for_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def sized(messages: Messages, summary: str | None) -> str:
        sizes.append(len(messages))
        return joined(messages, summary)

    behaves[:] = [_raises(RuntimeError("down"))]
    it = thread()
    it.extend([{"role": "user", "content": "x"}] * 350)
    behaves[:] = [sized]
    it.add("user", "x")
    assert sizes == [100, 100, 100, 49]
    assert contents(it) == ["x" * 349, "x", "x"]


def test_a_part_that_was_summarised_stays_so_when_the_next_one_fails() -> None:
    behaves[:] = [_raises(RuntimeError("down"))]
    it = thread()
    it.extend([{"role": "user", "content": "x"}] * 150)

    def once(messages: Messages, summary: str | None) -> str:
        behaves[:] = [_raises(RuntimeError("again"))]
        return joined(messages, summary)

    behaves[:] = [once]
    it.add("user", "x")
    assert contents(it)[0] == "x" * 100
    assert "".join(contents(it)) == "x" * 151
    assert [(row.tries, row.why) for row in it.store.unsummarised()] == [
        (1, "RuntimeError: again")
    ]  # fmt: skip


def test_two_writers_at_once_lose_nothing_and_pay_for_one_summary() -> None:
    calls: list[int] = []
    both = threading.Barrier(2, timeout=20)

    def slow(messages: Messages, summary: str | None) -> str:
        calls.append(len(messages))
        both.wait()  # until the other writer has come by
        return joined(messages, summary)

    behaves[:] = [slow]
    it = thread()
    for letter in "abcd":
        it.add("user", letter)
    writer = threading.Thread(target=it.add, args=("user", "e"))
    writer.start()
    poll(lambda: calls == [3], what="the first writer's summariser")
    it.add("user", "f")
    both.wait()
    writer.join(20)
    assert calls == [3]
    assert contents(it) == ["abc", "d", "e", "f"]


def test_a_thread_cleared_meanwhile_gets_no_summary_of_what_was_forgotten() -> None:
    it = thread()

    def clears(messages: Messages, summary: str | None) -> str:
        it.clear()
        it.extend([{"role": "user", "content": letter} for letter in "xy"])
        return "secret"

    behaves[:] = [clears]
    for letter in "abcde":
        it.add("user", letter)
    assert contents(it) == ["x", "y"]


class _Unreachable(InMemoryMemory):
    """Takes messages, and then is away."""

    def claim(self, thread: str, token: str, seconds: float) -> int:
        raise StoreUnreachableError("away")

    def drop(self, thread: str, upto: int) -> None:
        raise StoreUnreachableError("away")


def test_a_store_that_goes_away_after_a_message_is_kept_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = thread(_Unreachable())
    for letter in "abcdef":
        it.add("user", letter)
    it._keep_bounds(Written(last=6, messages=20_000, size=1))
    assert contents(it) == list("abcdef")


def test_secrets_are_neither_in_a_summary_nor_in_its_error() -> None:
    def hide(value: Any, *, what: str) -> Any:
        return value.replace("canary", "***") if isinstance(value, str) else value

    it = thread(hide=hide)
    behaves[:] = [lambda *_: "a canary sings"]
    for letter in "abcde":
        it.add("user", letter)
    assert contents(it)[0] == "a *** sings"
    behaves[:] = [_raises(RuntimeError("canary"))]
    for letter in "fghi":
        it.add("user", letter)
    assert it.store.unsummarised()[0].why == "RuntimeError: ***"
