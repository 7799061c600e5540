"""Turn a node's `uses` into something to call.

In: ``module:callable`` or the name of a built-in type, and the modules that are allowed.
Out: Resolved. Not here: calling it (engine), where the allowed modules are configured (assembly).

What may be named:

- built-in types and registered nodes (what ``@node`` made), always;
- without ``allowed``: any module outside Python's standard library;
- with ``allowed``: the listed modules and what is below them, and nothing else. No other module
  is even imported; of those, only registered nodes in modules already imported are found.

A name may not lead out of what is allowed either: ``acme.web:os.system`` and
``from subprocess import run`` in ``acme.web`` are refused by where the function lives.
"""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from flowcore.errors import ResolveError
from flowcore.nodes.builtin import BUILTIN, PLANNED
from flowcore.nodes.celery_task import PREFIX, celery_node

__all__ = [
    "MARKER",
    "PlannedNodeError",
    "RefusedError",
    "Resolved",
    "UnresolvedError",
    "being_imported",
    "forget",
    "importing",
    "resolve",
    "where_raised",
]

#: Attribute that marks a registered node; its value describes the node.
MARKER = "__flowcore__"
SETTING = "FLOWCORE_ALLOWED_MODULES"

_OURS = str(Path(__file__).parents[1]) + os.sep

_TASK_NAME = re.compile(r"[\w.\-:]{1,200}")
_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"({_NAME}):({_NAME})")


class UnresolvedError(ResolveError):
    """`uses` names nothing that can be called.

    Attributes:
        reason: What is wrong.
        suggestion: The way out, if there is a short one.
    """

    def __init__(self, reason: str, suggestion: str | None = None) -> None:
        """Keep the reason and the suggestion apart."""
        self.reason, self.suggestion = reason, suggestion
        super().__init__(f"{reason} ({suggestion})" if suggestion else reason)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.suggestion)


class RefusedError(UnresolvedError):
    """`uses` names something that may not be called from a definition."""


class PlannedNodeError(UnresolvedError):
    """`uses` names a type that a later release will have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What `uses` stands for.

    Attributes:
        uses: The name.
        function: What to call; sync or async.
        builtin: It is a built-in type.
        spec: What ``@node`` attached, or None.
    """

    uses: str
    function: Callable[..., Any]
    builtin: bool = False
    spec: object = None


def resolve(uses: str, *, allowed: Iterable[str] = ()) -> Resolved:
    """Find what a node's `uses` names.

    Args:
        uses: ``module:callable``, ``module:object.method`` or the name of a built-in type.
        allowed: Module prefixes, such as ``acme.nodes``; empty allows all modules outside the
            standard library.

    Returns:
        What to call. Answers and refusals are remembered; an import in which user code raised
        is tried again the next time.

    Raises:
        ResolveError: It names nothing that can be called, or something that is not allowed.
    """
    answer = _resolve(uses, frozenset(allowed))
    if isinstance(answer, UnresolvedError):
        raise answer.with_traceback(None)
    return answer


def forget() -> None:
    """Forget all answers, as after code was reloaded."""
    _resolve.cache_clear()


_importing: ContextVar[str | None] = ContextVar("flowcore_importing", default=None)


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Mark what runs inside as the import of a user's module, which must not start runs."""
    token = _importing.set(module)
    try:
        yield
    finally:
        _importing.reset(token)


def being_imported() -> str | None:
    """Name the user's module whose import is calling; None when none is."""
    return _importing.get()


class _ImportRaisedError(UnresolvedError):
    """User code raised while it was imported."""


@lru_cache(maxsize=16384)
def _resolve(uses: str, allowed: frozenset[str]) -> Resolved | UnresolvedError:
    if uses.startswith(PREFIX):
        return _task(uses, allowed)
    if uses in BUILTIN:
        return Resolved(uses=uses, function=BUILTIN[uses], builtin=True)
    try:
        return _reference(uses, allowed)
    except _ImportRaisedError:
        raise
    except UnresolvedError as error:
        return error


def _task(uses: str, allowed: frozenset[str]) -> Resolved | UnresolvedError:
    """A Celery task, by its name: whether there is one shows when it is called."""
    name = uses.removeprefix(PREFIX)
    if not _TASK_NAME.fullmatch(name):
        hint = "write celery: and the task's name, such as celery:proj.tasks.add"
        return UnresolvedError(f"'{name}' is no name of a Celery task", hint)
    module = name.rpartition(".")[0] or name
    if (allowed and not _is_permitted(module, allowed)) or name.startswith(
        ("celery.", "flowcore.")
    ):
        why = f"'{uses}' is not allowed: '{module}' is not one of the allowed modules"
        return RefusedError(why, f"list it in {SETTING}")
    return Resolved(uses=uses, function=celery_node(uses))


