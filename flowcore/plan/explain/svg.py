"""A plan as one self-contained SVG picture; the monitor colours the same picture live.

In: Plan, optionally states. Out: text. Not here: placing (layout), colours (palette).

No script, no link, nothing fetched. Light and dark follow the reader's setting. Every node is a
``<g class="node STATE" data-node="ID">``, every edge a ``<path class="edge">``: a page that changes
the class changes the colour. A state has a mark, too, and a kind of node a word; a legend says what
those mean that are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flowcore.errors import UsageError
from flowcore.plan.explain.bundles import Bundle, bundled
from flowcore.plan.explain.kinds import KINDS, caption, kind_of
from flowcore.plan.explain.layout import Layout, arrange
from flowcore.plan.explain.lettering import columns, plain, shorten, shorten_middle, wrap
from flowcore.plan.explain.palette import MARKS, STYLE
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.run.status import NodeState
from flowcore.types import format_duration

__all__ = ["MOST_LINES", "STYLE", "render"]

#: A picture with more lines than that is drawn only for who asks for all of it.
MOST_LINES = 50_000

_MARGIN = 24.0
_HEIGHT = 44.0
_ROW = 66.0
_GAP = 64.0
_TIP = 7.0
_MAX_TEXT = 36
_LEGEND_ROW = 20.0

#: Columns and lines of a condition beside its edge, and how many stand before one node.
_MAX_CONDITION = 26
_CONDITION_LINES = 3
_CONDITIONS = 3
_LINE = 13.0
_PER_COLUMN = 6.6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """A plan and where everything stands."""

    plan: Plan
    layout: Layout
    bundles: Sequence[Bundle]
    labels: Mapping[int, Sequence[tuple[Sequence[str], str]]]
    """By node, the conditions that stand before it: their lines, and all of their text."""
    states: Mapping[str, str] | None
    lefts: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    level: dict[int, int] = field(default_factory=dict)

    @property
    def top(self) -> float:
        """Top of the first row: conditions stand above their edges."""
        rows = max((len(lines) for found in self.labels.values() for lines, _ in found), default=0)
        return _MARGIN + rows * _LINE

    @property
    def bottom(self) -> float:
        """Bottom of the last row."""
        return self.top + self.layout.breadth * _ROW + _HEIGHT

    def right(self, point: int) -> float:
        """Return the right end of a point's column."""
        return self.lefts[self.level[point]] + self.widths[self.level[point]]

    def left(self, point: int) -> float:
        """Return the left end of a point's column."""
        return self.lefts[self.level[point]]

    def middle(self, point: int) -> float:
        """The height on which lines come in and go out."""
        return self.top + self.layout.position[point] * _ROW + _HEIGHT / 2


def render(
    plan: Plan,
    *,
    states: Mapping[str, str] | None = None,
    style: bool = True,
    complete: bool = False,
) -> str:
    """Draw the plan from left to right.

    Args:
        plan: The plan.
        states: Node states by id (``running``, ``succeeded``, …), used as classes.
        style: Whether to put the style sheet into the picture.
        complete: Whether to draw it whatever the number of its lines.

    Returns:
        An SVG document with a viewBox, ending in a newline.

    Raises:
        UsageError: It has too many lines.
    """
    bundles, edges = bundled(plan)
    lines = len(edges) + sum(map(len, bundles))
    if lines > MOST_LINES and not complete:
        msg = (
            f"a picture of {plan.flow!r} has {lines:,} lines, which nobody can follow; more than "
            f"{MOST_LINES:,} are drawn with --all; '-f ascii' sums the flow up by layer, and "
            "'-f dot' is for Graphviz"
        )
        raise UsageError(msg)
    sheet = _sheet(plan, arrange(plan, edges), bundles, states)
    wide = sheet.lefts[-1] + sheet.widths[-1] if sheet.lefts else 0.0
    legend, wide, high = _legend(sheet, wide)
    size = f'viewBox="0 0 {_n(wide)} {_n(high)}" width="{_n(wide)}" height="{_n(high)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow" {size} role="img">',
        f"<title>{plain(plan.flow)}</title>",
        f"<style>{STYLE}</style>" if style else "",
        '<rect class="page" width="100%" height="100%"/>',
    ]
    parts.extend(_bundle(sheet, bundle, at) for at, bundle in enumerate(bundles))
    parts.extend(_edge(sheet, path) for path in sheet.layout.paths)
    for column in sheet.layout.columns:
        parts.extend(_node(sheet, point) for point in column if point < len(plan))
    parts.extend(_conditions(sheet))
    return "\n".join(filter(None, [*parts, *legend, "</svg>"])) + "\n"


