"""Readers of a run's events: where they begin, and that each of them ends."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flowcore import Run
from flowcore.cli.main import main
from flowcore.client.sse import open_sse, sse
from flowcore.errors import RunNotFoundError, UsageError
from tests.engine import Engine

pytestmark = pytest.mark.integration

#: Ids behind the last event of any run of this page.
FUTURE = (999, 2**40, 2**62)


async def _all(source: Any) -> list[Any]:
    return [each async for each in source]


def _bounded(source: Any) -> list[Any]:
    """All that an async reader gives; a reader that hangs fails the test."""

    async def read() -> list[Any]:
        async with asyncio.timeout(30):
            return await _all(source)

    return asyncio.run(read())


def _followed(run: Run, after: int) -> list[Any]:
    run.follow(DEAF, after=after)
    return []


class _Deaf:
    def on_run_end(self, event: Any) -> None:
        """Hear nothing of it."""


DEAF = _Deaf()


READERS: dict[str, Callable[[Run, int], list[Any]]] = {
    "events": lambda run, after: list(run.events(after=after)),
    "stream": lambda run, after: _bounded(run.stream(after=after)),
    "tokens": lambda run, after: _bounded(run.tokens(after=after)),
    "pages": lambda run, after: _bounded(run.pages(after=after)),
    "sse": lambda run, after: _bounded(sse(run, last_event_id=after)),
    "sse header": lambda run, after: _bounded(sse(run, last_event_id=str(after))),
    "follow": _followed,
}  # fmt: skip


@pytest.fixture(scope="module")
def ended(engine: Engine) -> Run:
    run = engine.start({"a": {"uses": "engine_nodes:speak"}})
    run.wait(timeout=60)
    return run


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_at_or_behind_the_last_event_of_an_ended_run_is_at_its_end(
    ended: Run, reader: str
) -> None:
    last = list(ended.events())[-1].id
    for after in (last, last + 1, *FUTURE):
        assert READERS[reader](ended, after) == []


def test_the_helper_for_browsers_says_that_nothing_follows(ended: Run) -> None:
    last = list(ended.events())[-1].id
    over: list[str | int] = [last, last + 1, str(last), *map(str, FUTURE)]
    for header in over:
        assert asyncio.run(open_sse(ended, last_event_id=header)) is None, "answer 204"
    begun: list[str | int | None] = [None, "", 0, "0", last - 1]
    for seen in begun:
        opened = asyncio.run(open_sse(ended, last_event_id=seen))
        assert opened is not None
        assert _bounded(opened) == _bounded(sse(ended, last_event_id=seen)) != []


@pytest.mark.parametrize(
    "seen",
    ["x", "-1", "+1", "1_000", " 1", "1.0", "\u0661", "9" * 5000, str(2**64), -1, 2**63, True],
    ids=lambda seen: ascii(seen)[:20],
)  # fmt: skip
def test_what_is_no_event_s_id_is_refused(ended: Run, seen: Any) -> None:
    with pytest.raises(UsageError, match=r"event"):
        _bounded(sse(ended, last_event_id=seen))
    with pytest.raises(UsageError, match=r"event"):
        asyncio.run(open_sse(ended, last_event_id=seen))
    if not isinstance(seen, str):
        for reader in ("events", "stream", "tokens", "pages", "follow"):
            with pytest.raises(UsageError, match="a run's events are numbered"):
                READERS[reader](ended, seen)


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_run_that_is_not_there(engine: Engine, reader: str) -> None:
    for run in ("nobody", "no/bo|dy", "\N{SNOWMAN}" * 50):
        for after in (0, 7):
            with pytest.raises(RunNotFoundError):
                READERS[reader](Run(run, session=engine.session), after)


def test_a_run_that_goes_on_has_no_future_events_to_begin_at(engine: Engine, ended: Run) -> None:
    run = engine.start({"gate": {"uses": "signal", "with": {"name": "go"}}})
    of_another = 500 + len(list(ended.events()))
    for after in (of_another, *FUTURE):
        for read in READERS.values():
            with pytest.raises(UsageError, match=rf"has no event {after} yet: its latest is \d+"):
                read(run, after)
    run.cancel()
    run.wait(timeout=60)
    for read in READERS.values():
        assert read(run, of_another) == []


def test_a_reader_goes_on_with_a_run_that_was_resumed_and_ends_with_it(engine: Engine) -> None:
    run = engine.start({"gate": {"uses": "signal", "with": {"name": "go"}}})
    run.cancel()
    run.wait(timeout=60)
    last = list(run.events())[-1].id
    run.resume()
    run.signal("go", by="me")
    rest = list(run.events(after=last))
    assert (rest[0].type.value, rest[-1].type.value) == ("run.resumed", "run.succeeded")
    assert _bounded(run.stream(after=last)) == rest


def test_a_reader_of_a_run_that_is_removed_is_told_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcore.client.hub._LOOK_EVERY", 0.1)
    run = engine.start({"gate": {"uses": "signal", "with": {"name": "go"}}})
    pages = iter(run.events())
    seen = next(pages)
    assert seen.id == 1
    client: Any = engine.session.runtime.store.client
    client.delete(*client.keys(f"fc:{{{run.id}}}:*"))
    with pytest.raises(RunNotFoundError):
        list(pages)


@pytest.mark.parametrize("words", [("watch",), ("logs", "-f"), ("logs", "-f", "-o", "jsonl")])
def test_commands_end_for_an_ended_run_and_for_an_unknown_one(
    engine: Engine,
    ended: Run,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    assert main([words[0], ended.id, *words[1:]]) == 0
    assert main([words[0], "nobody", *words[1:]]) == 3
    assert "nobody" in capsys.readouterr().err
