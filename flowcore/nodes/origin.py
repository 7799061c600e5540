"""The origin of a module: the user's own, Python's standard library, or an installed package.

In: a module's name, or the path of a file. Out: its Origin. Not here: which origins may be named
(permission). Nothing is imported: what is loaded is asked, and what is not is looked for.

A file counts by where it really is. An editable install is the user's own project, wherever it
lies; a checkout that pip has made of somebody else's (``src`` of a virtual environment), and what
``pip install --target`` has put beside the user's modules, are installed packages.
"""

import os
import site
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import distributions
from json import loads
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Origin", "forget_origins", "namesake_of", "origin_of", "origin_of_file"]


class Origin(Enum):
    """The origin of a module; the value completes a sentence about it."""

    OWN = "is the user's own"
    STANDARD = "belongs to Python's standard library"
    INSTALLED = "is an installed package"
    FLOWCORE = "is part of flowcore"
    UNKNOWN = "was made while the program runs, and no file is known of it"
    MISSING = "is not there"


_HERE = str(Path(__file__).resolve().parents[1])
_SITES = frozenset({"site-packages", "dist-packages"})
#: A parent that is as bad decides for what is below it; the first that is found is told.
_BAD = frozenset({Origin.STANDARD, Origin.INSTALLED, Origin.FLOWCORE, Origin.UNKNOWN})


def forget_origins() -> None:
    """Forget what is known of files and directories, as after something was installed."""
    origin_of_file.cache_clear()
    _installed_in.cache_clear()
    _editable_projects.cache_clear()


def origin_of(module: str) -> Origin:
    """Find the origin of a module, of the packages around it, too, whose code is run as well.

    Args:
        module: A dotted name.
    """
    path: Sequence[str] | None = None
    found = Origin.MISSING
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        loaded = sys.modules.get(name)
        spec = _said(loaded, "__spec__") or _look_for(name, path)
        if loaded is None and spec is None:
            return Origin.MISSING
        found = _of_module(name, loaded, spec)
        if found in _BAD:
            return found
        path = _said(loaded, "__path__") or getattr(spec, "submodule_search_locations", None)
    return found


def namesake_of(module: str) -> str | None:
    """Find a file of the user's own that has the name of a module of somebody else's.

    Args:
        module: A dotted name; its first part counts.
    """
    name = module.partition(".")[0]
    for place in dict.fromkeys(entry or os.getcwd() for entry in sys.path):  # noqa: PTH109
        for file in (f"{name}.py", f"{name}/__init__.py"):
            path = os.path.join(place, file)  # noqa: PTH118
            if os.path.isfile(path) and origin_of_file(path) is Origin.OWN:  # noqa: PTH113
                return path
    return None


def _said(module: ModuleType | None, name: str) -> Any:
    """Return a module's attribute; its ``__getattr__``, which makes things up, is not asked."""
    try:
        return object.__getattribute__(module, "__dict__").get(name)
    except AttributeError:
        return None


