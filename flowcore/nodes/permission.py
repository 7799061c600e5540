"""The permission to name a callable in a definition.

In: a module's name, or a callable. Out: nothing, or why it may not be named and what allows it.
Not here: finding callables (resolve), origins of modules (origin).

A callable may be named if its module

- is the user's own: neither of Python's standard library nor an installed package; or
- is below a prefix that ``FLOWCORE_ALLOWED_MODULES`` lists; or
- is below a prefix that an installed distribution declares, by an entry point of the group
  ``flowcore.nodes``.

Where a list is given to a check, that list is all that may be named.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from types import FunctionType, MethodType
from typing import Any

from flowcore.nodes.origin import Origin, forget_origins, namesake_of, origin_of

__all__ = ["GROUP", "SETTING", "Permission", "Refusal", "home_of", "way_out"]

SETTING = "FLOWCORE_ALLOWED_MODULES"
GROUP = "flowcore.nodes"

#: Nodes of flowcore's own, for benchmarks and tests.
_OURS = frozenset({"flowcore.bench.nodes", "flowcore.testing.nodes"})
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: Functions inside each other's decorators; longer chains are circles.
_MOST_WRAPPERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A module that may not be named.

    Attributes:
        module: Its name.
        why: The rest of a sentence that begins with it.
        way_out: What allows it.
    """

    module: str
    why: str
    way_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """The modules whose callables may be named.

    Attributes:
        only: Prefixes; None: the rule above.
        also: Prefixes beside it.
    """

    only: frozenset[str] | None = None
    also: frozenset[str] = frozenset()

    @classmethod
    def current(cls) -> "Permission":
        """The rule, with the prefixes that this process lists."""
        return _current(os.environ.get(SETTING, ""))

    @classmethod
    def of(cls, only: Iterable[str] | None) -> "Permission":
        """The modules of a list, and no others; without one, the current rule."""
        return cls.current() if only is None else cls(only=frozenset(only))

    def refusal(self, module: str, *, is_loaded: bool = False) -> Refusal | None:
        """Find why a module may not be named; None if it may.

        Args:
            module: Its name.
            is_loaded: Something has come out of it, so it has to be there.
        """
        if self.only is not None:
            if _is_under(module, self.only):
                return None
            listed = ", ".join(sorted(self.only)) or "none"
            hint = f"allowed here: {listed}; wrap it in a function of such a module"
            return Refusal(module=module, why="is not one of the allowed modules", way_out=hint)
        origin = Origin.OWN if _is_under(module, self.also) else origin_of(module)
        if origin is Origin.OWN or (origin is Origin.MISSING and not is_loaded):
            return None
        # Last, for it reads what all distributions say.
        if _is_under(module, _declared()):
            return None
        file = namesake_of(module) if origin is Origin.STANDARD else None
        if file is None:
            return Refusal(module=module, why=origin.value, way_out=way_out(module))
        why = f"is a module of Python's standard library, whose name your {file} has"
        return Refusal(module=module, why=why, way_out="rename that file")

    def refusal_of(self, found: Any) -> Refusal | None:
        """Find why a callable may not be called, whatever name has led to it."""
        refusal = self.refusal(home_of(found), is_loaded=True)
        if refusal is not None:
            return refusal
        written = [self.refusal(name, is_loaded=True) for name in _written_in(found)]
        # A decorator of somebody else's around the user's own function is fine.
        return next((one for one in written if one), None) if all(written) else None


@cache
def _current(listed: str) -> Permission:
    return Permission(also=_listed(listed) | _OURS)


def forget() -> None:
    """Forget what is installed."""
    _declared.cache_clear()
    forget_origins()


def way_out(module: str) -> str:
    """Write both lines that allow a module: for ``pyproject.toml``, and for the environment."""
    key = module if _BARE_KEY.fullmatch(module) else f'"{module}"'
    listed = sorted(_listed(os.environ.get(SETTING, "")))
    return (
        "wrap it in a function of your own; or allow it, in pyproject.toml below "
        f'[project.entry-points."{GROUP}"]: {key} = "{module}", '
        f"or in the environment: {SETTING}={','.join([*listed, module])}"
    )


def home_of(found: Any) -> str:
    """Find the module that a callable says it comes from, inside what only wraps its call."""
    found = _inside(found)
    home = getattr(found, "__module__", None)
    if isinstance(home, str):
        return home
    # A method of a built-in type, such as the ``pop`` of a dict.
    return type(getattr(found, "__self__", found)).__module__


def _inside(found: Any) -> Any:
    for _ in range(_MOST_WRAPPERS):
        if isinstance(found, partial):
            found = found.func
        elif isinstance(found, MethodType):
            found = found.__func__
        elif (agent := getattr(type(found), "__flowcore_agent__", None)) is not None:
            found = agent(found)
        else:
            break
    return found


def _written_in(found: Any) -> Iterator[str]:
    """The modules whose text holds a function, and those of the functions that it decorates."""
    found = _inside(found)
    for _ in range(_MOST_WRAPPERS):
        if isinstance(found, FunctionType):
            name = found.__globals__.get("__name__")
            if isinstance(name, str):
                yield name
        found = _inside(getattr(found, "__dict__", {}).get("__wrapped__"))
        if found is None:
            break


def _is_under(module: str, prefixes: Iterable[str]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def _listed(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


@cache
def _declared() -> frozenset[str]:
    """The prefixes that installed distributions declare."""
    try:
        values = [point.value for point in entry_points(group=GROUP)]
    except Exception:  # noqa: BLE001  (one distribution whose metadata is broken)
        return frozenset()
    return frozenset(value.partition(":")[0].strip() for value in values)
