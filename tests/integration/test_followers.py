"""Thousands of followers in one process share a few connections to Redis."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore import Run, Session
from flowcore.assembly.settings import Settings
from flowcore.client import hub
from flowcore.client.sse import sse
from flowcore.errors import RunNotFoundError, ServiceError, StoreUnreachableError, WaitTimeoutError
from flowcore.ports.store import AttemptRef, NewRun, Outcome
from flowcore.run.event import EventType
from flowcore.run.node_event import Note
from flowcore.run.wire import pack
from flowcore.stores.redis.connection.placement import home_of, server_name
from flowcore.stores.redis.connection.pools import BoundedPool, PoolExhaustedError
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.store import RedisStore
from tests.contract.harness import make_plan
from tests.engine import poll
from tests.services import running_valkey

pytestmark = pytest.mark.integration

PLAN = make_plan([[]])

#: Followers of one process.
MANY = 2000
TOKENS = 3
DRIVER = "driver"


class Driver:
    """Begins, continues and ends runs on a server, on connections of its own."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url, client_name=DRIVER)
        self._store = RedisStore(self.client, leases=Leases())
        self._events = RedisEventLog(self.client, self.client, plans=self._store)
        self._store.put_plan(PLAN)

    def begin(self, run: str) -> None:
        self._store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80"), PLAN)
        self._store.claim(AttemptRef(run=run, node=0, attempt=1), worker="w")

    def say(self, run: str, number: int) -> None:
        note = Note(type=EventType.NODE_TOKEN, packed=pack({"text": f"{run}:{number}"}))
        ticket = AttemptRef(run=run, node=0, attempt=1)
        assert self._events.append(ticket, [note], number=number).value == "heard"

    def end(self, run: str) -> None:
        outcome = Outcome(kind="succeeded", output=b"\x01")
        assert self._store.settle(AttemptRef(run=run, node=0, attempt=1), outcome).accepted

    def play(self, runs: Sequence[str]) -> None:
        for number in range(1, TOKENS + 1):
            for run in runs:
                self.say(run, number)
        for run in runs:
            self.end(run)

    def connections(self) -> int:
        """How many connections the followers have."""
        return sum(each["name"] != DRIVER for each in self.client.client_list())

    def cut(self) -> None:
        """Break the connections of all followers."""
        for each in self.client.client_list():
            if each["name"] != DRIVER:
                self.client.client_kill_filter(_id=each["id"])

    def close(self) -> None:
        self.client.close()


def _session(home: Path, *urls: str) -> Session:
    environ = {"FLOWCORE_REDIS_URL": ",".join(urls), "FLOWCORE_HOME": str(home)}
    return Session(Settings.from_env(environ), environ=environ)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_valkey() as url:
        yield url


@pytest.fixture
def driver(url: str) -> Iterator[Driver]:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    with closing(Driver(url)) as driver:
        yield driver


@pytest.fixture
def session(url: str, tmp_path: Path) -> Iterator[Session]:
    with _session(tmp_path, url) as session:
        yield session


def _tokens(run: str) -> list[str]:
    return [f"{run}:{number}" for number in range(1, TOKENS + 1)]


async def _stream(session: Session, run: str) -> list[str]:
    events = [event async for event in Run(run, session=session).stream()]
    assert [event.id for event in events] == list(range(1, len(events) + 1)), run
    assert events[-1].type is EventType.RUN_SUCCEEDED
    return [event.data["text"] for event in events if event.type is EventType.NODE_TOKEN]


def _followed(
    driver: Driver, runs: Sequence[str], follow: Callable[[str], Any], most: int
) -> list[Any]:
    """What each run's follower gives, while the runs go on; at most so many connections."""
    counted: list[int] = []

    async def gather() -> list[Any]:
        with ThreadPoolExecutor(1) as threads:

            def play() -> None:
                for first in range(0, len(runs), 50):
                    driver.play(runs[first : first + 50])
                    counted.append(driver.connections())

            async def begin() -> None:
                await asyncio.get_running_loop().run_in_executor(threads, play)

            async with asyncio.timeout(120):
                *found, _ = await asyncio.gather(*map(follow, runs), begin())
            return found

    found = asyncio.run(gather())
    assert max(counted) <= most, counted
    return found


