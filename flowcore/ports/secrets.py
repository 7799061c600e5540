"""Values of secrets, as workers have them.

In: a name that a definition reads. Out: its value. Not here: which places of a definition may read
secrets (check.rules.secrets), hiding the values afterwards (engine.values.redaction).
"""

from typing import Protocol

__all__ = ["SecretSource"]


class SecretSource(Protocol):
    """Finds secrets; asked in the worker, at each attempt of a node that reads one."""

    def value(self, name: str) -> str:
        """Return a secret's value.

        Raises:
            SecretError: There is none of this name here, it may not be read by definitions, or it
                cannot be a secret; the message never holds the value.
        """
        ...
