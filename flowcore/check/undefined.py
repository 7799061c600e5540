"""Say that an expression reads a name that nothing has, and what was probably meant.

In: a name, where it stands, the names that there are. Out: a problem. Not here: finding such names
(rules.expressions).
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.expr.template import Dashed
from flowcore.graph.document import Path

__all__ = ["Undefined"]

#: What people write who think of Python or of YAML.
_SPELLINGS: Mapping[str, str] = {
    "True": "write true",
    "False": "write false",
    "None": "write null",
    "nil": "write null",
    "yes": "write true",
    "no": "write false",
}


class Name(Protocol):
    """A name that is read."""

    @property
    def name(self) -> str:
        """The name."""
        ...

    @property
    def offset(self) -> int:
        """Offset in the text."""
        ...

    @property
    def dashed(self) -> Dashed | None:
        """The word with hyphens that it stands in."""
        ...


class Undefined:
    """Notes names that are not defined: those of one word with hyphens once."""

    def __init__(self, draft: Draft) -> None:
        """Note them in a draft."""
        self._draft = draft
        self._noted: set[tuple[Path, str, int]] = set()

    def note(self, read: Name, path: Path, known: Collection[str]) -> None:
        """Note one.

        Args:
            read: The name.
            path: Where the text with it stands.
            known: The names that there are.
        """
        what = f"node {quote(read.name)} is not defined"
        hint = _SPELLINGS.get(read.name) or self._draft.problems.near(read.name, known)
        if path[-1] == "if" and read.name in {"item", "index"}:
            hint = "'if' is of the whole map: filter its list, as list.filter(x, x > 1)"
        dashed = read.dashed
        if dashed is not None and (dashed.is_key or dashed.word in known):
            if (place := (path, dashed.word, dashed.start)) in self._noted:
                return
            self._noted.add(place)
            what = f"{quote(dashed.word)} is read as {' minus '.join(dashed.word.split('-'))}"
            hint = f'write nodes["{dashed.word}"]'
            if dashed.is_key:
                hint = f'write ["{dashed.word}"] in place of .{dashed.word}'
        self._draft.problems.add("FC203", what, path, hint, offset=read.offset)
