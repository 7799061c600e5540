"""Result of one check of ``flowcore doctor``.

In: nothing. Out: the class. Not here: the checks.
"""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check."""

    check: str
    status: str
    found: str
    fix: str = ""
    unreachable: bool = False

    def row(self) -> dict[str, str]:
        """Lay it out for printing."""
        return {"status": self.status, "check": self.check, "found": self.found, "fix": self.fix}