def _sheet(
    plan: Plan, layout: Layout, bundles: Sequence[Bundle], states: Mapping[str, str] | None
) -> _Sheet:
    """Make room: each column is as wide as its longest text, each gap as its conditions."""
    sheet = _Sheet(plan=plan, layout=layout, bundles=bundles, labels=_labels(plan), states=states)
    at = _MARGIN
    for level, points in enumerate(layout.columns):
        nodes = [point for point in points if point < len(plan)]
        said = [
            columns(line)
            for node in nodes
            for text, _ in sheet.labels.get(node, ())
            for line in text
        ]
        if level:
            at += max(_GAP, max(said, default=0) * _PER_COLUMN + 3 * _TIP)
        width = max((_width(plan, node) for node in nodes), default=0.0)
        sheet.lefts.append(at)
        sheet.widths.append(width)
        at += width
        sheet.level.update(dict.fromkeys(points, level))
    return sheet


def _width(plan: Plan, node: int) -> float:
    """Width of one node's box."""
    policy = plan.policy(node)
    id, facts = shorten_middle(plan.ids[node], _MAX_TEXT), shorten(_facts(plan, node), _MAX_TEXT)
    capitals = sum(map(str.isupper, id))
    word = columns(kind_of(policy)) * 6.2 + 34
    return float(
        round(max(columns(id) * 8.8 + capitals * 1.8 + 24, columns(facts) * 6.8 + 24, word, 60))
    )


def _facts(plan: Plan, node: int) -> str:
    """Return what a node runs, and the policies that differ from the default."""
    policy = plan.policy(node)
    facts = [caption(policy)]
    if plan.pred[node] and policy.join != "all_success":
        facts.append(policy.join)
    if policy.condition is not None:
        facts.append("if")
    return " · ".join(facts + _limits(policy))


def _limits(policy: Policy) -> list[str]:
    limits = []
    if policy.retry and policy.retry.max_attempts > 1:
        limits.append(f"{policy.retry.max_attempts}x")
    if policy.timeout is not None:
        limits.append(format_duration(policy.timeout))
    if policy.queue:
        limits.append(f"@{policy.queue}")
    return limits


def _node(sheet: _Sheet, node: int) -> str:
    """One box with its two lines of text and a tooltip with all there is to say."""
    plan, policy = sheet.plan, sheet.plan.policy(node)
    id, facts, kind = plan.ids[node], _facts(plan, node), kind_of(policy)
    left, width, top = sheet.left(node), sheet.widths[sheet.level[node]], sheet.middle(node) - 22
    state = (sheet.states or {}).get(id, "pending")
    said = [f"{id}: {facts}", f"if {policy.condition}" if policy.condition else "", kind]
    said.append(state if sheet.states is not None else "")
    x, first, second = _n(left + 12), _n(top + 20), _n(top + 36)
    parts = [
        f'<g class="node {plain(state)}" data-node="{plain(id)}">',
        f"<title>{plain(chr(10).join(filter(None, said)))}</title>",
        _box(kind, left, top, width),
        f'<text class="id" x="{x}" y="{first}">{plain(shorten_middle(id, _MAX_TEXT))}</text>',
        f'<text class="uses" x="{x}" y="{second}">{plain(shorten(facts, _MAX_TEXT))}</text>',
        _word(kind, left + width - 8, top) if kind else "",
        _mark(state, left, top) if sheet.states is not None else "",
        "</g>",
    ]
    return "".join(parts)