def _look_for(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Ask the finders, as an import would; a part of a package only where the package is."""
    if "." in name and path is None:
        return None
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # noqa: BLE001, S112  (somebody's finder; the next one is asked)
            continue
        if spec is not None:
            return spec
    return None


def _of_module(name: str, loaded: ModuleType | None, spec: ModuleSpec | None) -> Origin:
    origin = getattr(spec, "origin", None)
    if origin in {"built-in", "frozen"} and name != "__main__":
        return Origin.STANDARD
    file = _said(loaded, "__file__") or (origin if getattr(spec, "has_location", 0) else "")
    if isinstance(file, str) and file:
        return origin_of_file(file)
    # A namespace package has no code of its own: what is in it decides.
    if _said(loaded, "__path__") or getattr(spec, "submodule_search_locations", None):
        return Origin.OWN
    return Origin.STANDARD if name in sys.stdlib_module_names else Origin.UNKNOWN


@lru_cache(maxsize=16384)
def origin_of_file(file: str) -> Origin:
    """Find the origin of a file by its path."""
    named, real = os.path.abspath(file), os.path.realpath(file)  # noqa: PTH100
    if _is_below(real, _HERE):
        return Origin.FLOWCORE
    if _SITES.intersection(Path(real).parts) or _is_linked(named, real):
        return Origin.INSTALLED
    if any(_is_below(real, place) for place in _standard_places()):
        return Origin.STANDARD
    if any(_is_below(real, place) for place in _tool_places()) or _is_checkout(real):
        return Origin.INSTALLED
    return Origin.INSTALLED if _is_vendored(named) or _is_vendored(real) else Origin.OWN


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place + os.sep)


def _is_linked(named: str, real: str) -> bool:
    """Tell whether site-packages links to a file elsewhere that is no editable project's.

    Some installers keep packages in a cache and link to it.
    """
    if not _SITES.intersection(Path(named).parts):
        return False
    return not any(_is_below(real, place) for place in _editable_projects())


@cache
def _standard_places() -> tuple[str, ...]:
    places = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    version = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    libraries = {os.path.dirname(place) for place in places if place}  # noqa: PTH120
    zipped = {os.path.join(library, version) for library in libraries}  # noqa: PTH118
    frozen = {os.path.dirname(os.__file__)}  # noqa: PTH120
    return tuple(os.path.realpath(place) for place in (*places, *zipped, *frozen) if place)


@cache
def _tool_places() -> tuple[str, ...]:
    """Directories of commands, which are on the path while one of them runs; users' sites."""
    users = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    places = (sysconfig.get_path("scripts"), users)
    return tuple(os.path.realpath(place) for place in places if place)


def _is_checkout(real: str) -> bool:
    """Tell what ``pip install -e git+…`` has cloned: into a directory of its own in ``src``."""
    if sys.prefix == sys.base_prefix:
        return False
    source = os.path.realpath(os.path.join(sys.prefix, "src"))  # noqa: PTH118
    if not _is_below(real, source):
        return False
    inside = Path(real).relative_to(source).parts
    return bool(inside) and Path(source, inside[0], ".git").exists()


# ── what is installed beside the user's own ─────────────────────────────────────────────────────


def _is_vendored(file: str) -> bool:
    """Tell whether a distribution that lies in a directory of ``sys.path`` has this file."""
    for entry in sys.path:
        place = os.path.realpath(entry or os.getcwd())  # noqa: PTH109
        if not _is_below(file, place):
            continue
        if Path(file).relative_to(place).as_posix() in _installed_in(place):
            return True
    return False


@lru_cache(maxsize=256)
def _installed_in(place: str) -> frozenset[str]:
    """List the files that installers have put into a directory, or into an archive."""
    try:
        lines = [line for record in _records(place) for line in record.splitlines()]
    except (OSError, zipfile.BadZipFile):
        return frozenset()
    return frozenset(line.partition(",")[0].strip('"') for line in lines)


def _records(place: str) -> Iterator[str]:
    if Path(place).is_dir():
        for found in Path(place).glob("*.dist-info/RECORD"):
            about = found.with_name("direct_url.json")
            if not (about.exists() and _is_editable(about.read_text("utf-8", "replace"))):
                yield found.read_text("utf-8", "replace")
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/RECORD") and name.count("/") == 1:
                    yield archive.read(name).decode("utf-8", "replace")


@cache
def _editable_projects() -> tuple[str, ...]:
    """List the directories of projects that are installed as they lie there."""
    texts = (found.read_text("direct_url.json") for found in distributions())
    urls = [loads(text)["url"] for text in texts if text and _is_editable(text)]
    return tuple(os.path.realpath(unquote(urlsplit(url).path)) for url in urls)


def _is_editable(text: str) -> bool:
    try:
        about = loads(text)
        return str(about["url"]).startswith("file:") and bool(about["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return False
