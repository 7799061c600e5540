"""LETTERING: text of a picture: escaped, measured, wrapped.

In: text of anybody's. Out: text that XML may hold, its width, lines of it. Not here: where it
stands.
"""

import unicodedata
from collections.abc import Sequence
from html import escape

__all__ = ["columns", "plain", "shorten", "shorten_middle", "wrap"]

#: Invisible characters that belong to what they join: emoji, and words of some scripts.
_JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """Escape for XML, in text and in attributes; what XML or a reader cannot take is U+FFFD.

    Characters that turn the direction of what follows are such: no label rewrites another.
    """
    return escape("".join(map(_legal, text)), quote=True)


def _legal(char: str) -> str:
    if char.isprintable() or char in "\t\n" or char in _JOINERS:
        return char
    return " " if unicodedata.category(char) == "Zs" else "\ufffd"


def columns(text: str) -> int:
    """Width in columns of a Latin letter's: wide characters take two, marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or char in _JOINERS or "\ufe00" <= char <= "\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, most: int) -> str:
    """Cut a text to so many columns; what is cut ends in an ellipsis."""
    if columns(text) <= most:
        return text
    kept, width = [], 1
    for char in text:
        width += _columns(char)
        if width > most:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…"


def shorten_middle(text: str, most: int) -> str:
    """Cut the middle out: names that begin alike differ in their ends."""
    if columns(text) <= most:
        return text
    tail = shorten(text[::-1], most * 3 // 5)[::-1]  # begins with the ellipsis
    return shorten(text, most - columns(tail) + 1).removesuffix("…") + tail


def wrap(text: str, *, most: int, lines: int) -> Sequence[str]:
    """Break a text into a few lines, between words if it can be; the last may be cut."""
    words = text.split()
    done: list[str] = []
    while words and len(done) < lines - 1:
        line = words.pop(0)
        if columns(line) > most:
            head, tail = _split(line, most)
            done.append(head)
            words.insert(0, tail)
            continue
        while words and columns(line) + 1 + columns(words[0]) <= most:
            line += " " + words.pop(0)
        done.append(line)
    if words:
        done.append(shorten(" ".join(words), most))
    return done


def _split(word: str, most: int) -> tuple[str, str]:
    """The beginning of a long word that fits, and the rest."""
    width = 0
    for at, char in enumerate(word):
        width += _columns(char)
        if width > most and at:
            return word[:at], word[at:]
    return word, ""
