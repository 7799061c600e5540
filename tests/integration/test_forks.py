"""The Python surface in forked children of a process that has used all of it.

That is what gunicorn --preload, os.fork and multiprocessing make.
"""

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow, Run
from flowcore.client.sse import sse
from flowcore.forks import PerProcess, renew_after_fork
from flowcore.run.reference import Reference
from flowcore.stores.files import FilePayloads
from flowcore.stores.objects import ObjectPayloads
from tests.engine import Engine
from tests.forked import in_child
from tests.integration.conftest import MakeEngine
from tests.surface import CALLS, Place, all_of, types_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def engine(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A worker with agents; a node whose process dies once is a dead letter."""
    settings = {"heartbeat": "0.25", "agents": "hard_agents", "max_lost": "1"}
    with make_engine(tmp_path_factory.mktemp("forks"), **settings) as engine:
        engine.workers()
        yield engine


@pytest.fixture(scope="module")
def place(engine: Engine) -> Place:
    nodes = {"a": {"uses": "engine_nodes:echo", "with": {"value": "hello"}}}
    flow = Flow.load({"id": "forked", "nodes": nodes})
    flow.deploy(session=engine.session)
    once = Flow.load({"id": "forked-once", "nodes": nodes})
    ended = once.enqueue(id="forked-once-1", session=engine.session)
    assert ended.wait(60).success
    return Place(engine=engine, flow=flow, ended=ended)


@contextmanager
def _busy(place: Place) -> Iterator[None]:
    """Threads that are inside calls all the time, and one event loop that follows a run."""
    over = threading.Event()
    run = place.open_run()

    def call() -> None:
        while not over.is_set():
            run.summary()
            place.engine.session.runtime.dispatcher.waiting("none")

    threads = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    threads.append(threading.Thread(target=run.wait, args=(60,), daemon=True))
    threads.append(threading.Thread(target=lambda: asyncio.run(all_of(run.stream())), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        run.cancel()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()


def test_every_call_works_in_a_forked_child_of_a_process_that_has_used_all(
    place: Place,
) -> None:
    expected = {name: call(place) for name, call in CALLS.items()}
    for name, call in CALLS.items():
        assert in_child(partial(call, place)) == expected[name], name
    for name, call in CALLS.items():
        assert call(place) == expected[name], f"{name} in the parent, afterwards"


def test_every_call_works_in_a_child_that_was_forked_in_the_middle_of_calls(place: Place) -> None:
    expected = {name: call(place) for name, call in CALLS.items()}
    with _busy(place):
        for name, call in CALLS.items():
            assert in_child(partial(call, place)) == expected[name], name


def test_children_of_children_work_too(place: Place) -> None:
    expected = {name: CALLS[name](place) for name in ("run", "await", "stream")}
    for name, found in expected.items():
        assert in_child(lambda name=name: in_child(partial(CALLS[name], place))) == found  # type: ignore[misc]


_PLACE: list[Place] = []


def _in_process(name: str) -> Any:
    return CALLS[name](_PLACE[0])


def test_every_call_works_in_a_pool_of_multiprocessing_that_forks(place: Place) -> None:
    names = ["run", "arun", "await", "stream", "events", "list", "schedules", "memory", "agents"]
    expected = [CALLS[name](place) for name in names]
    _PLACE[:] = [place]
    # One after another in the same child: schedules of one name would meet.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map_async(_in_process, names).get(timeout=120) == expected


def test_the_end_of_a_child_ends_nothing_of_its_parent_s(place: Place) -> None:
    def leave() -> bool:
        place.engine.session.close()
        return True

    run = place.open_run()
    following = iter(run.read_pages())
    assert next(following)
    assert in_child(leave)
    run.signal("go", by="me")
    assert list(following)[-1][-1].type.value == "run.succeeded"
    assert place.flow.run(**place.on, timeout=60).success
    assert place.engine.session.runtime.board.workers()


def test_children_forked_at_once_submit_and_follow_at_once(place: Place) -> None:
    """Two processes of a preloaded web server, whose parent has used the client."""

    async def follow(run: Run) -> Any:
        events, frames, result = await asyncio.gather(all_of(run.stream()), all_of(sse(run)), run)
        return types_of(events)[-1], bool(frames), result.output

    async def serve() -> Any:
        runs = [await place.flow.aenqueue(**place.on) for _ in range(10)]
        return await asyncio.gather(*map(follow, runs))

    assert place.flow.run(**place.on, timeout=60).success
    with _busy(place), ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(in_child, lambda: asyncio.run(serve())) for _ in range(2)]
        found = [one.result(120) for one in asked]
    assert found == [[("run.succeeded", True, "hello")] * 10] * 2


@pytest.mark.parametrize("kind", ["file", "redis", "fsspec"])
def test_each_payload_store_works_in_a_forked_child(
    place: Place, tmp_path: Path, kind: str
) -> None:
    if kind == "fsspec":
        pytest.importorskip("fsspec")
    stores: dict[str, Callable[[], Any]] = {
        "file": lambda: FilePayloads(tmp_path),
        "redis": lambda: place.engine.session.runtime.payloads._store,
        "fsspec": lambda: ObjectPayloads(f"local://{tmp_path}"),
    }
    store = stores[kind]()
    digest = "0" * 64
    reference = Reference(space="forked.1", digest=digest, size=3, place=store.place)
    store.put(reference, b"abc")

    def use() -> Any:
        other = Reference(space="forked.2", digest=digest, size=3, place=store.place)
        store.put(other, b"xyz")
        return store.get(reference), store.get(other)

    assert in_child(use) == (b"abc", b"xyz")
    assert store.get(reference) == b"abc"
    for space in ("forked.1", "forked.2"):
        store.remove(space)


def test_what_a_process_makes_for_itself_is_made_anew_in_a_child_whoever_holds_its_lock() -> None:
    made = PerProcess(lambda: [threading.get_ident()])
    mine = made.get()
    with made._lock:
        held = threading.Thread(target=made._lock.acquire, daemon=True)
        held.start()
        assert in_child(lambda: made.get() == mine and made.peek() is not mine)
    assert made.get() is mine


def test_an_owner_that_is_gone_is_not_renewed() -> None:
    class Owner:
        pass

    renewed: list[str] = []
    owner, gone = Owner(), Owner()
    renew_after_fork(owner, lambda _: renewed.append("owner"))
    renew_after_fork(gone, lambda _: renewed.append("gone"))
    del gone
    assert in_child(lambda: renewed) == ["owner"]
    assert renewed == []
