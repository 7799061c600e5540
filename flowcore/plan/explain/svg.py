"""A plan as one self-contained SVG picture; the monitor colours the same picture live.

In: Plan, optionally states. Out: text. Not here: placing (layout).

No script, no link, nothing fetched. Light and dark follow the reader's setting. Every node is a
``<g class="node STATE" data-node="ID">``, every edge a ``<path class="edge">``: a page that changes
the class changes the colour.
"""

from collections.abc import Mapping
from html import escape
from math import ceil

from flowcore.plan.explain.layout import Layout, arrange
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.types import format_duration

__all__ = ["STYLE", "render"]

# Plain colours, not custom properties: rsvg (file managers, ImageMagick) paints var() black.
_SHAPE = """\
.flow{font-family:ui-sans-serif,system-ui,sans-serif}
.flow .node rect{stroke-width:1.5}
.flow .id{font-size:13px;font-weight:600}
.flow .uses,.flow .when{font-size:11px}
.flow .when{paint-order:stroke;stroke-width:4px}
.flow .edge{fill:none;stroke-width:1.5}
.flow .conditional{stroke-dasharray:5 4}
.flow .skipped{opacity:.55}
.flow .skipped rect{stroke-dasharray:4 3}
"""
#: Page, text, dim text, line, then (rim, fill) of a box by state.
_LIGHT = (
    ("#f8f9fb", "#1f2430", "#667085", "#98a2b3"),
    {
        "node": ("#98a2b3", "#ffffff"),
        "held": ("#7a8ff0", "#ffffff"),
        "dispatched": ("#7a8ff0", "#ffffff"),
        "running": ("#2e6be6", "#e3ecff"),
        "retrying": ("#c77700", "#fff1da"),
        "succeeded": ("#1f9254", "#e2f6ea"),
        "failed": ("#d03438", "#fde6e6"),
        "cancelled": ("#8a5fbf", "#f0e8fa"),
    },
)
_DARK = (
    ("#161a22", "#e6e8ee", "#98a2b3", "#5d6678"),
    {
        "node": ("#4a5366", "#232936"),
        "held": ("#7a8ff0", "#232936"),
        "dispatched": ("#7a8ff0", "#232936"),
        "running": ("#6c9bff", "#1d2f57"),
        "retrying": ("#f0a53a", "#44310f"),
        "succeeded": ("#4cc583", "#14392a"),
        "failed": ("#f2777a", "#4a1f24"),
        "cancelled": ("#b795e4", "#33264a"),
    },
)


def _colours(palette: tuple[tuple[str, str, str, str], Mapping[str, tuple[str, str]]]) -> str:
    """The rules that paint in one palette."""
    (page, ink, dim, line), boxes = palette
    rules = [
        f".flow .page{{fill:{page}}}",
        f".flow .id{{fill:{ink}}}",
        f".flow .uses,.flow .when{{fill:{dim}}}",
        f".flow .when{{stroke:{page}}}",
        f".flow .edge{{stroke:{line}}}",
        f".flow .tip{{fill:{line}}}",
        *(f".flow .{state} rect{{stroke:{rim};fill:{box}}}" for state, (rim, box) in boxes.items()),
    ]
    return "\n".join(rules)


#: The style sheet; a page whose CSP forbids inline styles serves this as a file of its own.
STYLE = f"{_SHAPE}{_colours(_LIGHT)}\n@media (prefers-color-scheme:dark){{\n{_colours(_DARK)}\n}}\n"

_MARGIN = 20.0
_HEIGHT = 44.0
_ROW = 62.0
_GAP = 64.0
_TIP = 7.0
_MAX_TEXT = 32
_MAX_CONDITION = 24


def render(plan: Plan, *, states: Mapping[str, str] | None = None, style: bool = True) -> str:
    """Draw the plan from left to right.

    Args:
        plan: The plan.
        states: Node states by id (``running``, ``succeeded``, …), used as classes.
        style: Whether to put the style sheet into the picture.

    Returns:
        An SVG document with a viewBox, ending in a newline.
    """
    layout = arrange(plan)
    lefts, widths = _columns(plan, layout)
    wide = lefts[-1] + widths[-1] + _MARGIN if lefts else 2 * _MARGIN
    high = layout.breadth * _ROW + _HEIGHT + 2 * _MARGIN
    title = _text(plan.flow)
    size = f'viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" height="{high:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>" if style else "",
        '<rect class="page" width="100%" height="100%"/>',
    ]
    parts.extend(_edges(plan, layout, lefts, widths))
    for column, left, width in zip(layout.columns, lefts, widths, strict=True):
        parts.extend(
            _node(plan, point, (left, layout.position[point]), width, states or {})
            for point in column
            if point < len(plan)
        )
    return "\n".join(filter(None, [*parts, "</svg>"])) + "\n"


