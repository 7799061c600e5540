"""Progress of a run on stderr: a live tree on a terminal, plain lines elsewhere.

In: a picture that is kept up to date. Out: text on stderr. Not here: data (output).
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flowcore.cli.hints import Hint, answers_to
from flowcore.cli.node_status import situation, took
from flowcore.cli.output import note
from flowcore.cli.run_state import Picture
from flowcore.cli.state_styles import UNKNOWN, look
from flowcore.cli.tables import fold
from flowcore.cli.terminal import one_line, speaks_unicode
from flowcore.run.event import Event, EventType
from flowcore.run.record import NodeRecord
from flowcore.run.status import NodeState
from flowcore.types import format_duration

__all__ = ["Lines", "Progress", "Tree", "choose", "draw"]

#: Flows of more nodes are summed up: by state, what runs, what failed.
_MOST_ROWS = 40
_MOST_RUNNING = 10
_MOST_WAITING = 10
_MOST_FAILED = 5
_MOST_MESSAGE = 100
_DEEPEST = 8
_LINE_EVERY = 5.0

#: Events that are told in one word, and of whom if not of their nodes.
_SAID = {
    EventType.RUN_PAUSED: "run",
    EventType.RUN_RESUMED: "run",
    EventType.RUN_STOPPING: "run",
    EventType.NODES_SKIPPED: "",
    EventType.NODES_CANCELLED: "",
    EventType.NODES_REUSED: "",
}


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
        size = self._console.size
        return draw(
            self._picture,
            now=time.time(),
            rows=min(max(5, size.height - 4), _MOST_ROWS),
            width=size.width,
            unicode=speaks_unicode(self._console.encoding),
        )


class Lines(Progress):
    """A line for what matters: every node of a small flow; failures and a count of a large one."""

    def __init__(self, picture: Picture) -> None:
        """Show nothing yet."""
        self._picture = picture
        self._small = len(picture.plan) <= _MOST_ROWS
        self._counted = time.monotonic()
        self._asked: set[str] = set()

    def show(self, events: Sequence[Event]) -> None:
        """Write a line for each event that is worth one."""
        for event in events:
            if line := self._line(event):
                note(one_line(line))
        for hint in answers_to(self._picture.run_id, self._picture.questions()):
            if hint.command not in self._asked:
                self._asked.add(hint.command)
                note(one_line(_answer(hint)))
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
                words = took(self._picture.node(event.nodes[0]), event.time)
                return f"{names}: succeeded  {words}".rstrip()
            case EventType.NODE_FAILED | EventType.NODE_RETRYING | EventType.NODE_LOST:
                what = event.type.value.partition(".")[2]
                return f"{names}: {what}{_why(event)}"
            case EventType.NODE_WAITING:
                reason = event.data.get("reason") if self._small else None
                return f"{names}: {reason}" if reason else None
            case kind if kind in _SAID:
                return f"{_SAID[kind] or names}: {kind.value.partition('.')[2]}"
            case _:
                return None


def draw(picture: Picture, *, now: float, rows: int, width: int = 80, unicode: bool = True) -> Text:
    """Draw a run: its nodes in order, or a summary if there are more than rows; then who may help.

    Args:
        picture: The run.
        now: Unix seconds.
        rows: How many lines there are for nodes.
        width: Cells of a line; what is longer is cut, but for commands.
        unicode: Whether the terminal can show more than ASCII.
    """
    with picture.lock:
        text = Text(no_wrap=True, overflow="ellipsis" if unicode else "crop")
        _head(text, picture, now)
        shown, depths = _shown(picture, rows)
        if len(picture.plan) > rows:
            text.append(f"\n  {_summary(picture)}")
        for record in shown:
            _row(text, picture, record, depth=depths.get(record.id, 0), now=now, unicode=unicode)
        for hint in answers_to(picture.run_id, picture.questions()):
            for line in fold(one_line(_answer(hint)), max(1, width - 2)):
                text.append(f"\n  {line}", "bold")
        return text


def _shown(picture: Picture, rows: int) -> tuple[list[NodeRecord], dict[str, int]]:
    """Choose the nodes that have a line, and how deep in the flow each is."""
    plan = picture.plan
    if len(plan) <= rows:
        depths = {name: min(plan.levels[at], _DEEPEST) for at, name in enumerate(plan.ids)}
        return [picture.node(name) for name in plan.ids], depths
    shown = [
        *picture.failed()[:_MOST_FAILED],
        *picture.waiting()[:_MOST_WAITING],
        *picture.running()[:_MOST_RUNNING],
    ]
    return shown[: max(1, rows - 2)], {}


def _head(text: Text, picture: Picture, now: float) -> None:
    text.append(one_line(picture.plan.flow), "bold")
    text.append(f"  {one_line(picture.run_id)}  ")
    text.append(picture.state, look(picture.state).colour)
    text.append(f"  {picture.settled}/{len(picture.plan)}")
    if picture.started is not None:
        until = picture.time if picture.state in {"succeeded", "failed", "cancelled"} else now
        text.append(f"  {format_duration(max(0.0, (until or now) - picture.started))}")


def _row(
    text: Text, picture: Picture, record: NodeRecord, *, depth: int, now: float, unicode: bool
) -> None:
    seen = look(record.state.value)
    text.append("\n  " + "  " * depth)
    text.append(f"{seen.sign if unicode else seen.ascii} ", seen.colour)
    text.append(one_line(record.id))
    if record.state is NodeState.RUNNING or record.finished is not None:
        text.append(f"  {took(record, now)}", "dim")
    if words := situation(record, picture.plan, now=now, progress=picture.progress):
        text.append(f"  {one_line(words)}", "dim" if seen is UNKNOWN else seen.colour)


def _answer(hint: Hint) -> str:
    why = f"  ({hint.why})" if hint.why else ""
    return f"answer: {hint.command}{why}"


def _summary(picture: Picture) -> str:
    counts = [f"{count} {state.value}" for state, count in picture.counts.items() if count > 0]
    return f"{picture.settled}/{len(picture.plan)} nodes settled: {', '.join(counts)}"


def _why(event: Event) -> str:
    error = event.data.get("error")
    delay = event.data.get("delay")
    again = f", again in {format_duration(delay)}" if isinstance(delay, int | float) else ""
    return f" ({error['type']}: {error['message'][:_MOST_MESSAGE]}){again}" if error else again
