"""Collect problems while the rules run.

In: what rules find. Out: Problems. Not here: showing them (graph.diagnostic).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches

from flowcore.graph.diagnostic import CODES, Diagnostic, InvalidFlowError, describe, quote
from flowcore.graph.document import Path

__all__ = ["CODES", "Diagnostic", "InvalidFlowError", "Problems", "describe", "quote"]

#: Comparisons spent on suggestions in one check; keeps a flow of 100,000 wrong names linear.
EFFORT = 100_000
MAX_WORD = 100


@dataclass(slots=True)
class Problems:
    """The problems found so far; rules only add to it."""

    found: list[Diagnostic] = field(default_factory=list)
    _effort: int = EFFORT

    def add(  # noqa: PLR0913  (what a diagnostic is made of)
        self,
        code: str,
        message: str,
        path: Path,
        suggestion: str | None = None,
        *,
        at_key: bool = False,
        offset: int | None = None,
        quoted: float | None = None,
    ) -> None:
        """Note one problem; see ``Diagnostic`` for the arguments."""
        self.found.append(
            Diagnostic(
                code=code,
                message=message,
                path=path,
                suggestion=suggestion,
                at_key=at_key,
                offset=offset,
                quoted=quoted,
            )
        )

    def near(self, word: str, known: Collection[str]) -> str | None:
        """Suggest the known word that is most like ``word``, as a question."""
        if len(word) > MAX_WORD or self._effort < len(known):
            return None
        self._effort -= len(known)
        matches = get_close_matches(word, known, n=1)
        return f"did you mean {quote(matches[0])}?" if matches else None
