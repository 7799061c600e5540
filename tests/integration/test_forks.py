"""The Python surface in forked children of a process that has used all of it.

That is what gunicorn --preload, os.fork and multiprocessing make.
"""

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow, Memory, Run, Schedules
from flowcore.client.agents import AgentClient
from flowcore.client.sse import open_sse, sse
from flowcore.errors import FlowcoreError
from flowcore.forks import PerProcess, renew_after_fork
from flowcore.run.reference import Reference
from flowcore.stores.files import FilePayloads
from flowcore.stores.objects import ObjectPayloads
from tests.engine import Engine
from tests.forked import in_child

pytestmark = pytest.mark.integration

GATE = {"gate": {"uses": "signal", "with": {"name": "go"}}}


@dataclass(frozen=True)
class Place:
    """An engine, a flow, and a run that has ended."""

    engine: Engine
    flow: Flow
    ended: Run

    @property
    def on(self) -> dict[str, Any]:
        return {"session": self.engine.session}

    def open_run(self) -> Run:
        """A run that waits; made by the process that asks."""
        return self.engine.start(GATE)


async def _all(source: Any) -> list[Any]:
    return [each async for each in source]


def _types(events: Any) -> list[str]:
    return [event.type.value for event in events]


def _signalled(place: Place) -> Any:
    run = place.open_run()
    run.signal("go", by="me")
    return run.wait(60).success


async def _asignalled(place: Place) -> Any:
    run = place.open_run()
    await run.asignal("go", by="me")
    return (await run).success


def _resumed(place: Place) -> Any:
    run = place.open_run()
    held = str(run.pause())
    run.resume()
    run.cancel()
    ended = str(run.wait(60).state)
    run.resume()
    run.signal("go", by="me")
    return held, ended, run.wait(60).success


async def _aresumed(place: Place) -> Any:
    run = place.open_run()
    held = str(await run.apause())
    await run.aresume()
    await run.acancel()
    return held, str((await run).state)


def _schedules(place: Place) -> Any:
    schedules = Schedules(**place.on)
    made = schedules.put("forked", "forked", cron="0 3 1 1 *")
    seen = schedules.get("forked").name, len(schedules.next("forked", 2))
    held = schedules.pause("forked").paused, schedules.resume("forked").paused
    output = schedules.run_now("forked").wait(60).output
    known = made.name in {one.name for one in schedules.list()}
    schedules.remove("forked")
    return seen, held, output, known


async def _aschedules(place: Place) -> Any:
    schedules = Schedules(**place.on)
    await schedules.aput("aforked", "forked", cron="0 3 1 1 *")
    found = (await schedules.aget("aforked")).name, len(await schedules.anext("aforked", 2))
    await schedules.aremove("aforked")
    return found


def _memory(place: Place) -> Any:
    memory = Memory("forked", "blocking", **place.on)
    memory.clear()
    memory.add("user", "hello")
    memory.set("k", 1)
    return [one["content"] for one in memory.messages()], memory.get("k")


async def _amemory(place: Place) -> Any:
    memory = Memory("forked", "async", **place.on)
    await memory.aclear()
    await memory.aadd("user", "hello")
    await memory.aset("k", 1)
    return [one["content"] for one in await memory.amessages()], await memory.aget("k")


def _agents(place: Place) -> Any:
    client = AgentClient(**place.on)
    said: list[str] = []
    for call in (partial(client.start, "nobody", "hello"), partial(client.get, "no-task")):
        with pytest.raises(FlowcoreError) as caught:
            call()
        said.append(type(caught.value).__name__)
    return said, len(client.agents()), len(client.dead_letters())


async def _aagents(place: Place) -> Any:
    client = AgentClient(**place.on)
    said: list[str] = []
    for call in (client.astart("nobody", "hello"), client.aget("no-task")):
        with pytest.raises(FlowcoreError) as caught:
            await call
        said.append(type(caught.value).__name__)
    return said


def _told(run: Run) -> Any:
    heard: list[str] = []

    class Ears:
        def on_run_end(self, event: Any) -> None:
            heard.append(event.type.value)

    run.follow(Ears())
    asyncio.run(run.afollow(Ears()))
    return heard


