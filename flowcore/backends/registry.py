"""The registry of backends.

In: names and classes, from code or from the entry points ``flowcore.backends``. Out: backends.
Built-in backends come through the same entry points as third parties' do.
"""

import json
from functools import cache
from importlib.resources import files
from inspect import isclass
from typing import Any, ClassVar

from flowcore.assembly.engines import installed_backends
from flowcore.backends.base import BaseBackend
from flowcore.errors import BackendError, PlannedBackendError, UnknownBackendError, UsageError

__all__ = ["BackendRegistry"]

_FIRST = "native"

_PLANNED = {
    "langgraph": "the LangGraph backend is planned",
    "crewai": "the CrewAI backend is planned",
}


class BackendRegistry:
    """All backends of this installation, by name."""

    _registered: ClassVar[dict[str, type[Any]]] = {}
    _default: ClassVar[str] = _FIRST

    @classmethod
    def create(cls, name: str | None = None, /, **options: Any) -> Any:
        """Make a backend.

        Args:
            name: Its name; the default backend when left out.
            options: Handed to the backend as its config.

        Raises:
            UnknownBackendError: No backend has this name.
            PlannedBackendError: The backend is announced but not in this release.
            BackendError: The backend is installed but cannot be loaded, or refuses its options.
        """
        return cls._load(name or cls._default)(options or None)

    @classmethod
    def register(cls, name: str, backend_class: type[Any]) -> None:
        """Add a backend, or replace the one of this name."""
        if not name.isidentifier():
            msg = f"a backend's name is an identifier such as 'custom', got {name!r}"
            raise UsageError(msg)
        if not isclass(backend_class):
            msg = f"register(name=..., backend_class=...) takes a class, got {backend_class!r}"
            raise UsageError(msg)
        cls._registered[name] = backend_class

    @classmethod
    def unregister(cls, name: str) -> None:
        """Take back what ``register`` added; one that was never added is no error."""
        cls._registered.pop(name, None)

    @classmethod
    def list_backends(cls, *, all: bool = False) -> list[str]:  # noqa: A002  (the promised name)
        """Name the backends that ``create`` can make: native, then other installed ones.

        Args:
            all: Also those that are planned.
        """
        names = [
            *sorted(installed_backends(), key=lambda name: (name != _FIRST, name)),
            *cls._registered,
        ]
        if all:
            names += _PLANNED
        return list(dict.fromkeys(names))

    @classmethod
    def get_info(cls, name: str) -> dict[str, Any]:
        """Describe a backend: name, version, features, status.

        The features of a built-in backend are those whose every case it passes in the conformance
        suite (``scripts/conformance_matrix.py``); those of others are what they say of themselves.
        """
        if name in _PLANNED and name not in cls._registered and name not in installed_backends():
            return {"name": name, "version": None, "features": [], "status": "planned"}
        kind = cls._load(name)
        return {
            "name": name,
            "version": getattr(kind, "version", "0.1.0"),
            "features": cls._features(name, kind),
            "status": getattr(kind, "status", "experimental"),
        }

    @classmethod
    def set_default(cls, name: str) -> None:
        """Choose the backend that ``create()`` makes when no name is given."""
        cls._load(name)
        cls._default = name

    @classmethod
    def get_default(cls) -> str:
        """Name the default backend."""
        return cls._default

    @classmethod
    def _features(cls, name: str, kind: type[Any]) -> list[str]:
        proven = None if name in cls._registered else _conformance().get(name)
        if proven is None:
            return [str(feature) for feature in getattr(kind, "features", ())]
        return [feature for feature, outcome in proven["features"].items() if outcome == "passed"]

    @classmethod
    def _load(cls, name: str) -> type[Any]:
        if name in cls._registered:
            return cls._registered[name]
        point = installed_backends().get(name)
        if point is None:
            known = ", ".join(cls.list_backends())
            if name in _PLANNED:
                msg = f"{_PLANNED[name]} and not in this release; available: {known}"
                raise PlannedBackendError(msg)
            msg = f"no backend is called {name!r}; available: {known}"
            raise UnknownBackendError(msg)
        try:
            kind: type[BaseBackend] = point.load()
        except ImportError as error:
            msg = f"backend {name!r} cannot be loaded: {error}; try pip install 'flowcore[{name}]'"
            raise BackendError(msg) from error
        return kind


@cache
def _conformance() -> dict[str, Any]:
    """Conformance results of the built-in backends, by name."""
    found: dict[str, Any] = json.loads(
        files("flowcore.backends").joinpath("conformance.json").read_text("utf-8")
    )
    return found
