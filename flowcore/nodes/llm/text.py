"""Texts of a model, whose characters may come in two parts.

In: pieces of text. Out: text in whole characters. Not here: whose text it is (answer).

An emoji may lie in two events: as two halves of a surrogate pair, or as bytes of which neither part
is UTF-8. Both are kept as Python keeps them until the rest comes.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["StreamedText", "clean", "mended", "shown"]

_RUN = re.compile("[\udc80-\udcff]+")
_HALVES = re.compile("[\ud800-\udfff]")

#: Bytes of a character that came apart, as Python keeps them in text.
_BYTES = "".join(map(chr, range(0xDC80, 0xDD00)))

_SHOWN = 300


class StreamedText:
    """A text that comes in pieces, of which a character may be in two."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._parts: list[str] = []
        self._held = ""

    def add(self, piece: str) -> str:
        """Add a piece; return what can be shown by now."""
        text = self._held + piece
        held = _open_end(text)
        self._held = text[len(text) - held :]
        shown = mended(text[: len(text) - held])
        self._parts.append(shown)
        return shown

    def end(self) -> str:
        """Return what was held back: a half that stays alone."""
        last, self._held = mended(self._held), ""
        self._parts.append(last)
        return last

    def __str__(self) -> str:
        """All of it, with whole characters."""
        return "".join(self._parts) + mended(self._held)


def _open_end(text: str) -> int:
    """Characters at the end of a text that may be the first part of one."""
    if text[-1:] and "\ud800" <= text[-1] <= "\udbff":
        return 1
    end = len(text.rstrip(_BYTES))
    if end and "\ud800" <= text[end - 1] <= "\udbff":
        end += 1  # it is the second half of that one
    try:
        text[end:].encode("utf-8", "surrogateescape").decode()
    except UnicodeDecodeError as error:
        return len(text) - end if error.reason == "unexpected end of data" else 0
    return 0


def mended(text: str) -> str:
    """Put characters together whose halves came apart; a half that stays alone becomes U+FFFD."""
    if text.isascii():
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    joined = _RUN.sub(
        lambda found: found[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace"), joined
    )
    return _HALVES.sub("\ufffd", joined)


def clean(value: Any) -> Any:
    """The same, with whole characters."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, Mapping):
        return {mended(str(key)): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def shown(value: Any) -> str:
    """The beginning of a value, as a sentence shows it."""
    return mended(json.dumps(value, ensure_ascii=False))[:_SHOWN]
