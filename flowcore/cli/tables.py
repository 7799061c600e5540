"""Tables: columns as wide as they need, and no wider than the terminal.

In: titles, rows of text, a width. Out: lines. Not here: what cells say (commands), writing them
(output).

Without a width, as in a pipe, nothing is cut or folded, so that ``awk`` finds one row on one line.
Within a width the widest columns give way: their cells are folded into several lines, and no letter
is lost. Where columns would become too narrow to read, each row becomes lines of ``TITLE value``.
Widths are those of a terminal: a Chinese character has two cells, a combining accent none.
"""

from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len, chop_cells

__all__ = ["fold", "table", "width_of"]

_GAP = 2
#: A column that gives way has at least so many cells.
_LEAST = 10


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    width: int | None = None,
    paint: Callable[[str], str] = str,
) -> str:
    """Lay out columns, two spaces apart.

    Args:
        titles: Of the columns.
        rows: Cells, each on one line and safe to show.
        width: Cells of the terminal; None: as wide as it gets.
        paint: Marks a cell's text with its colour; its width stays.
    """
    lines = [list(titles), *map(list, rows)]
    natural = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    widths = natural if width is None else _fit(natural, width)
    if widths is None:
        return "\n".join(_records(lines, width or _LEAST, paint)) + "\n"
    shown: list[str] = []
    for number, line in enumerate(lines):
        shown += _row(line, widths, paint if number else str)
    return "\n".join(shown) + "\n"


def width_of(text: str) -> int:
    """Count the cells that a text takes on a terminal."""
    return len(text) if text.isascii() else cell_len(text)


def fold(text: str, width: int) -> list[str]:
    """Break a text into lines of at most ``width`` cells, between words where there are some."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = chop_cells(word, width) or [""]
        lines += full
    return [*lines, line]


def _fit(natural: list[int], width: int) -> list[int] | None:
    """Share out a terminal's width: narrow columns stay, wide ones give way; None: too narrow.

    The first column, which names the row, gives way last: it is what people copy.
    """
    room = width - _GAP * (len(natural) - 1)
    if sum(natural) <= room:
        return natural
    widths = list(natural)
    open_ = sorted(range(len(natural)), key=natural.__getitem__)
    if room - natural[0] >= sum(min(wide, _LEAST) for wide in natural[1:]):
        open_.remove(0)
        room -= natural[0]
    while open_:
        share = room // len(open_)
        at = open_.pop(0)
        widths[at] = min(natural[at], share)
        room -= widths[at]
        if widths[at] < min(natural[at], _LEAST):
            return None
    return widths


def _row(cells: list[str], widths: list[int], paint: Callable[[str], str]) -> list[str]:
    columns = [fold(cell, wide) for cell, wide in zip(cells, widths, strict=True)]
    lines = []
    for at in range(max(map(len, columns))):
        line = ""
        for parts, wide in zip(columns, widths, strict=True):
            part = parts[at] if at < len(parts) else ""
            line += paint(part) + " " * (max(0, wide - width_of(part)) + _GAP)
        lines.append(line.rstrip())
    return lines


def _records(lines: list[list[str]], width: int, paint: Callable[[str], str]) -> Iterable[str]:
    """Write each row as lines of its own, a blank line between two rows."""
    titles, *rows = lines
    for number, row in enumerate(rows):
        if number:
            yield ""
        for title, cell in zip(titles, row, strict=True):
            if not cell:
                continue
            if width_of(title) + 1 + width_of(cell) <= width:
                yield f"{title} {paint(cell)}"
                continue
            yield title
            yield from (f"  {part}" for part in fold(cell, max(1, width - _GAP)))
