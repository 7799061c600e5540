"""Secrets from the worker's environment, or from a directory of files.

In: settings. Out: values by name. Not here: hiding them (engine.values.redaction).

A definition may read what was put there for definitions, and nothing else: the files of
``FLOWCORE_SECRETS_DIR``, the variables that begin with ``FLOWCORE_SECRET_``, and the variables that
``FLOWCORE_SECRETS`` lists.
"""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from flowcore.errors import SecretError

__all__ = ["PREFIX", "WorkerSecrets"]

#: Variables that begin so may be read by any definition, under the name that follows.
PREFIX = "FLOWCORE_SECRET_"

#: Bytes of a secret.
_LARGEST = 64 * 2**10


class WorkerSecrets:
    """Implements ``SecretSource``."""

    def __init__(
        self,
        directory: Path | None = None,
        listed: Sequence[str] = (),
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            directory: A file for each secret, as Docker and Kubernetes mount them; read each time,
                since they may be replaced while a worker runs.
            listed: Other variables that definitions may read, or patterns such as ``STRIPE_*``.
            environ: The environment.
        """
        self._directory = directory
        self._listed = tuple(listed)
        self._environ = os.environ if environ is None else environ

    def value(self, name: str) -> str:
        """Return a secret's value: of its file, else of its variable."""
        path = self._directory / name if self._directory is not None else None
        if path is not None and path.is_file():
            return _bounded(_read(path, name), name)
        for variable in self._variables(name):
            if variable in self._environ:
                return _bounded(self._environ[variable], name)
        raise SecretError(self._missing(name))

    def names(self) -> list[str]:
        """Return the names of all secrets that there are."""
        found = {
            variable.removeprefix(PREFIX)
            for variable in self._environ
            if variable.startswith(PREFIX) and variable != PREFIX
        }
        found |= {name for name in self._environ if self._is_listed(name)}
        if self._directory is not None and self._directory.is_dir():
            found |= {path.name for path in self._directory.iterdir() if path.is_file()}
        return sorted(found)

    def _variables(self, name: str) -> list[str]:
        """The variables that may hold a secret."""
        return [f"{PREFIX}{name}", *([name] if self._is_listed(name) else [])]

    def _is_listed(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._listed)

    def _missing(self, name: str) -> str:
        near = get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        ways = [f"set {PREFIX}{name} in its environment"]
        if self._directory is not None:
            ways.append(f"put a file {name!r} into {self._directory}")
        if name in self._environ:
            ways.append(f"list {name!r}, which is a variable there, in FLOWCORE_SECRETS")
        return f"this worker has no secret {name!r}; {hint}{', or '.join(ways)}"


def _read(path: Path, name: str) -> str:
    """The text of a file, without the line's end that editors add."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 2).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SecretError(f"secret {name!r} cannot be read from {path}: {why}") from None
    return text.removesuffix("\n").removesuffix("\r")


def _bounded(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SecretError(f"secret {name!r} is not UTF-8 text") from None
    if len(text) > _LARGEST:
        raise SecretError(f"secret {name!r} is longer than {_LARGEST:,} characters")
    return text
