"""Followers whose clients, logs, runs and connections go away under them."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any

import pytest

from flowcore import Run, Session
from flowcore.client import hub
from flowcore.client.sse import open_sse, sse
from flowcore.errors import FlowcoreError, RunNotFoundError, ServiceError, UsageError
from tests.deep import count
from tests.engine import poll
from tests.forked import in_child
from tests.integration.test_followers import Driver, driver, session, url

__all__ = ["driver", "session", "url"]

pytestmark = pytest.mark.integration


ODD = [
    *("-1", "+1", " 1", "1 ", "1_0", "٣", "1.0", "1e3", "0x1", "abc", "9" * 20, "9" * 10_000),
    *("\x00", "1\n2", "1,2", "NaN", "-0", "\ud83d"),
]


async def _ids(run: Run) -> list[int]:
    return [event.id async for event in run.stream()]


def test_clients_that_vanish_leave_nothing_behind(driver: Driver, session: Session) -> None:
    """A browser closes its page in the middle of an answer, thousands of times."""
    runs = [f"run-{number}" for number in range(20)]
    for run in runs:
        driver.begin(run)
    dice = random.Random(41)

    async def visit(run: str) -> None:
        async with aclosing(sse(Run(run, session=session))) as frames:  # type: ignore[type-var]
            async for _ in frames:
                if dice.random() < 0.5:
                    return

    async def hurry(run: str) -> None:
        task = asyncio.create_task(visit(run))
        await asyncio.sleep(dice.random() * 0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def crowd() -> None:
        for _ in range(count(4, 40)):
            await asyncio.gather(*(hurry(dice.choice(runs)) for _ in range(500)))
            driver.say(runs[0], 1)

    asyncio.run(crowd())
    lanes = hub.hub_of(session)._lanes
    poll(lambda: not any(lane._lively or lane._quiet for lane in lanes), what="no wish to be left")
    assert driver.connections() <= 4
    driver.play(runs[1:])
    assert asyncio.run(_ids(Run(runs[1], session=session)))[-1] > 3


@pytest.mark.parametrize("odd", ODD)
def test_an_id_that_is_no_number_of_an_event_is_refused(
    driver: Driver, session: Session, odd: str
) -> None:
    driver.begin("run")
    with pytest.raises(UsageError):
        asyncio.run(open_sse(Run("run", session=session), last_event_id=odd))


@pytest.mark.parametrize("large", [2**63 - 1, 2**63, 10**18, "9" * 19])
def test_an_id_behind_all_events_never_breaks_the_server_s_numbers(
    driver: Driver, session: Session, large: int | str
) -> None:
    driver.begin("open")
    driver.begin("ended")
    driver.end("ended")
    with suppress(UsageError):  # more than an id can be
        assert asyncio.run(open_sse(Run("ended", session=session), last_event_id=large)) is None
    with pytest.raises(UsageError):
        asyncio.run(open_sse(Run("open", session=session), last_event_id=large))


def test_a_log_that_was_trimmed_or_lost_is_followed_to_the_end(
    driver: Driver, session: Session
) -> None:
    runs = ["trimmed", "emptied"]
    for run in runs:
        driver.begin(run)
        driver.say(run, 1)

    async def follow() -> list[list[int]]:
        asked = [asyncio.create_task(_ids(Run(run, session=session))) for run in runs]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(spoil)
        async with asyncio.timeout(60):
            return await asyncio.gather(*asked)

    def spoil() -> None:
        driver.client.xtrim("fc:{trimmed}:ev", maxlen=1)
        driver.client.xtrim("fc:{emptied}:ev", maxlen=0)
        for run in runs:
            driver.say(run, 2)
            driver.end(run)

    for ids in asyncio.run(follow()):
        assert ids == sorted(set(ids))
        assert len(ids) >= 2


def test_a_run_that_is_removed_while_it_is_followed_is_said_to_be_gone(
    driver: Driver, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_LOOK_EVERY", 0.5)
    runs = [f"run-{number}" for number in range(30)]
    for run in runs:
        driver.begin(run)

    async def follow(run: str) -> Any:
        try:
            return await _ids(Run(run, session=session))
        except FlowcoreError as error:
            return type(error)

    async def all_of() -> Any:
        asked = [asyncio.create_task(follow(run)) for run in runs]
        await asyncio.sleep(0.3)
        for run in runs[:15]:
            keys = await asyncio.to_thread(driver.client.keys, f"fc:{{{run}}}:*")
            await asyncio.to_thread(driver.client.delete, *keys)
        await asyncio.to_thread(driver.play, runs[15:])
        async with asyncio.timeout(60):
            return await asyncio.gather(*asked)

    found = asyncio.run(all_of())
    assert set(map(str, found[:15])) == {str(RunNotFoundError)}
    assert all(isinstance(one, list) for one in found[15:])


def test_entries_of_a_log_that_are_garbage_break_only_their_own_run(
    driver: Driver, session: Session
) -> None:
    entries: list[dict[bytes, bytes]] = [
        {b"x": b"y"},
        {b"t": b"batch", b"ts": b"1", b"d": b"\xc1"},
        {b"t": b"nonsense", b"ts": b"1", b"a": b"1", b"n": b"0", b"d": b""},
        {b"t": b"notes", b"ts": b"soon", b"a": b"1", b"n": b"99", b"d": b""},
    ]
    bad = [f"bad-{number}" for number in range(len(entries))]
    for run in (*bad, "fine"):
        driver.begin(run)

    async def follow(run: str) -> Any:
        try:
            return await _ids(Run(run, session=session))
        except Exception as error:  # noqa: BLE001  (it is looked at)
            return error

    async def all_of() -> Any:
        asked = [asyncio.create_task(follow(run)) for run in (*bad, "fine")]
        await asyncio.sleep(0.2)
        for run, entry in zip(bad, entries, strict=True):
            await asyncio.to_thread(driver.client.xadd, f"fc:{{{run}}}:ev", entry, "0-1000")
        await asyncio.to_thread(driver.play, ["fine"])
        async with asyncio.timeout(60):
            return await asyncio.gather(*asked)

    *odd, fine = asyncio.run(all_of())
    assert isinstance(fine, list)
    assert [type(one) for one in odd] == [ServiceError] * len(bad), odd


def test_two_processes_follow_many_runs_each_while_connections_are_cut(
    driver: Driver, session: Session
) -> None:
    runs = [f"run-{number}" for number in range(count(200, 1000))]
    for run in runs:
        driver.begin(run)

    async def follow_all() -> int:
        async with asyncio.timeout(120):
            found = await asyncio.gather(*(_ids(Run(run, session=session)) for run in runs))
        assert all(ids == list(range(1, len(ids) + 1)) for ids in found)
        return len(found)

    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(in_child, lambda: asyncio.run(follow_all())) for _ in range(2)]
        poll(lambda: driver.connections() >= 2, what="the followers")
        for first in range(0, len(runs), 50):
            driver.play(runs[first : first + 50])
            driver.cut()
        assert [one.result(120) for one in asked] == [len(runs)] * 2
