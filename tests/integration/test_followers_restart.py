"""Followers of runs while Redis ends and is started again on its data: they go on to the end."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowcore import Run, Session
from flowcore.assembly.settings import Settings
from flowcore.client.sse import sse
from flowcore.run.event import EventType
from tests.integration.test_followers import TOKENS, Driver
from tests.integration.test_worker_outages import Restartable

pytestmark = pytest.mark.integration

RUNS = 40


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    made = Restartable(tmp_path_factory.mktemp("s", numbered=True))
    made.start()
    yield made
    made.stop()


def _ids(frames: bytes) -> list[int]:
    return [int(line[4:]) for line in frames.split(b"\n") if line.startswith(b"id: ")]


async def _followed(session: Session, run: str) -> tuple[list[int], list[str]]:
    """The ids that a stream gives, and the types, with SSE and an awaited handle beside it."""
    handle = Run(run, session=session)

    async def stream() -> tuple[list[int], list[str]]:
        events = [event async for event in handle.stream()]
        return [event.id for event in events], [event.type.value for event in events]

    async def frames() -> bytes:
        return b"".join([each async for each in sse(handle)])

    (ids, types), told, result = await asyncio.gather(stream(), frames(), handle)
    assert _ids(told) == ids
    assert result.success
    return ids, types


def _play(driver: Driver, runs: Sequence[str], server: Restartable, restarts: int) -> None:
    for number in range(1, TOKENS + 1):
        for run in runs:
            driver.say(run, number)
        if number <= restarts:
            server.stop()
            server.start()
    for run in runs:
        driver.end(run)


@pytest.mark.parametrize("restarts", [1, 3])
def test_followers_outlive_restarts_of_redis_and_miss_nothing(
    server: Restartable, tmp_path: Path, restarts: int
) -> None:
    environ = {"FLOWCORE_REDIS_URL": server.url, "FLOWCORE_HOME": str(tmp_path)}
    driver = Driver(server.url)
    driver.client.config_set("appendfsync", "always")
    runs = [f"run-{number}" for number in range(RUNS)]
    for run in runs:
        driver.begin(run)
    with Session(Settings.from_env(environ), environ=environ) as session:
        following = threading.Event()

        def wait(run: str) -> Any:
            return [event.id for event in Run(run, session=session).events()]

        async def follow() -> Any:
            following.set()
            return await asyncio.gather(*(_followed(session, run) for run in runs))

        with ThreadPoolExecutor(RUNS + 1) as threads:
            asked = [threads.submit(wait, run) for run in runs]
            streams = threads.submit(lambda: asyncio.run(follow()))
            assert following.wait(60)
            _play(driver, runs, server, restarts)
            found = streams.result(120)
            plain = [one.result(120) for one in asked]
    for (ids, types), also in zip(found, plain, strict=True):
        assert ids == list(range(1, len(ids) + 1)) == also
        assert types.count(EventType.NODE_TOKEN.value) == TOKENS
        assert types[-1] == "run.succeeded"
    driver.close()