CALLS: dict[str, Callable[[Place], Any]] = {
    "run": lambda at: at.flow.run(**at.on, timeout=60).output,
    "arun": lambda at: asyncio.run(at.flow.arun(**at.on, timeout=60)).output,
    "enqueue": lambda at: at.flow.enqueue(**at.on).result(60),
    "aenqueue": lambda at: asyncio.run(_aenqueued(at)),
    "deploy": lambda at: at.flow.deploy(**at.on).name,
    "adeploy": lambda at: asyncio.run(at.flow.adeploy(**at.on)).name,
    "deployed": lambda at: Flow.deployed("forked", **at.on).run(**at.on, timeout=60).output,
    "status": lambda at: str(at.ended.status()),
    "summary": lambda at: at.ended.summary().settled,
    "record": lambda at: sorted(at.ended.record().nodes),
    "outputs": lambda at: dict(at.ended.outputs()),
    "input": lambda at: at.ended.input(),
    "result": lambda at: at.ended.result(60),
    "aresult": lambda at: asyncio.run(at.ended.aresult(60)),
    "await": lambda at: asyncio.run(_awaited(at)).output,
    "events": lambda at: _types(at.ended.events()),
    "stream": lambda at: _types(asyncio.run(_all(at.ended.stream()))),
    "tokens": lambda at: asyncio.run(_all(at.ended.tokens())),
    "sse": lambda at: len(b"".join(asyncio.run(_all(sse(at.ended))))),
    "open_sse": lambda at: asyncio.run(open_sse(at.ended, last_event_id=10**6)),
    "follow": lambda at: _told(at.ended),
    "list": lambda at: at.ended.id in {row.id for row in Run.list(limit=1000, **at.on)},
    "alist": lambda at: len(asyncio.run(Run.alist(limit=3, **at.on))),
    "query": lambda at: at.ended.id in {run.id for run in Run.query(flow="forked-once", **at.on)},
    "aquery": lambda at: at.ended.id in {run.id for run in asyncio.run(_aqueried(at))},
    "all": lambda at: dict(Run.all("cancel", tag="no-such-tag", **at.on)),
    "get": lambda at: Run.get(at.ended.id, **at.on).id,
    "aget": lambda at: asyncio.run(Run.aget(at.ended.id, **at.on)).id,
    "dead_letters": lambda at: len(Run.dead_letters(**at.on)),
    "adead_letters": lambda at: len(asyncio.run(Run.adead_letters(**at.on))),
    "rerun": lambda at: at.ended.rerun().result(60),
    "arerun": lambda at: asyncio.run(_areran(at)),
    "signal": _signalled,
    "asignal": lambda at: asyncio.run(_asignalled(at)),
    "pause, resume, cancel": _resumed,
    "apause, aresume, acancel": lambda at: asyncio.run(_aresumed(at)),
    "schedules": _schedules,
    "async schedules": lambda at: asyncio.run(_aschedules(at)),
    "memory": _memory,
    "async memory": lambda at: asyncio.run(_amemory(at)),
    "agents": _agents,
    "async agents": lambda at: asyncio.run(_aagents(at)),
    "workers": lambda at: len(at.engine.session.runtime.board.workers()),
    "troubles": lambda at: len(at.engine.session.runtime.troubles.troubles()),
}  # fmt: skip


async def _aqueried(at: Place) -> Any:
    return await _all(Run.aquery(flow="forked-once", **at.on))


async def _awaited(at: Place) -> Any:
    return await at.ended


async def _aenqueued(at: Place) -> Any:
    return await (await at.flow.aenqueue(**at.on)).aresult(60)


async def _areran(at: Place) -> Any:
    return await (await at.ended.arerun()).aresult(60)


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
    threads.append(threading.Thread(target=lambda: asyncio.run(_all(run.stream())), daemon=True))
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


def test_every_call_works_in_a_forked_child_of_a_process_that_has_used_all(place: Place) -> None:
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
