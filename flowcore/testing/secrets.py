"""Secrets in a test: those that it gives.

In: names and values. Out: a source for the engine. Not here: hiding them, which the engine does as
it does on workers.
"""

from dataclasses import dataclass, field

from flowcore.errors import SecretError

__all__ = ["GivenSecrets"]


@dataclass
class GivenSecrets:
    """Implements ``SecretSource``."""

    values: dict[str, str] = field(default_factory=dict, repr=False)

    def value(self, name: str) -> str:
        """Return a secret's value."""
        if name not in self.values:
            raise SecretError(
                f"no test has said what secret {name!r} is: flows.secret({name!r}, …)"
            )
        return self.values[name]