def test_two_thousand_streams_are_each_complete_on_at_most_four_connections(
    driver: Driver, session: Session
) -> None:
    runs = [f"run-{number}" for number in range(MANY)]
    for run in runs:
        driver.begin(run)
    found = _followed(driver, runs, lambda run: _stream(session, run), most=4)
    assert found == [_tokens(run) for run in runs]


def test_streams_sse_tokens_and_results_are_followed_together(
    driver: Driver, session: Session
) -> None:
    runs = [f"run-{number}" for number in range(200)]
    for run in runs:
        driver.begin(run)

    async def follow(run: str) -> Any:
        handle = Run(run, session=session)
        pieces, tokens, result = await asyncio.gather(
            _joined(sse(handle)), _all(handle.tokens()), handle
        )
        assert pieces.count(b"node.token") >= TOKENS
        assert result.success
        return tokens

    # The results are read by threads, which share the connections of the pool.
    found = _followed(driver, runs, follow, most=3 + 64)
    assert found == [_tokens(run) for run in runs]


async def _all(source: Any) -> list[Any]:
    return [each async for each in source]


async def _joined(source: Any) -> bytes:
    return b"".join(await _all(source))


def test_many_threads_follow_and_wait(driver: Driver, session: Session) -> None:
    """The 101st follower was told that Redis has too many connections."""
    runs = [f"run-{number}" for number in range(150)]
    for run in runs:
        driver.begin(run)

    def follow(run: str) -> tuple[list[str], bool]:
        handle = Run(run, session=session)
        texts = [event.data["text"] for event in handle.events(types=["node.token"])]
        return texts, handle.wait(60).success

    with ThreadPoolExecutor(len(runs)) as threads:
        asked = [threads.submit(follow, run) for run in runs]
        driver.play(runs)
        assert [one.result(60) for one in asked] == [(_tokens(run), True) for run in runs]


def test_a_slow_follower_holds_up_no_other_and_misses_nothing(
    driver: Driver, session: Session
) -> None:
    for run in ("slow", "fast"):
        driver.begin(run)

    async def follow() -> None:
        slow = Run("slow", session=session).stream()
        seen = [await anext(slow)]
        with ThreadPoolExecutor(1) as threads:
            play = asyncio.get_running_loop().run_in_executor
            await play(threads, driver.play, ["slow", "fast"])
            assert await _stream(session, "fast") == _tokens("fast")
        seen += await _all(slow)
        assert [event.id for event in seen] == list(range(1, len(seen) + 1))

    asyncio.run(follow())


def test_followers_leave_neither_threads_nor_connections(
    driver: Driver, url: str, tmp_path: Path
) -> None:
    before, connections = set(threading.enumerate()), driver.connections()
    driver.begin("run")
    with _session(tmp_path, url) as session:
        pages = Run("run", session=session).read_pages()
        assert next(pages)
        driver.play(["run"])
        list(pages)
    ours = [
        each
        for each in set(threading.enumerate()) - before
        if each.name.startswith(("flowcore-follow", "flowcore-look"))
    ]
    poll(lambda: not any(each.is_alive() for each in ours), what="the threads to end")
    session.runtime.store.client.close()
    poll(lambda: driver.connections() <= connections, what="the connections to be closed")


def test_a_follower_that_gives_up_is_forgotten(driver: Driver, session: Session) -> None:
    driver.begin("run")

    async def give_up() -> None:
        async with asyncio.timeout(0.1):
            await _stream(session, "run")

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    with pytest.raises(WaitTimeoutError):
        Run("run", session=session).wait(0.05)
    (lane,) = hub.hub_of(session)._lanes
    poll(lambda: not lane._lively and not lane._quiet, what="nothing to be wished for")
    driver.play(["run"])
    assert Run("run", session=session).wait(60).success