def _reference(uses: str, allowed: frozenset[str]) -> Resolved:
    match = _REFERENCE.fullmatch(uses)
    if match is None:
        raise _malformed(uses)
    module_name, attributes = match[1], match[2].split(".")
    permitted = _is_permitted(module_name, allowed)
    # A module that is not allowed is never imported, but a registered node may live in one
    # that already is.
    module = _import(module_name) if permitted else sys.modules.get(module_name)
    if module is None:
        raise _refused(uses, module_name, allowed)
    try:
        found = _follow(module, attributes, uses)
    except UnresolvedError:
        if permitted:
            raise
        raise _refused(uses, module_name, allowed) from None
    if permitted and not callable(found):
        raise UnresolvedError(f"'{uses}' is {_article(found)}, which cannot be called")
    spec = _spec(found)
    if spec is None and not (permitted and _is_permitted(_home(found), allowed)):
        raise _refused(uses, _home(found) if permitted else module_name, allowed)
    return Resolved(uses=uses, function=found, spec=spec)


def _is_permitted(module: str, allowed: frozenset[str]) -> bool:
    if allowed:
        return any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed)
    return module.partition(".")[0] not in sys.stdlib_module_names


def _refused(uses: str, module: str, allowed: frozenset[str]) -> RefusedError:
    if allowed or module.partition(".")[0] not in sys.stdlib_module_names:
        why = f"'{uses}' is not allowed: '{module}' is not one of the allowed modules"
    else:
        why = f"'{uses}' is not allowed: '{module}' belongs to Python's standard library"
    return RefusedError(why, f"wrap it in a function of your own, or list it in {SETTING}")


def _malformed(uses: str) -> UnresolvedError:
    if uses in PLANNED:
        return PlannedNodeError(f"node type '{uses}' is planned, not in this release")
    reason = f"'{uses}' is neither a built-in node type nor of the form 'module:callable'"
    near = get_close_matches(uses, BUILTIN, n=1)
    if near:
        return UnresolvedError(reason, f"did you mean '{near[0]}'?")
    if re.fullmatch(_NAME, uses) and "." in uses:
        return UnresolvedError(reason, f"did you mean '{':'.join(uses.rsplit('.', 1))}'?")
    return UnresolvedError(reason)


def _import(name: str) -> ModuleType:
    try:
        with importing(name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Missing itself, or something that it imports?
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = "is its directory on PYTHONPATH?"
            raise UnresolvedError(f"there is no module '{error.name}'", hint) from None
        raise _raised(name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # A script that calls sys.exit() as well: it must end neither a worker nor 'validate'.
        raise _raised(name, error) from error


def _raised(name: str, error: BaseException) -> _ImportRaisedError:
    last = traceback.format_exception_only(error)[-1].strip()
    return _ImportRaisedError(f"importing '{name}' raised {last}", f"see {where_raised(error)}")


def where_raised(error: BaseException) -> str:
    """Name the file and line to look at after an import has raised."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    # A refusal of our own is about the line that called us.
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    last = (theirs or frames)[-1]
    return f"{last.filename}, line {last.lineno}"


def _follow(module: ModuleType, attributes: list[str], uses: str) -> Any:
    found: Any = module
    for name in attributes:
        if name.startswith("__"):
            raise RefusedError(f"'{uses}' is not allowed: '{name}' is internal to Python")
        # A module inside a module leads out of what is allowed.
        inside = found
        found = getattr(inside, name, _MISSING)
        if found is _MISSING:
            raise _no_attribute(inside, name, uses)
        if isinstance(found, ModuleType):
            raise RefusedError(f"'{uses}' is not allowed: '{name}' is a module")
    return found


_MISSING = object()


def _no_attribute(inside: Any, name: str, uses: str) -> UnresolvedError:
    where = f"module '{inside.__name__}'" if isinstance(inside, ModuleType) else f"'{uses}'"
    names = [other for other in dir(inside) if not other.startswith("_")]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else None
    return UnresolvedError(f"{where} has no '{name}'", hint)


def _home(found: Any) -> str:
    """The module that a callable really comes from."""
    while isinstance(found, partial):
        found = found.func
    home = getattr(found, "__module__", None)
    if isinstance(home, str):
        return home
    # A method of a built-in type, such as the ``pop`` of a dict.
    return type(getattr(found, "__self__", found)).__module__


def _spec(found: Any) -> object:
    """What ``@node`` attached to this very object; not what ``__getattr__`` makes up."""
    attached = getattr(found, "__dict__", {}).get(MARKER)
    return attached if attached is not None else getattr(type(found), MARKER, None)


def _article(found: Any) -> str:
    name = type(found).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
