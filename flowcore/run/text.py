r"""Text from outside: made safe for what carries it, and for a terminal.

In: text that may hold anything. Out: text that UTF-8, JSON and msgpack can carry; text that
controls no terminal, with what is not to be seen written as ``\u001b``. Not here: writing to a
terminal (cli.terminal), sizes (engine.values.event_limits).
"""

import re
import unicodedata

__all__ = ["escape", "to_utf8"]

#: Kinds of characters that are not to be seen: controls, formats, surrogates, ends of lines.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: What people's text needs all the same: joiners make one sign of several.
_KEPT = frozenset("\n\t\u200c\u200d")

#: Nearly all text has none of them.
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e\u00a1-\u00ac\u00ae-\u05ff]")

_MOST_BMP = 0xFFFF


def to_utf8(text: str) -> str:
    """Replace halves of surrogate pairs, and join those that are pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def escape(text: str) -> str:
    """Write what is not to be seen as JSON does."""
    return _SUSPECT.sub(_escaped, text)


def _escaped(match: "re.Match[str]") -> str:
    char = match[0]
    if char in _KEPT or unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    if code <= _MOST_BMP:
        return f"\\u{code:04x}"
    code -= _MOST_BMP + 1
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
