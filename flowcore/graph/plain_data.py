"""Plain trees: any value made of mappings, lists and scalars becomes JSON values only.

In: what JSON or Python gave. Out: a tree that JSON and msgpack can both hold, and the problems
found on the way. Not here: files and positions (load).
"""

import math
from collections.abc import Mapping

from flowcore.graph.diagnostic import Diagnostic, quote
from flowcore.graph.document import Limits, Path
from flowcore.types import Json

__all__ = ["INT_RANGE", "NO_BOUND", "Plain"]

INT_RANGE = range(-(2**63), 2**64)
#: What to write instead of a number beyond the largest.
NO_BOUND = "the largest number is about 1.8e308: leave out a bound that is to be none"


class Plain:
    """Copies a tree, noting what cannot be kept.

    Attributes:
        problems: What was found, in the order of the tree.
    """

    def __init__(self, limits: Limits) -> None:
        """Start with nothing found."""
        self.problems: list[Diagnostic] = []
        self._limits = limits
        # Shared lists in Python can unfold without end (the billion laughs), so values are counted.
        self._left = limits.values

    def copy(self, value: object, path: Path = ()) -> Json:
        """Copy one value; what cannot be kept becomes None and a problem."""
        self._left -= 1
        if isinstance(value, str):
            return self._text(value, path)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Mapping | list | tuple):
            return self._container(value, path)
        if isinstance(value, int):
            return self._int(value, path)
        if isinstance(value, float):
            return self._float(value, path)
        return self._note("FC220", f"a value of type {type(value).__name__} has no JSON form", path)

    def _container(
        self, value: Mapping[object, object] | list[object] | tuple[object, ...], path: Path
    ) -> Json:
        if len(path) >= self._limits.depth:
            return self._limit(f"nested deeper than {self._limits.depth} levels", path)
        if self._left < 0:
            return self._limit(f"more than {self._limits.values:,} values", path)
        if not isinstance(value, Mapping):
            return [self.copy(item, (*path, index)) for index, item in enumerate(value)]
        plain: dict[str, Json] = {}
        for key, item in value.items():
            if isinstance(key, str):
                plain[self._text(key, path)] = self.copy(item, (*path, key))
            else:
                self._note("FC220", f"the key {quote(repr(key))} is not text", path)
        return plain

    def _text(self, value: str, path: Path) -> str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                self._note("FC220", "half of a surrogate pair is not a character", path)
                return ""
        return str(value)

    def _int(self, value: int, path: Path) -> Json:
        if value in INT_RANGE:
            return value
        return self._note("FC220", "a whole number may not exceed 64 bits", path)

    def _float(self, value: float, path: Path) -> Json:
        if math.isfinite(value):
            return value
        hint = None if math.isnan(value) else NO_BOUND
        return self._note("FC220", f"{value} is not a number that JSON can hold", path, hint)

    def _limit(self, message: str, path: Path) -> Json:
        # One such problem is enough: the rest of the tree would repeat it.
        if not any(found.code == "FC215" for found in self.problems):
            self._note("FC215", message, path)
        return None

    def _note(self, code: str, message: str, path: Path, hint: str | None = None) -> Json:
        found = Diagnostic(code=code, message=message, path=path, suggestion=hint)
        self.problems.append(found)
        return None
