"""The engines of this installation, as the metadata of packages describe them.

In: nothing. Out: entry points and versions of backends. Not here: loading them (backends).
"""

from contextlib import suppress
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

__all__ = ["engine_versions", "installed_backends"]


_GROUP = "flowcore.backends"


#: Whose package does a backend's work; a third party's is its own.
_VENDORS = {
    "native": "celery",
    "a2a": "flowcore",
    "langgraph": "langgraph",
    "crewai": "crewai",
}


def engine_versions() -> dict[str, str]:
    """Name the backends of this installation whose vendor's package is there, with its version.

    Nothing is imported: what the packages' metadata say is enough.
    """
    found = {}
    for name, point in installed_backends().items():
        vendor = _VENDORS.get(name) or (point.dist.name if point.dist is not None else name)
        with suppress(PackageNotFoundError):
            found[name] = version(vendor)
    return found


def installed_backends() -> dict[str, EntryPoint]:
    """Return the entry points of all backends, by name."""
    return {point.name: point for point in entry_points(group=_GROUP)}