def _box(kind: str, left: float, top: float, width: float) -> str:
    """The shape: a stack of what runs many times, a frame of what is a flow, a lozenge's ends."""
    if kind == "condition":
        right, middle, low = left + width, top + _HEIGHT / 2, top + _HEIGHT
        return (
            f'<path class="box" d="M{_n(left)},{_n(middle)}L{_n(left + 9)},{_n(top)}'
            f"H{_n(right - 9)}L{_n(right)},{_n(middle)}L{_n(right - 9)},{_n(low)}"
            f'H{_n(left + 9)}Z"/>'
        )
    box = _rect("box", (left, top), width, _HEIGHT, 7)
    if kind in {"for_each", "parallel"}:
        return _rect("box", (left + 5, top + 5), width, _HEIGHT, 7) + box
    if kind == "loop":
        return _rect("box", (left, top), width, _HEIGHT, 22)
    if kind in {"sub-flow", "closing"}:
        return box + _rect("inset", (left + 3.5, top + 3.5), width - 7, _HEIGHT - 7, 4)
    return box


def _rect(name: str, corner: tuple[float, float], width: float, height: float, round_: int) -> str:
    return (
        f'<rect class="{name}" x="{_n(corner[0])}" y="{_n(corner[1])}" width="{_n(width)}" '
        f'height="{_n(height)}" rx="{round_}"/>'
    )


def _word(kind: str, right: float, middle: float) -> str:
    """A kind's word, on a ground of its own; it ends at ``right``."""
    width = columns(kind) * 6.2 + 10
    ground = f'x="{_n(right - width)}" y="{_n(middle - 7)}" width="{_n(width)}" height="14" rx="7"'
    text = f'x="{_n(right - width / 2)}" y="{_n(middle + 3.3)}" text-anchor="middle"'
    return f'<g class="kind"><rect {ground}/><text {text}>{kind}</text></g>'


def _mark(state: str, x: float, y: float) -> str:
    """A state's mark; none for what is no state."""
    if state not in MARKS:
        return ""
    sign = MARKS[NodeState(state)]
    return (
        f'<g transform="translate({_n(x)},{_n(y)})"><circle class="mark" r="8"/>'
        f'<path class="sign" d="{sign}"/></g>'
    )


def _edge(sheet: _Sheet, path: tuple[int, ...]) -> str:
    """One edge as a smooth curve with a tip; a dashed one has a condition."""
    source, target = path[0], path[-1]
    at, y = sheet.right(source), sheet.middle(source)
    curve = [f"M{_n(at)},{_n(y)}"]
    for point in path[1:]:
        left, end = sheet.left(point) - (_TIP if point == target else 0.0), sheet.middle(point)
        curve.append(_curve(at, y, left, end))
        at, y = sheet.right(point), end
        if point != target:
            curve.append(f"H{_n(at)}")
    ids = sheet.plan.ids
    ends = f'data-from="{plain(ids[source])}" data-to="{plain(ids[target])}"'
    drawn, tip = "".join(curve), _arrow(sheet, target)
    when = sheet.plan.when.get((source, target))
    if when is None:
        return f'<path class="edge" {ends} d="{drawn}"/>{tip}'
    title = f"<title>{plain(when)}</title>"
    return f'<path class="edge conditional" {ends} d="{drawn}">{title}</path>{tip}'


def _curve(x: float, y: float, left: float, end: float) -> str:
    half = _n((x + left) / 2)
    return f"C{half},{_n(y)} {half},{_n(end)} {_n(left)},{_n(end)}"


def _arrow(sheet: _Sheet, node: int) -> str:
    """The tip of what leads to a node."""
    x, y = sheet.left(node), sheet.middle(node)
    back, high, low = _n(x - _TIP - 1), _n(y - 4), _n(y + 4)
    return f'<path class="tip" d="M{_n(x)},{_n(y)}L{back},{high}L{back},{low}Z"/>'


def _bundle(sheet: _Sheet, bundle: Bundle, number: int) -> str:
    """Lines from all sources to one point, and from there to all targets."""
    last = max(bundle.sources, key=sheet.level.__getitem__)
    ends = [sheet.middle(point) for point in (*bundle.sources, *bundle.targets)]
    x, y = sheet.right(last) + _GAP * (0.35 + 0.3 * (number % 4) / 3), sum(ends) / len(ends)
    ids = sheet.plan.ids
    parts = []
    for source in bundle.sources:
        at = sheet.right(source)
        curve = _curve(at, sheet.middle(source), x, y)
        parts.append(
            f'<path class="edge bundle" data-from="{plain(ids[source])}" '
            f'd="M{_n(at)},{_n(sheet.middle(source))}{curve}"/>'
        )
    for target in bundle.targets:
        curve = _curve(x, y, sheet.left(target) - _TIP, sheet.middle(target))
        parts.append(
            f'<path class="edge bundle" data-to="{plain(ids[target])}" '
            f'd="M{_n(x)},{_n(y)}{curve}"/>{_arrow(sheet, target)}'
        )
    return f'<g>{"".join(parts)}<circle class="joint" cx="{_n(x)}" cy="{_n(y)}" r="3"/></g>'


