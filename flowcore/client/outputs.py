"""The outputs of a run, as a dict that fetches large values when they are read.

In: blobs by node. Out: values by node. Not here: which values are large (engine.values.payloads).
"""

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from typing import Any

from flowcore.run.reference import Reference, shown

__all__ = ["Outputs", "PayloadRef"]


@dataclass(frozen=True, slots=True)
class PayloadRef:
    """Stands for a value that has not been fetched yet."""

    reference: Reference
    fetch: Callable[[], Any]

    def __repr__(self) -> str:
        return f"<payload of {self.reference.size:,} bytes>"


class Outputs(dict[str, Any]):
    """Values by node; a dict in every way, whose large values come when they are asked for.

    Asking for all of them (``items()``, ``==``, ``json.dumps``) fetches all of them; ``repr`` and
    ``with_references`` fetch none.
    """

    def __init__(self, values: Any = ()) -> None:
        """Take values by node, some of them ``PayloadRef``."""
        super().__init__(values)
        kept = dict.items(self)
        self._large = {key: v.reference for key, v in kept if isinstance(v, PayloadRef)}

    def with_references(self) -> dict[str, Any]:
        """Return the values, with size and hash in place of the large ones."""
        large = {key: shown(reference) for key, reference in self._large.items() if key in self}
        return {**dict(dict.items(self)), **large}

    def only(self, keys: Iterable[str]) -> "Outputs":
        """Return some of them, fetching none."""
        return Outputs((key, dict.__getitem__(self, key)) for key in keys if key in self)

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, PayloadRef):
            value = value.fetch()
            self[key] = value
        return value

    def __iter__(self) -> Iterator[str]:
        # Python copies a dict without a look at its methods, unless it iterates in its own way.
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or ``default``."""
        if key not in self:
            return default
        return self[key]

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # dict's own view type
        """Fetch everything."""
        return self._whole().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # dict's own view type
        """Fetch everything."""
        return self._whole().values()

    def copy(self) -> dict[str, Any]:
        """Fetch everything into a plain dict."""
        return dict(self._whole())

    def pop(self, key: str, *default: Any) -> Any:
        """Fetch a value and take it out."""
        if key in self:
            _ = self[key]
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Fetch the last value and take it out."""
        key = next(reversed(self))
        return key, self.pop(key)

    def __eq__(self, other: object) -> bool:
        return bool(self._whole() == other)

    __hash__ = None  # like any dict

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**self.copy(), **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**other, **self.copy()}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)

    def _whole(self) -> dict[str, Any]:
        return {key: self[key] for key in list(self)}
