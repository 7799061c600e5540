"""Lists of stored things, some of which may be damaged.

In: entries of a store. Out: those that can be read, and the names of the others. Not here: what an
entry looks like (stores), and what people are told of damaged ones (cli).

A list is read to see what is there, often because something is wrong. One entry that another
program, another release or a broken disk has left must not hide all others.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from flowcore.errors import (
    FlowcoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    VersionMismatchError,
)

__all__ = ["Listing", "text_of"]

_T = TypeVar("_T")

_MOST_WORDS = 200

#: Troubles of a server or of a release, which no entry is to blame for.
_NOT_ITS_OWN = (StoreUnreachableError, StoreFullError, StoreRefusedError, VersionMismatchError)


class Listing(list[_T]):
    """A list of the entries that can be read."""

    unreadable: dict[str, str]
    """Entries that cannot be read, and why, by name."""
    left_out: int = 0
    """Entries that a version of another wire number has stored."""

    def __init__(
        self, entries: Iterable[_T] = (), *, unreadable: Mapping[str, str] | None = None
    ) -> None:
        """Hold these entries."""
        super().__init__(entries)
        self.unreadable = dict(unreadable or {})

    @contextmanager
    def reading(self, name: str | bytes) -> Iterator[None]:
        """Note whatever the block raises as a damage of the entry called ``name``."""
        try:
            yield
        except _NOT_ITS_OWN:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the other entries are read)
            text = " ".join(str(error).split())[:_MOST_WORDS]
            own = isinstance(error, FlowcoreError)
            self.unreadable[text_of(name)] = text if own else f"{type(error).__name__}: {text}"

    def warning(self, what: str) -> str | None:
        """Say how many entries cannot be read, and which; None if all can.

        Args:
            what: Names the entries, in the plural.
        """
        if not self.unreadable:
            return None
        shown = [f"{name!r} ({why})" for name, why in sorted(self.unreadable.items())[:3]]
        more = ", …" if len(self.unreadable) > len(shown) else ""
        return f"{len(self.unreadable)} {what} cannot be read: {', '.join(shown)}{more}"


def text_of(name: str | bytes) -> str:
    """Return a name as text, whatever its bytes."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
