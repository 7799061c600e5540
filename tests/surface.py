"""Every call of the Python surface, each as a function of a place where it is made."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from flowcore import Flow, Memory, Run, Schedules
from flowcore.client.agents import AgentClient
from flowcore.client.memory import export_threads
from flowcore.client.sse import open_sse, sse
from flowcore.errors import FlowcoreError
from tests.engine import Engine

__all__ = ["CALLS", "Place", "all_of", "types_of"]

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


async def all_of(source: Any) -> list[Any]:
    return [each async for each in source]


def types_of(events: Any) -> list[str]:
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


def _threads(place: Place) -> Any:
    memory = Memory("forked", "listed", **place.on)
    memory.add("user", "hello")
    memory.set("k", [1])
    listed = {one.name for one in Memory.threads(**place.on)}
    named = Memory.named(memory.name, **place.on)
    (exported,) = export_threads(memory.name, session=place.engine.session)
    return memory.name in listed, named.messages()[0]["content"], named.facts(), len(exported)


def _approved(place: Place) -> Any:
    ask = {"buy": {"uses": "approval", "with": {"message": "buy it?"}}}
    answers = []
    for answer in ("approve", "reject"):
        run = place.engine.start(ask)
        getattr(run, answer)("buy", by="me")
        answers.append(str(run.wait(60).state))
    return answers


async def _aapproved(place: Place) -> Any:
    ask = {"buy": {"uses": "approval", "with": {"message": "buy it?"}}}
    yes, no = place.engine.start(ask), place.engine.start(ask)
    await yes.aapprove("buy", by="me")
    await no.areject("buy", by="me")
    return str((await yes).state), str((await no).state)


def _requeued(place: Place) -> Any:
    path = place.engine.home / f"alive-{uuid.uuid4()}"
    run = place.engine.start(
        {"d": {"uses": "engine_nodes:die_unless", "with": {"path": str(path)}}}
    )
    lost = str(run.wait(60).state)
    dead = run.id in {one.run for one in Run.dead_letters(**place.on)}
    path.touch()
    run.requeue()
    return lost, dead, run.wait(60).output


def _live_agent(place: Place) -> Any:
    client = AgentClient(**place.on)
    said = client.send("hello", "you", timeout=60).text
    told = [each.text for each in client.stream("hello", "all", timeout=60) if each.artifact]
    task = client.start("hangs", "x")
    canceled = client.cancel(task).state.word
    return said, told, canceled, client.wait(client.start("hello", "two"), timeout=60).text


async def _alive_agent(place: Place) -> Any:
    client = AgentClient(**place.on)
    said = (await client.asend("hello", "you", timeout=60)).text
    told = [each.text async for each in client.astream("hello", "all", timeout=60) if each.artifact]
    return said, told


def _agents(place: Place) -> Any:
    client = AgentClient(**place.on)
    said: list[str] = []
    for call in (partial(client.start, "nobody", "hello"), partial(client.get, "no-task")):
        with pytest.raises(FlowcoreError) as caught:
            call()
        said.append(type(caught.value).__name__)
    return said, len(client.agents()) > 0, len(client.dead_letters())


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
    "events": lambda at: types_of(at.ended.events()),
    "stream": lambda at: types_of(asyncio.run(all_of(at.ended.stream()))),
    "tokens": lambda at: asyncio.run(all_of(at.ended.tokens())),
    "sse": lambda at: len(b"".join(asyncio.run(all_of(sse(at.ended))))),
    "open_sse": lambda at: asyncio.run(open_sse(at.ended, last_event_id=10**6)),
    "follow": lambda at: _told(at.ended),
    "list": lambda at: at.ended.id in {row.id for row in Run.list(limit=1000, **at.on)},
    "alist": lambda at: len(asyncio.run(Run.alist(limit=3, **at.on))),
    "query": lambda at: at.ended.id in {run.id for run in Run.query(flow="forked-once", **at.on)},
    "aquery": lambda at: at.ended.id in {run.id for run in asyncio.run(_aqueried(at))},
    "all": lambda at: dict(Run.all("cancel", tag="no-such-tag", **at.on)),
    "get": lambda at: Run.get(at.ended.id, **at.on).id,
    "aget": lambda at: asyncio.run(Run.aget(at.ended.id, **at.on)).id,
    "dead_letters": lambda at: len(Run.dead_letters(limit=1, **at.on)) <= 1,
    "adead_letters": lambda at: len(asyncio.run(Run.adead_letters(limit=1, **at.on))) <= 1,
    "rerun": lambda at: at.ended.rerun().result(60),
    "arerun": lambda at: asyncio.run(_areran(at)),
    "signal": _signalled,
    "asignal": lambda at: asyncio.run(_asignalled(at)),
    "pause, resume, cancel": _resumed,
    "apause, aresume, acancel": lambda at: asyncio.run(_aresumed(at)),
    "schedules": _schedules,
    "async schedules": lambda at: asyncio.run(_aschedules(at)),
    "approve, reject": _approved,
    "aapprove, areject": lambda at: asyncio.run(_aapproved(at)),
    "requeue": _requeued,
    "a live agent": _live_agent,
    "an async live agent": lambda at: asyncio.run(_alive_agent(at)),
    "threads": _threads,
    "memory": _memory,
    "async memory": lambda at: asyncio.run(_amemory(at)),
    "agents": _agents,
    "async agents": lambda at: asyncio.run(_aagents(at)),
    "workers": lambda at: len(at.engine.session.runtime.board.workers()),
    "troubles": lambda at: len(at.engine.session.runtime.troubles.troubles()),
}  # fmt: skip


async def _aqueried(at: Place) -> Any:
    return await all_of(Run.aquery(flow="forked-once", **at.on))


async def _awaited(at: Place) -> Any:
    return await at.ended


async def _aenqueued(at: Place) -> Any:
    return await (await at.flow.aenqueue(**at.on)).aresult(60)


async def _areran(at: Place) -> Any:
    return await (await at.ended.arerun()).aresult(60)