def _columns(plan: Plan, layout: Layout) -> tuple[list[float], list[float]]:
    """Left side and width of each column, as wide as its longest text."""
    lefts: list[float] = []
    widths: list[float] = []
    at = _MARGIN
    for column in layout.columns:
        nodes = [point for point in column if point < len(plan)]
        width = max(_width(plan, node) for node in nodes)
        lefts.append(at)
        widths.append(width)
        at += width + _GAP
    return lefts, widths


def _width(plan: Plan, node: int) -> float:
    """Width of one node's box."""
    id, uses = _short(plan.ids[node]), _short(_caption(plan.policy(node), plan.pred[node]))
    return float(ceil(max(len(id) * 8.8, len(uses) * 7.0)) + 24)


def _node(
    plan: Plan, node: int, place: tuple[float, float], width: float, states: Mapping[str, str]
) -> str:
    """One box with its two lines of text and a tooltip with all there is to say."""
    left, top = place[0], _MARGIN + place[1] * _ROW
    id, caption = plan.ids[node], _caption(plan.policy(node), plan.pred[node])
    state = states.get(id, "pending")
    return (
        f'<g class="node {_text(state)}" data-node="{_text(id)}">'
        f"<title>{_text(id)}: {_text(caption)}</title>"
        f'<rect x="{left:g}" y="{top:.1f}" width="{width:g}" height="{_HEIGHT:g}" rx="7"/>'
        f'<text class="id" x="{left + 12:g}" y="{top + 18:.1f}">{_text(_short(id))}</text>'
        f'<text class="uses" x="{left + 12:g}" y="{top + 34:.1f}">{_text(_short(caption))}</text>'
        "</g>"
    )


def _caption(policy: Policy, pred: tuple[int, ...]) -> str:
    """What runs, and the policies that differ from the default."""
    marks = [policy.uses.rpartition(":")[2] or policy.uses]
    if pred and policy.join != "all_success":
        marks.append(policy.join)
    if policy.retry and policy.retry.max_attempts > 1:
        marks.append(f"{policy.retry.max_attempts}x")
    if policy.timeout is not None:
        marks.append(format_duration(policy.timeout))
    if policy.queue:
        marks.append(f"@{policy.queue}")
    return " · ".join(marks)


def _edges(plan: Plan, layout: Layout, lefts: list[float], widths: list[float]) -> list[str]:
    """All edges, each a smooth curve with a tip; conditions dashed and labelled."""
    level = {point: at for at, column in enumerate(layout.columns) for point in column}
    middle = [_MARGIN + place * _ROW + _HEIGHT / 2 for place in layout.position]
    parts = []
    for path in layout.paths:
        at, y = lefts[level[path[0]]] + widths[level[path[0]]], middle[path[0]]
        curve = [f"M{at:g},{y:.1f}"]
        for point in path[1:]:
            tip = _TIP if point == path[-1] else 0.0
            left, end = lefts[level[point]], middle[point]
            half = (at + left - tip) / 2
            curve.append(f"C{half:g},{y:.1f} {half:g},{end:.1f} {left - tip:g},{end:.1f}")
            at, y = left, end
            if point != path[-1]:
                at += widths[level[point]]
                curve.append(f"H{at:g}")
        parts.append(_edge(plan, path, "".join(curve), (at, y)))
    return parts


def _edge(plan: Plan, path: tuple[int, ...], curve: str, end: tuple[float, float]) -> str:
    """One edge, its tip, and its condition if it has one."""
    x, y = end
    source, target = path[0], path[-1]
    when = plan.when.get((source, target))
    back, high, low = x - _TIP - 1, y - 4, y + 4
    tip = f'<path class="tip" d="M{x:g},{y:.1f}L{back:g},{high:.1f}L{back:g},{low:.1f}Z"/>'
    ends = f'data-from="{_text(plan.ids[source])}" data-to="{_text(plan.ids[target])}"'
    if when is None:
        return f'<path class="edge" {ends} d="{curve}"/>{tip}'
    label = _text(_short(when, _MAX_CONDITION))
    return (
        f'<path class="edge conditional" {ends} d="{curve}"><title>{_text(when)}</title></path>'
        f'{tip}<text class="when" text-anchor="end" x="{back - 4:g}" y="{y - 7:.1f}">{label}</text>'
    )


def _short(text: str, most: int = _MAX_TEXT) -> str:
    """Cut long text; the tooltip has all of it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(text: str) -> str:
    """Escape for XML, in text and in attributes; what XML cannot hold at all becomes U+FFFD."""
    legal = "".join(c if c.isprintable() or c in "\t\n" else "\ufffd" for c in text)
    return escape(legal, quote=True)
