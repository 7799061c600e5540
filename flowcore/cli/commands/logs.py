"""``flowcore logs``: what the nodes of a run have said.

In: a run, or a node of it. Out: log records, events of nodes and gaps, those of the runs inside
too, in order of time; with ``--follow`` as they come. Tokens are shown on request: they are pieces
of an output, and belong together.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.addressing import Place, find_place
from flowcore.cli.arguments import RunId
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.follow import event_row
from flowcore.cli.hints import command
from flowcore.cli.log_reader import LogReader, Said
from flowcore.cli.output import Format, Output, note, write, write_json
from flowcore.cli.terminal import one_line
from flowcore.cli.times import iso
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
        bool, typer.Option("-f", "--follow", help="Follow until the run has ended.")
    ] = False,
    node: Annotated[str | None, typer.Option("--node", help="Only logs of this node.")] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", help="Only logs of nodes with this tag.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show tokens, too.")] = False,
    output: Output = Format.TABLE,
) -> int:
    """Show what the nodes of a run, and of the runs inside it, have logged and emitted.

    RUN/NODE, RUN/NODE[3] or RUN/NODE/INNER is one node, with all that is inside it.

    Example: flowcore logs order-42/review -f
    """
    wanted = (*_SAID, EventType.NODE_TOKEN) if tokens else _SAID
    with Session() as session:
        place = find_place(session, run, node)
        reader = LogReader(session, place, tag)
        events = reader.follow() if follow else reader.read()
        said = (one for one in events if one.event.type in wanted)
        count = 0
        try:
            if output is Format.JSON:
                write_json([event_row(one.event) for one in said])
            else:
                for one in said:
                    count += 1
                    if not _show(one, output):
                        break  # nobody reads any more
        except KeyboardInterrupt:
            note(f"stopped reading, the run continues\nnext: {command('logs', run, '-f')}")
            return ExitCode.INTERRUPTED
        if output is Format.TABLE:
            _hint(place, run, count, follow=follow)
    return ExitCode.OK


def _hint(place: Place, run: str, count: int, *, follow: bool) -> None:
    """Say what else there is, if this may not have been what was looked for."""
    if not follow and not place.run.status().is_terminal:
        note(f"the run continues; next: {command('logs', run, '-f')}")
    elif not count:
        note(f"nothing was logged\nnext: {command('inspect', run)}")


def _show(said: Said, form: Format) -> bool:
    event = said.event
    if form is Format.JSONL:
        return write_json(event_row(event), indent=None)
    attempt = f"#{event.attempt}" if (event.attempt or 1) > 1 else ""
    head = f"{iso(event.time)} {said.address}{attempt}"
    return write(f"{one_line(head)} {one_line(_words(event))}\n")


def _words(event: Event) -> str:
    """Describe an event for people."""
    data = dict(event.data)
    if event.type in _WORDS:
        return _WORDS[event.type](data)
    kind = data.pop("kind", "event")
    return " ".join([str(kind), *(f"{key}={value!r}" for key, value in data.items())])


_WORDS: Mapping[EventType, Callable[[Mapping[str, Any]], str]] = {
    EventType.NODE_LOG: lambda data: (
        f"{'PRINT' if data.get('stream') else data['level']} {data['message']}"
    ),
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
