"""Draws a small plan with ascii boxes and lines.

In: Plan. Out: lines of text, or None when lines would have to share a place. Not here: what is
written around the picture (text), which also names every predecessor: lines that join show where
they go, not always whence each came.

Layers run downwards. Between two layers, the lines from all sources with the same targets form a
*net*: it leaves its sources downwards, runs sideways on a row of its own, and leaves that row
downwards at each target. Where a source of one net stands right above a target of another, the
first net's row must lie above the other's, or two lines would run into one another (channel
routing's vertical constraint).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor

from flowcore.plan.explain.layout import Layout, arrange
from flowcore.plan.plan import Plan

__all__ = ["draw"]

_SPACE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Net:
    """The lines from some points of a layer to the same points of the next, as columns."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Rows at which lines come in and go out."""
        return self.sources + self.targets

    @property
    def is_straight(self) -> bool:
        """True if it needs no sideways part."""
        return self.sources == self.targets and len(self.sources) == 1

    def touches(self, other: "_Net") -> bool:
        """Return whether the two would meet on one row."""
        return min(self.ends) <= max(other.ends) + 1 and min(other.ends) <= max(self.ends) + 1


def draw(plan: Plan) -> list[str] | None:
    """Draw the plan.

    Args:
        plan: A plan of at most some dozens of nodes.

    Returns:
        Lines without trailing blanks, or None when the lines cannot be kept apart.
    """
    layout = arrange(plan)
    columns = _columns(plan, layout)
    lines: list[str] = []
    for depth, layer in enumerate(layout.columns):
        lines.extend(_boxes(plan, layer, columns))
        if depth + 1 < len(layout.columns):
            channel = _channel(layout, set(layer), columns)
            if channel is None:
                return None
            lines.extend(channel)
    return [line.rstrip() for line in lines]


def _columns(plan: Plan, layout: Layout) -> list[int]:
    """The character column on which each point's middle stands.

    One unit of the layout becomes as many characters as the two widest neighbours need. Places
    are rounded to half units first: a line that jogs by one character is hard to follow.
    """
    places = [floor(place * 2 + 0.5) / 2 for place in layout.position]
    half = [len(plan.ids[p]) // 2 + 2 if p < len(plan) else 0 for p in range(len(layout.position))]
    unit = max(
        (
            (half[left] + half[right] + _SPACE) / (places[right] - places[left])
            for layer in layout.columns
            for left, right in pairwise(layer)
        ),
        default=1.0,
    )
    middles = [round(place * unit) for place in places]
    margin = max((size - at for size, at in zip(half, middles, strict=True)), default=0)
    return [at + margin for at in middles]


def _boxes(plan: Plan, layer: Sequence[int], columns: Sequence[int]) -> list[str]:
    """The three lines that hold a layer's boxes; bends pass through."""
    lines = [_Line(), _Line(), _Line()]
    for point in layer:
        if point >= len(plan):
            for line in lines:
                line.put(columns[point], "|")
            continue
        id = plan.ids[point]
        left = columns[point] - len(id) // 2 - 2
        rim = f"+{'-' * (len(id) + 2)}+"
        for line, text in zip(lines, (rim, f"| {id} |", rim), strict=True):
            line.put(left, text)
    return [line.text for line in lines]


def _channel(layout: Layout, layer: set[int], columns: Sequence[int]) -> list[str] | None:
    """The lines between a layer and the next."""
    joined: dict[int, set[int]] = {}
    for path in layout.paths:
        for left, right in pairwise(path):
            if left in layer:
                joined.setdefault(columns[left], set()).add(columns[right])
    sources: dict[tuple[int, ...], list[int]] = {}
    for source, targets in joined.items():
        sources.setdefault(tuple(sorted(targets)), []).append(source)
    nets = [_Net(sources=tuple(sorted(at)), targets=to) for to, at in sources.items()]
    straight = [net for net in nets if net.is_straight]
    crooked = sorted(
        (net for net in nets if not net.is_straight),
        key=lambda net: (max(net.ends) - min(net.ends), net.sources),
    )
    rows = _rows(crooked)
    return None if rows is None else _paint(straight, crooked, rows)


def _rows(nets: Sequence[_Net]) -> list[int] | None:
    """Give each net a row; None when the constraints go round in a circle."""
    owner = {source: at for at, net in enumerate(nets) for source in net.sources}
    above = [{owner[to] for to in net.targets if to in owner} - {at} for at, net in enumerate(nets)]
    rows: dict[int, int] = {}
    while len(rows) < len(nets):
        free = next((n for n in range(len(nets)) if n not in rows and above[n] <= rows.keys()), -1)
        if free < 0:
            return None
        row = max((rows[other] for other in above[free]), default=-1) + 1
        taken = {at for other, at in rows.items() if nets[other].touches(nets[free])}
        while row in taken:
            row += 1
        rows[free] = row
    return [rows[at] for at in range(len(nets))]


def _paint(straight: Sequence[_Net], nets: Sequence[_Net], rows: Sequence[int]) -> list[str]:
    """Draw what runs sideways, then what runs down over it, then the corners."""
    depth = max(rows, default=-1) + 1
    lines = [_Line() for _ in range(depth + 2)]
    for net, row in zip(nets, rows, strict=True):
        left, right = min(net.ends), max(net.ends)
        lines[row + 1].put(left, "-" * (right - left + 1))
    for net, row in [*zip(nets, rows, strict=True), *((net, depth) for net in straight)]:
        for line in lines[: row + 1]:
            line.put_all(net.sources, "|")
        for line in lines[row + 1 :]:
            line.put_all(net.targets, "|")
    for net, row in zip(nets, rows, strict=True):
        lines[row + 1].put_all(net.ends, "+")
    for net in (*straight, *nets):
        lines[-1].put_all(net.targets, "v")
    return [line.text for line in lines]


class _Line:
    """One line that can be written on anywhere."""

    def __init__(self) -> None:
        self._chars: list[str] = []

    def put(self, at: int, text: str) -> None:
        """Write ``text`` from column ``at`` on, over what is there."""
        missing = at + len(text) - len(self._chars)
        self._chars.extend(" " * max(missing, 0))
        self._chars[at : at + len(text)] = text

    def put_all(self, columns: Iterable[int], char: str) -> None:
        """Write one character on each of some columns."""
        for at in columns:
            self.put(at, char)

    @property
    def text(self) -> str:
        """The text that is written."""
        return "".join(self._chars)