def test_followers_go_on_when_connections_break(driver: Driver, session: Session) -> None:
    runs = [f"run-{number}" for number in range(20)]
    for run in runs:
        driver.begin(run)

    def play() -> None:
        for number in range(1, TOKENS + 1):
            for run in runs:
                driver.say(run, number)
            driver.cut()
        for run in runs:
            driver.end(run)

    async def follow() -> list[list[str]]:
        streams = [asyncio.ensure_future(_stream(session, run)) for run in runs]
        await asyncio.get_running_loop().run_in_executor(None, play)
        async with asyncio.timeout(60):
            return await asyncio.gather(*streams)

    assert asyncio.run(follow()) == [_tokens(run) for run in runs]


def test_a_log_that_cannot_be_read_is_told_to_its_own_followers(
    driver: Driver, session: Session
) -> None:
    for run in ("bad", "fine"):
        driver.begin(run)
    bad, fine = (Run(run, session=session).read_pages() for run in ("bad", "fine"))
    assert next(bad)
    assert next(fine)
    driver.client.delete("fc:{bad}:ev")
    driver.client.set("fc:{bad}:ev", "x")
    with pytest.raises(ServiceError, match="WRONGTYPE"):
        list(bad)
    driver.play(["fine"])
    assert list(fine)[-1][-1].type is EventType.RUN_SUCCEEDED


def test_a_quiet_run_that_is_removed_is_noticed(
    driver: Driver, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_LOOK_EVERY", 0.1)
    driver.begin("gone")
    pages = Run("gone", session=session).read_pages()
    assert next(pages)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(Run("gone", session=session).wait, 60)
        driver.client.flushall()
        with pytest.raises(RunNotFoundError):
            list(pages)
        with pytest.raises(RunNotFoundError):
            waiting.result(60)


def test_a_user_who_may_not_end_the_reads_of_others_follows_too(
    driver: Driver, url: str, tmp_path: Path
) -> None:
    driver.client.acl_setuser(
        "limited", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"],
        commands=["+@all", "-client|unblock", "-client|id"],
    )  # fmt: skip
    limited = url.replace("unix://", "unix://limited:secret@")
    for run in ("first", "second"):
        driver.begin(run)
    with _session(tmp_path, limited) as session:
        first, second = (Run(run, session=session).read_pages() for run in ("first", "second"))
        assert next(first)
        assert next(second)
        driver.play(["second", "first"])
        for pages in (second, first):
            assert list(pages)[-1][-1].type is EventType.RUN_SUCCEEDED


def test_followers_of_a_server_that_stays_away_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.5)
    with running_valkey() as url, closing(Driver(url)) as driver:
        driver.begin("run")
        with _session(tmp_path, url) as session:
            pages = Run("run", session=session).read_pages()
            assert next(pages)
            driver.client.shutdown(nosave=True)
            with pytest.raises(StoreUnreachableError, match="cannot reach Redis"):
                list(pages)


def test_runs_of_several_servers_are_followed_by_one_process(
    url: str, driver: Driver, tmp_path: Path
) -> None:
    with running_valkey() as other, closing(Driver(other)) as second:
        names = [server_name(url), server_name(other)]
        runs = [f"run-{number}" for number in range(60)]
        drivers = {run: (driver, second)[home_of(run, names)] for run in runs}
        assert len(set(drivers.values())) == 2
        for run in runs:
            drivers[run].begin(run)
        with _session(tmp_path, url, other) as session:

            async def follow() -> list[list[str]]:
                streams = [asyncio.ensure_future(_stream(session, run)) for run in runs]
                loop = asyncio.get_running_loop()
                for run in runs:
                    await loop.run_in_executor(None, drivers[run].play, [run])
                async with asyncio.timeout(60):
                    return await asyncio.gather(*streams)

            assert asyncio.run(follow()) == [_tokens(run) for run in runs]


def test_a_pool_that_is_used_up_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcore.stores.redis.connection.pools._PATIENCE", 0.05)
    pool = BoundedPool.from_url(url, max_connections=1)
    held = pool.get_connection()
    with pytest.raises(PoolExhaustedError, match="connections of this process have been in use"):
        pool.get_connection()
    pool.release(held)
    pool.release(pool.get_connection())
    pool.disconnect()
