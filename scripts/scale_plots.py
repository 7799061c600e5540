"""Draw the figures of docs/scale.md.

In: series of points. Out: small SVG files, the same bytes for the same points. Not here: numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["draw"]

_STYLE = {
    "svg.hashsalt": "flowcore",  # ids within the file are made from it, not at random
    "svg.fonttype": "none",  # letters stay text: a tenth of the size
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

Panel = Mapping[str, Sequence[tuple[float, float]]]


def draw(path: Path, panels: Mapping[str, Panel], *, x: str, y: str, **options: Any) -> None:
    """Draw panels of lines beside each other.

    Args:
        path: The SVG file.
        panels: Per title, per label, (x, y) points.
        x: Label of the horizontal axes.
        y: Label of the first vertical axis.
        options: ``log`` (axes, as in "xy"), ``marker``, ``top`` (upper end of y), ``bottom``.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.2 * len(panels) + 1.0, 3.1), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for each, (title, lines) in zip(axes, panels.items(), strict=True):
            for label, points in lines.items():
                each.plot(
                    [point[0] for point in points],
                    [point[1] for point in points],
                    options.get("marker", "o-"),
                    label=label,
                )
            each.set(title=title, xlabel=x)
            log = options.get("log", "")
            if "x" in log:
                each.set_xscale("log")
            if "y" in log:
                each.set_yscale("log")
            each.set_ylim(bottom=options.get("bottom"), top=options.get("top"))
        axes[0].set_ylabel(y)
        axes[-1].legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
