"""PALETTE: the colours of a picture, and the mark of each state for whoever sees no colours.

In: nothing. Out: a style sheet, marks. Not here: where anything stands (svg).

Colours are plain, not custom properties: rsvg (file managers, ImageMagick) paints var() black.
"""

from collections.abc import Mapping

from flowcore.run.status import NodeState

__all__ = ["MARKS", "STYLE"]

#: By state, what is drawn in a disc of radius 8 around (0, 0).
MARKS: Mapping[NodeState, str] = {
    NodeState.PENDING: "M-3,0a3,3 0 1 0 6,0a3,3 0 1 0 -6,0",
    NodeState.HELD: "M-3.5,-3.5H3.5V3.5H-3.5Z",
    NodeState.DISPATCHED: "M-2,-4L2.5,0L-2,4",
    NodeState.RUNNING: "M-2.5,-4V4L4,0Z",
    NodeState.RETRYING: "M3.4,-2.4A4,4 0 1 0 4,1.2M4,-4.6V-1.4H0.8",
    NodeState.WAITING: "M-2,-4V4M2,-4V4",
    NodeState.SUCCEEDED: "M-4,0.2L-1.2,3L4,-3.2",
    NodeState.FAILED: "M-3.2,-3.2L3.2,3.2M3.2,-3.2L-3.2,3.2",
    NodeState.SKIPPED: "M-4,-3.5L-0.8,0L-4,3.5M0.6,-3.5L3.8,0L0.6,3.5",
    NodeState.CANCELLED: "M-4,0H4",
}

_SHAPE = """\
.flow{font-family:ui-sans-serif,system-ui,"DejaVu Sans",sans-serif}
.flow .box{stroke-width:1.5}
.flow .inset{fill:none;stroke-width:1}
.flow .id{font-size:13px;font-weight:600}
.flow .uses,.flow .when,.flow .key{font-size:11px}
.flow .when{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}
.flow .kind rect{stroke:none}
.flow .kind text{font-size:9.5px;font-weight:600}
.flow .mark{stroke-width:1}
.flow .sign{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.flow .edge{fill:none;stroke-width:1.5}
.flow .bundle{stroke-width:1}
.flow .conditional{stroke-dasharray:5 4}
.flow .held .box,.flow .skipped .box{stroke-dasharray:4 3}
.flow .skipped .id,.flow .skipped .uses{opacity:.6}
"""
#: Page, text, dim text, line, (ground, text) of a kind's word, then (rim, fill) of a box by state.
_LIGHT = (
    ("#f8f9fb", "#1f2430", "#5b6472", "#98a2b3", ("#3d4658", "#ffffff")),
    {
        "node": ("#98a2b3", "#ffffff"),
        "pending": ("#98a2b3", "#ffffff"),
        "held": ("#5d6b85", "#ffffff"),
        "dispatched": ("#5b73d6", "#ffffff"),
        "running": ("#2e6be6", "#e3ecff"),
        "retrying": ("#b86e00", "#fff1da"),
        "waiting": ("#8a6d00", "#fff8d6"),
        "succeeded": ("#1f9254", "#e2f6ea"),
        "failed": ("#d03438", "#fde6e6"),
        "skipped": ("#98a2b3", "#f1f3f6"),
        "cancelled": ("#8a5fbf", "#f0e8fa"),
    },
)
_DARK = (
    ("#161a22", "#e6e8ee", "#a4aec0", "#5d6678", ("#c3cad9", "#161a22")),
    {
        "node": ("#4a5366", "#232936"),
        "pending": ("#6b768c", "#232936"),
        "held": ("#93a0ba", "#232936"),
        "dispatched": ("#8fa2f5", "#232936"),
        "running": ("#6c9bff", "#1d2f57"),
        "retrying": ("#f0a53a", "#44310f"),
        "waiting": ("#e0c24a", "#3d3612"),
        "succeeded": ("#4cc583", "#14392a"),
        "failed": ("#f2777a", "#4a1f24"),
        "skipped": ("#5d6678", "#1c212b"),
        "cancelled": ("#b795e4", "#33264a"),
    },
)

_Palette = tuple[tuple[str, str, str, str, tuple[str, str]], Mapping[str, tuple[str, str]]]


def _colours(palette: _Palette) -> str:
    """The rules that paint in one palette."""
    (page, ink, dim, line, (ground, word)), boxes = palette
    rules = [
        f".flow .page{{fill:{page}}}",
        f".flow .id{{fill:{ink}}}",
        f".flow .uses,.flow .when,.flow .key{{fill:{dim}}}",
        f".flow .when{{stroke:{page}}}",
        f".flow .edge{{stroke:{line}}}",
        f".flow .tip,.flow .joint{{fill:{line}}}",
        f".flow .kind rect{{fill:{ground}}}",
        f".flow .kind text{{fill:{word}}}",
    ]
    for state, (rim, box) in boxes.items():
        rules += [
            f".flow .{state} .box{{stroke:{rim};fill:{box}}}",
            f".flow .{state} .inset{{stroke:{rim}}}",
            f".flow .{state} .mark{{fill:{rim};stroke:{page}}}",
        ]
    rules.append(f".flow .sign{{stroke:{page}}}")
    return "\n".join(rules)


#: The style sheet; a page whose CSP forbids inline styles serves this as a file of its own.
STYLE = f"{_SHAPE}{_colours(_LIGHT)}\n@media (prefers-color-scheme:dark){{\n{_colours(_DARK)}\n}}\n"
