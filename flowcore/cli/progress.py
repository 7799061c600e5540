"""Progress of a run on stderr: a live tree on a terminal, plain lines elsewhere.

In: a picture that is kept up to date. Out: text on stderr. Not here: data (printing).
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flowcore.cli.picture import Picture
from flowcore.cli.printing import note
from flowcore.graph.diagnostic import clean
from flowcore.run.event import Event, EventType
from flowcore.run.record import NodeRecord
from flowcore.run.status import NodeState
from flowcore.types import format_duration

__all__ = ["Lines", "Progress", "Tree", "choose", "draw"]

#: Flows of more nodes are summed up: by state, what runs, what failed.
_MOST_ROWS = 40
_MOST_RUNNING = 10
_MOST_FAILED = 5
_MOST_MESSAGE = 100
_DEEPEST = 8
_LINE_EVERY = 5.0

_LOOKS: dict[str, tuple[str, str]] = {
    "pending": ("·", "dim"),
    "held": ("·", "dim"),
    "dispatched": ("○", "cyan"),
    "running": ("●", "blue"),
    "retrying": ("↻", "yellow"),
    "paused": ("●", "yellow"),
    "stopping": ("●", "yellow"),
    "succeeded": ("✔", "green"),
    "failed": ("✖", "red"),
    "skipped": ("-", "dim"),
    "cancelled": ("⊘", "magenta"),
}
#: Events that are told in one word, and of whom if not of their nodes.
_SAID = {
    EventType.RUN_PAUSED: "run",
    EventType.RUN_RESUMED: "run",
    EventType.NODES_SKIPPED: "",
    EventType.NODES_CANCELLED: "",
    EventType.NODES_REUSED: "",
}
_ASCII = {"·": ".", "○": "o", "●": "*", "↻": "~", "✔": "+", "✖": "x", "-": "-", "⊘": "/"}


class Progress:
    """Shows a run while it goes on; this one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture there."""

    def show(self, events: Sequence[Event]) -> None:
        """Take note of events that the picture has already."""


def choose(picture: Picture, *, quiet: bool) -> Progress:
    """Choose how to show a run, by what stderr is."""
    if quiet:
        return Progress()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Tree(picture)
    return Lines(picture)


class Tree(Progress):
    """A picture that is drawn eight times a second, whatever happens."""

    def __init__(self, picture: Picture, console: Console | None = None) -> None:
        """Draw on stderr, or on a console of a test."""
        self._picture = picture
        self._console = console or Console(stderr=True, highlight=False)
        # stdout carries data: rich must leave it alone.
        self._live = Live(
            console=self._console,
            refresh_per_second=8,
            redirect_stdout=False,
            get_renderable=self._draw,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _draw(self) -> Text:
        fits = max(5, self._console.size.height - 4)
        unicode = (self._console.encoding or "").lower().startswith("utf")
        return draw(self._picture, now=time.time(), rows=min(fits, _MOST_ROWS), unicode=unicode)


class Lines(Progress):
    """A line for what matters: every node of a small flow; failures and a count of a large one."""

    def __init__(self, picture: Picture) -> None:
        """Show nothing yet."""
        self._picture = picture
        self._small = len(picture.plan) <= _MOST_ROWS
        self._counted = time.monotonic()

    def show(self, events: Sequence[Event]) -> None:
        """Write a line for each event that is worth one."""
        for event in events:
            if line := self._line(event):
                note(line)
        if not self._small and time.monotonic() - self._counted >= _LINE_EVERY:
            self._counted = time.monotonic()
            note(_summary(self._picture))

    def _line(self, event: Event) -> str | None:  # noqa: PLR0911  (a kind of event each)
        names = ", ".join(event.nodes[:5]) + (", …" if len(event.nodes) > 5 else "")  # noqa: PLR2004
        match event.type:
            case EventType.NODE_SUCCEEDED | EventType.NODE_STARTED if not self._small:
                return None
            case EventType.NODE_STARTED:
                again = f" (attempt {event.attempt})" if (event.attempt or 1) > 1 else ""
                return f"{names}: running{again}"
            case EventType.NODE_SUCCEEDED:
                return f"{names}: succeeded{_took(self._picture.node(event.nodes[0]), event.time)}"
            case EventType.NODE_FAILED | EventType.NODE_RETRYING | EventType.NODE_LOST:
                what = event.type.value.partition(".")[2]
                return clean(f"{names}: {what}{_why(event)}")
            case EventType.NODE_WAITING:
                reason = event.data.get("reason") if self._small else None
                return clean(f"{names}: {reason}") if reason else None
            case kind if kind in _SAID:
                return f"{_SAID[kind] or names}: {kind.value.partition('.')[2]}"
            case _:
                return None


def draw(picture: Picture, *, now: float, rows: int, unicode: bool = True) -> Text:
    """Draw a run.

    Args:
        picture: The run.
        now: Unix seconds.
        rows: How many lines there are for nodes.
        unicode: Whether the terminal can show more than ASCII.
    """
    with picture.lock:
        text = Text(no_wrap=True, overflow="ellipsis")
        _head(text, picture, now)
        if len(picture.plan) <= rows:
            for number, name in enumerate(picture.plan.ids):
                depth = min(picture.plan.levels[number], _DEEPEST)
                _row(text, picture.node(name), depth=depth, now=now, unicode=unicode)
            return text
        text.append(f"\n  {_summary(picture)}")
        shown = [*picture.failed()[:_MOST_FAILED], *picture.running()[:_MOST_RUNNING]]
        for record in shown[: max(1, rows - 2)]:
            _row(text, record, depth=0, now=now, unicode=unicode)
        return text


def _head(text: Text, picture: Picture, now: float) -> None:
    style = _LOOKS.get(picture.state, ("", ""))[1]
    text.append(picture.plan.flow, "bold")
    text.append(f"  {picture.run_id}  ")
    text.append(picture.state, style)
    text.append(f"  {picture.settled}/{len(picture.plan)}")
    if picture.started is not None:
        until = picture.time if picture.state in {"succeeded", "failed", "cancelled"} else now
        text.append(f"  {format_duration(max(0.0, (until or now) - picture.started))}")


def _row(text: Text, record: NodeRecord, *, depth: int, now: float, unicode: bool) -> None:
    sign, style = _LOOKS[record.state.value]
    sign = sign if unicode else _ASCII[sign]
    text.append("\n  " + "  " * depth)
    text.append(f"{sign} ", style)
    text.append(record.id)
    if record.state is NodeState.RUNNING or record.finished is not None:
        text.append(_took(record, now), "dim")
    if record.attempts > 1:
        text.append(f"  attempt {record.attempts}", "yellow")
    if record.error and record.state is not NodeState.SUCCEEDED:
        why = clean(f"  {record.error.type}: {record.error.message}")
        text.append(why[:_MOST_MESSAGE], "red" if record.state is NodeState.FAILED else "dim")


def _summary(picture: Picture) -> str:
    counts = [f"{count} {state.value}" for state, count in picture.counts.items() if count > 0]
    return f"{picture.settled}/{len(picture.plan)} nodes settled: {', '.join(counts)}"


def _took(record: NodeRecord, now: float) -> str:
    if record.started is None:
        return ""
    return f"  {format_duration(max(0.0, (record.finished or now) - record.started))}"


def _why(event: Event) -> str:
    error = event.data.get("error")
    delay = event.data.get("delay")
    again = f", again in {format_duration(delay)}" if isinstance(delay, int | float) else ""
    return f" ({error['type']}: {error['message'][:_MOST_MESSAGE]}){again}" if error else again
