"""Cases about what a run tells, and what is remembered of it."""

from typing import Any

from flowcore.ports.capability import Capability
from flowcore.run.callbacks import Callbacks
from flowcore.run.event import Event
from flowcore.testing.conformance.case import Case, Subject, expect, uses

__all__ = ["HEARING"]

_WORDS = ["to ", "be"]


async def _events(it: Subject) -> None:
    run = await it.start({"a": uses("add"), "b": uses("add", "a")})
    events = [event async for event in run.stream()]
    expect([event.id for event in events], list(range(1, len(events) + 1)), "ids of events")
    told = [event.type.value for event in events]
    expect(told[0], "run.created", "first event")
    expect([each for each in told if each in _LAST], ["run.succeeded"], "last events")
    expect(told[-1], "run.succeeded", "last event")
    ours = [
        (event.type.value, event.node)
        for event in events
        if event.type.value in {"node.started", "node.succeeded"}
    ]
    wanted = [(kind, name) for name in "ab" for kind in ("node.started", "node.succeeded")]
    expect(ours, wanted, "starts and ends of nodes")


_LAST = {"run.succeeded", "run.failed", "run.cancelled"}


async def _resumed(it: Subject) -> None:
    run = await it.start({"a": uses("add")})
    events = [event async for event in run.stream()]
    again = [event async for event in run.stream(after=2)]
    expect(again, events[2:], "events after the second")


async def _tokens(it: Subject) -> None:
    run = await it.start({"a": uses("say", words=_WORDS), "b": uses("seen", "a")})
    tokens = [text async for text in run.tokens()]
    expect(tokens, _WORDS, "tokens, in order")
    expect((await run.await_end()).output, "to be", "output of a generator")


class _Heard(Callbacks):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_run_start(self, event: Event) -> None:
        self.calls.append("run start")

    async def on_run_end(self, event: Event) -> None:
        self.calls.append("run end")

    def on_run_error(self, event: Event) -> None:
        self.calls.append("run error")

    def on_node_end(self, event: Event) -> None:
        self.calls.append(event.node)

    def on_node_error(self, event: Event) -> None:
        raise RuntimeError("a broken callback")

    def on_token(self, event: Event) -> None:
        self.calls.append(event.data["text"])


async def _callbacks(it: Subject) -> None:
    heard = _Heard()
    run = await it.start({"a": uses("say", words=_WORDS)})
    await run.afollow(heard)
    expect(heard.calls, ["run start", *_WORDS, "a", "run end"], "calls, in order")


async def _broken_callback(it: Subject) -> None:
    heard = _Heard()
    run = await it.start({"a": uses("fail")})
    await run.afollow(heard)
    expect(heard.calls, ["run start", "run error"], "calls beside one that fails")


async def _memory(it: Subject) -> None:
    """Runs of a thread share a conversation, in order; other threads see nothing of it."""
    text = {"op": "append", "content": "${{ inputs.text }}"}
    nodes = {
        "say": {"uses": "memory", "with": text},
        "all": {"uses": "memory", "needs": ["say"]},
    }
    config = {"memory": {"type": "conversation", "max_messages": 3}}

    async def talk(said: str, thread: str) -> list[Any]:
        given = {"text": said, "thread": f"{it.token}-{thread}"}
        result = await it.run(nodes, given, config=config)
        return [message["content"] for message in result.output]

    expect(await talk("a", "one"), ["a"], "the first run's memory")
    expect(await talk("b", "one"), ["a", "b"], "the second run's memory")
    expect(await talk("c", "two"), ["c"], "another thread's memory")
    await talk("d", "one")
    expect(await talk("e", "one"), ["b", "d", "e"], "memory beyond max_messages")


HEARING = [
    Case(name=name, capability=capability, check=check)
    for name, capability, check in (
        ("events in order, one last", Capability.STREAMING, _events),
        ("events resume after an id", Capability.STREAMING, _resumed),
        ("tokens in order", Capability.STREAMING, _tokens),
        ("callbacks in order", Capability.CALLBACKS, _callbacks),
        ("a failing callback fails nothing", Capability.CALLBACKS, _broken_callback),
        ("memory across runs, isolated by thread", Capability.MEMORY, _memory),
    )
]