def _labels(plan: Plan) -> dict[int, list[tuple[Sequence[str], str]]]:
    """By target, its conditions; of many the first ones, and how many more."""
    by_target: dict[int, list[str]] = {}
    for (_, target), when in sorted(plan.when.items()):
        by_target.setdefault(target, []).append(when)
    found: dict[int, list[tuple[Sequence[str], str]]] = {}
    for target, texts in by_target.items():
        lines = [
            (wrap(text, most=_MAX_CONDITION, lines=_CONDITION_LINES), text)
            for text in texts[:_CONDITIONS]
        ]
        if more := texts[_CONDITIONS:]:
            lines.append(((f"+ {len(more)} more",), "\n".join(more)))
        found[target] = lines
    return found


def _conditions(sheet: _Sheet) -> list[str]:
    """The conditions, each before the node it leads to, none over another."""
    parts: list[str] = []
    for column in sheet.layout.columns:
        free = float("-inf")
        for node in column:
            found = sheet.labels.get(node, ())
            rows = sum(len(lines) for lines, _ in found)
            y = max(free, sheet.middle(node) - 8 - (rows - 1) * _LINE) if rows else free
            for lines, text in found:
                parts.append(_condition(lines, text, sheet.left(node) - _TIP - 6, y))
                y += len(lines) * _LINE
            free = y + 2 if rows else free
    return parts


def _condition(lines: Sequence[str], text: str, x: float, y: float) -> str:
    spans = "".join(
        f'<tspan x="{_n(x)}" y="{_n(y + at * _LINE)}">{plain(line)}</tspan>'
        for at, line in enumerate(lines)
    )
    return f'<text class="when" text-anchor="end"><title>{plain(text)}</title>{spans}</text>'


def _legend(sheet: _Sheet, wide: float) -> tuple[list[str], float, float]:
    """Return a legend of the marks that are used, and the page's size with it."""
    plan = sheet.plan
    kinds = {kind_of(plan.policy(node)) for node in range(len(plan))}
    entries = [("", word, f"{word} {KINDS[word]}") for word in KINDS if word in kinds]
    if sheet.states is not None:
        there = {sheet.states.get(id, "pending") for id in plan.ids}
        entries += [(state.value, "", state.value) for state in NodeState if state in there]
    if plan.when:
        entries.append(("", "", "- - -  only if its condition holds"))
    most = max(wide, 560.0)
    parts: list[str] = []
    x, y, right = _MARGIN, sheet.bottom + 34, wide
    for state, word, text in entries:
        length = columns(text) * _PER_COLUMN + 44
        if x > _MARGIN and x + length > most:
            x, y = _MARGIN, y + _LEGEND_ROW
        parts.append(_entry(state, word, text, (x, y)))
        x += length
        right = max(right, x - 20)
    bottom = y + 8 if entries else sheet.bottom
    return parts, right + _MARGIN, bottom + _MARGIN


def _entry(state: str, word: str, text: str, place: tuple[float, float]) -> str:
    x, y = place
    if word:
        width = columns(word) * 6.2 + 10
        said = text.removeprefix(word).strip()
        words = f'<text class="key" x="{_n(x + width + 6)}" y="{_n(y + 4)}">{said}</text>'
        return _word(word, x + width, y) + words
    shift = 18 if state else 0
    words = f'<text class="key" x="{_n(x + shift)}" y="{_n(y + 4)}">{text}</text>'
    return f'<g class="{state}">{_mark(state, x + 6, y)}{words}</g>' if state else words


def _n(number: float) -> str:
    """A length, to a tenth."""
    return f"{number:.1f}".removesuffix(".0")
