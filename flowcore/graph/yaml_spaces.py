"""Characters that look like the spaces of YAML and are not.

In: a text, and a place in it. Out: a sentence about the first such character there. Not here:
reading YAML (load).

YAML indents with spaces alone. An editor that inserts a tab, or a page from which a no-break space
was copied, changes what a line means without changing how it looks.
"""

import re
from dataclasses import dataclass

__all__ = ["FoundSpace", "space_in_indentation", "space_in_scalar"]

_NAMES = {
    "\t": "a tab",
    "\u00a0": "a no-break space",
    "\u200b": "a zero-width space",
    "\u202f": "a narrow no-break space",
    "\u2060": "a word joiner",
    "\u3000": "an ideographic space",
    "\ufeff": "a byte order mark",
}
#: All but the tab, which may separate words as YAML has it.
_LIKE_SPACES = "\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff"
_BREAK = "\n\r\x85\u2028\u2029"

_INDENTATION = re.compile(rf"[ ]*([\t{_LIKE_SPACES}])")
#: Where such a character makes text of what was meant as structure: at the beginning, behind the
#: dash of a list or the colon of a key, and in the indentation of a further line.
_STRUCTURE = re.compile(
    rf"([{_LIKE_SPACES}])|-([{_LIKE_SPACES}])|[\w.-]+:([{_LIKE_SPACES}])|"
    rf".*?[{_BREAK}][ \t]*([{_LIKE_SPACES}])",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class FoundSpace:
    """One such character.

    Attributes:
        offset: Characters from the start of what was searched.
        message: The sentence for a person.
    """

    offset: int
    message: str


def space_in_indentation(line: str) -> FoundSpace | None:
    """Find a tab, or what looks like a space, in the indentation of a line."""
    match = _INDENTATION.match(line)
    if match is None:
        return None
    what = f"{_name(match[1])} in the indentation: YAML indents with spaces"
    return FoundSpace(match.start(1), what)


def space_in_scalar(text: str, *, start: int = 0) -> FoundSpace | None:
    """Find what looks like a space where an unquoted text was meant as structure.

    Args:
        text: The text as it stands in the file.
        start: Characters before it that are not part of it.
    """
    if text.isascii():
        return None
    match = _STRUCTURE.match(text, start)
    if match is None:
        return None
    group = match.lastindex or 1
    what = f"{_name(match[group])}, which YAML takes for part of the text"
    return FoundSpace(match.start(group), what)


def _name(char: str) -> str:
    return _NAMES.get(char, "an unusual space") + f" (U+{ord(char):04X})"
