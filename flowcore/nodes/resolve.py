"""Turn a node's `uses` into something to call.

In: ``module:callable``, ``celery:TASK`` or the name of a built-in type. Out: Resolved.
Not here: calling it (engine), which modules may be named (permission).

What may be named: built-in types; what ``permission`` allows; and marked callables (``@node``, an
agent) in modules that are imported already. No other module is imported, not even to look for a
mark.

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
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from flowcore.errors import ResolveError
from flowcore.nodes.origin import Origin, origin_of_file
from flowcore.nodes.permission import Permission, Refusal
from flowcore.nodes.permission import forget as forget_installed
from flowcore.nodes.types.builtin import BUILTIN, PLANNED
from flowcore.nodes.types.celery_task import PREFIX, celery_node

__all__ = [
    "MARKER",
    "PlannedNodeError",
    "RefusedError",
    "Resolved",
    "UnresolvedError",
    "being_imported",
    "forget",
    "importing",
    "is_mock",
    "named_object",
    "resolve",
    "resolving_afresh",
    "split_reference",
    "where_raised",
]

#: Attribute that marks a registered node; its value describes the node.
MARKER = "__flowcore__"

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
    """The target of `uses`.

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


def resolve(uses: str, *, allowed: Iterable[str] | None = None) -> Resolved:
    """Find what a node's `uses` names.

    Args:
        uses: ``module:callable``, ``module:object.method`` or the name of a built-in type.
        allowed: Module prefixes, such as ``acme.nodes``, if nothing else may be named; None: what
            ``permission`` allows.

    Returns:
        What to call. Answers are remembered, also that there is no such thing; a refusal and an
        import in which user code raised are not.

    Raises:
        ResolveError: It names nothing that can be called, or something that is not allowed.
    """
    find = _resolve.__wrapped__ if _afresh.get() else _resolve
    answer = find(uses, Permission.of(allowed))
    if isinstance(answer, UnresolvedError):
        raise answer.with_traceback(None)
    return answer


def named_object(name: str) -> Any:
    """Find what ``module:object`` names, callable or not, under the same rule.

    Raises:
        ResolveError: There is no such thing, or it is not allowed.
    """
    permission = Permission.current()
    module, attributes = split_reference(name)
    if (refusal := permission.refusal(module)) is not None:
        raise _refused(name, refusal)
    found = _follow(_import(module), attributes, name)
    if (refusal := permission.refusal_of(found)) is not None:
        raise _refused(name, refusal)
    return found


_afresh: ContextVar[bool] = ContextVar("flowcore_afresh", default=False)


@contextmanager
def resolving_afresh() -> Iterator[None]:
    """Look each name up anew inside, for tests that put something else in a function's place.

    Mocks may be called there, too: their own module is Python's.
    """
    token = _afresh.set(True)
    try:
        yield
    finally:
        _afresh.reset(token)


def forget() -> None:
    """Forget all answers, as after code was reloaded or installed."""
    _resolve.cache_clear()
    forget_installed()


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
def _resolve(uses: str, permission: Permission) -> Resolved | UnresolvedError:
    if uses.startswith(PREFIX):
        return _task(uses, permission)
    if uses in BUILTIN:
        return Resolved(uses=uses, function=BUILTIN[uses], builtin=True)
    try:
        return _reference(uses, permission)
    except (_ImportRaisedError, RefusedError):
        raise
    except UnresolvedError as error:
        return error


def _task(uses: str, permission: Permission) -> Resolved | UnresolvedError:
    """A Celery task, by its name: whether there is one shows when it is called."""
    name = uses.removeprefix(PREFIX)
    if not _TASK_NAME.fullmatch(name):
        hint = "write celery: and the task's name, such as celery:proj.tasks.add"
        return UnresolvedError(f"'{name}' is not the name of a Celery task", hint)
    if name.startswith(("celery.", "flowcore.")):
        why = f"'{uses}' is not allowed: the task is not yours"
        return RefusedError(why, "name a task of your own")
    # Only what a worker has registered runs: no module is named by it.
    module = name.rpartition(".")[0] or name
    refusal = permission.refusal(module) if permission.only is not None else None
    if refusal is not None:
        raise _refused(uses, refusal)
    return Resolved(uses=uses, function=celery_node(uses))


def _reference(uses: str, permission: Permission) -> Resolved:
    module_name, attributes = split_reference(uses)
    refusal = permission.refusal(module_name)
    # A module that is not allowed is never imported, but a marked callable may live in one
    # that already is.
    module = _import(module_name) if refusal is None else sys.modules.get(module_name)
    if module is None:
        raise _refused(uses, refusal)
    try:
        return _found(module, attributes, uses, permission, refusal)
    except (UnresolvedError, KeyboardInterrupt):
        raise
    except BaseException as error:
        # Attributes are code, too: a module's __getattr__, a property, a proxy.
        last = traceback.format_exception_only(error)[-1].strip()
        why = f"looking for '{uses}' raised {last}"
        raise _ImportRaisedError(why, f"see {where_raised(error)}") from error


def _found(
    module: ModuleType,
    attributes: list[str],
    uses: str,
    permission: Permission,
    refusal: Refusal | None,
) -> Resolved:
    try:
        found = _follow(module, attributes, uses)
    except UnresolvedError:
        if refusal is None:
            raise
        raise _refused(uses, refusal) from None
    if refusal is None and not callable(found):
        raise UnresolvedError(f"'{uses}' is {_article(found)}, which cannot be called")
    spec = _spec(found)
    if spec is None and not _is_agent(found) and not (_afresh.get() and is_mock(found)):
        refusal = refusal or permission.refusal_of(found)
        if refusal is not None:
            raise _refused(uses, refusal)
    return Resolved(uses=uses, function=found, spec=spec)


def split_reference(uses: str) -> tuple[str, list[str]]:
    """Take ``module:object.method`` apart.

    Raises:
        UnresolvedError: It has another form.
    """
    match = _REFERENCE.fullmatch(uses)
    if match is None:
        raise _malformed(uses)
    return match[1], match[2].split(".")


def _refused(uses: str, refusal: Refusal | None) -> RefusedError:
    if refusal is None:
        return RefusedError(f"'{uses}' is not allowed")
    why = f"'{uses}' is not allowed: '{refusal.module}' {refusal.why}"
    return RefusedError(why, refusal.way_out)


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
    where = f"see {where_raised(error)}"
    if isinstance(error, SystemExit):
        where += '; what a script does belongs under if __name__ == "__main__":'
    return _ImportRaisedError(f"importing '{name}' raised {last}", where)


def where_raised(error: BaseException) -> str:
    """Name the file and line to look at after an import has raised."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    # A refusal of our own is about the line that called us.
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    # A library may have raised, or Python itself: the line of the user's that led there.
    own = [frame for frame in theirs if origin_of_file(frame.filename) is Origin.OWN]
    last = (own or theirs or frames)[-1]
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


def _spec(found: Any) -> object:
    """Return the spec that ``@node`` attached to this very object; ``__getattr__`` is not asked."""
    attached = getattr(found, "__dict__", {}).get(MARKER)
    return attached if attached is not None else getattr(type(found), MARKER, None)


def _is_agent(found: Any) -> bool:
    return hasattr(type(found), "__flowcore_agent__")


def is_mock(found: Any) -> bool:
    """Return whether a callable is a mock of ``unittest.mock``, or a stand-in for one."""
    mock = sys.modules.get("unittest.mock")
    stands_for = getattr(found, "__dict__", {}).get("mock", found)
    return mock is not None and isinstance(stands_for, mock.NonCallableMock)


def _article(found: Any) -> str:
    name = type(found).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
