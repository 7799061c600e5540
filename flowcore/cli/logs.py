"""``flowcore logs``: what the nodes of a run have said.

In: a run's id. Out: log records, events of nodes and gaps, as they came; with ``--follow`` as they
come. Tokens are shown on request: they are pieces of an output, and belong together.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.detail import find_node
from flowcore.cli.follow import event_row
from flowcore.cli.given import RunId
from flowcore.cli.outcome import ExitCode
from flowcore.cli.printing import Format, Output, iso, note, write, write_json
from flowcore.client.following import nodes_tagged
from flowcore.client.handle import Run
from flowcore.graph.diagnostic import clean
from flowcore.run.event import Event, EventType

__all__ = ["logs"]

_SAID = (
    EventType.NODE_LOG,
    EventType.NODE_EMITTED,
    EventType.NODE_FALLBACK,
    EventType.NODE_CACHED,
    EventType.NODE_CIRCUIT,
    EventType.STREAM_GAP,
)


def logs(
    run: RunId,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")
    ] = False,
    node: Annotated[str | None, typer.Option("--node", help="Only what this node said.")] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", help="Only what nodes with this tag said.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show tokens, too.")] = False,
    output: Output = Format.TABLE,
) -> int:
    """Show what the nodes of a run have logged and emitted.

    Example: flowcore logs order-42 -f --node review
    """
    wanted = (*_SAID, EventType.NODE_TOKEN) if tokens else _SAID
    with Session() as session:
        handle = Run.get(run, session=session)
        if node is not None:
            find_node(handle.plan(), node, run)
        among = None if tag is None else nodes_tagged(handle.plan(), tag)
        said = (
            event
            for event in _events(session, handle, follow=follow)
            if event.type in wanted
            and (node is None or node in event.nodes)
            and (among is None or not among.isdisjoint(event.nodes))
        )
        try:
            if output is Format.JSON:
                write_json([event_row(event) for event in said])
            else:
                all(_show(event, output) for event in said)  # until nobody reads any more
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
        if not follow and not handle.status().is_terminal:
            note(f"the run goes on; next: flowcore logs {run} -f")
    return ExitCode.OK


def _events(session: Session, handle: Run, *, follow: bool) -> Iterator[Event]:
    if follow:
        yield from handle.events()
        return
    after = 0
    while page := session.runtime.events.read(handle.id, after=after):
        yield from page
        after = page[-1].id


def _show(event: Event, form: Format) -> bool:
    if form is Format.JSONL:
        return write_json(event_row(event), indent=None)
    attempt = f"#{event.attempt}" if (event.attempt or 1) > 1 else ""
    return write(clean(f"{iso(event.time)} {event.node}{attempt} {_words(event)}") + "\n")


def _words(event: Event) -> str:
    """What an event says, for people."""
    data = dict(event.data)
    if event.type in _WORDS:
        return _WORDS[event.type](data)
    kind = data.pop("kind", "event")
    return " ".join([str(kind), *(f"{key}={value!r}" for key, value in data.items())])


_WORDS: Mapping[EventType, Callable[[Mapping[str, Any]], str]] = {
    EventType.NODE_LOG: lambda data: f"{data['level']} {data['message']}",
    EventType.NODE_TOKEN: lambda data: f"token {data.get('text', data.get('chunk'))!r}",
    EventType.NODE_FALLBACK: lambda data: (
        f"FALLBACK after {data['error']['type']}: {data['error']['message']}"
    ),
    EventType.NODE_CACHED: lambda _: "CACHED",
    EventType.NODE_CIRCUIT: lambda data: f"CIRCUIT {data['name']} is {data['state']}",
    EventType.STREAM_GAP: lambda data: (
        f"GAP {data.get('lost', 'all further')} events are missing ({data['reason']})"
    ),
}
