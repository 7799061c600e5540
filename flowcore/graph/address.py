"""The address of a function: the ``module:qualname`` by which a worker finds it again.

In: a function. Out: text for ``uses``, or a UsageError that names the way out.
Not here: the way back (nodes).
"""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from flowcore.errors import UsageError

__all__ = ["address_of"]


def address_of(function: Callable[..., Any]) -> str:
    """Say where a function is found.

    Args:
        function: A function at the top level of a module, or in a class there.

    Returns:
        ``module:qualname``. In a script (``__main__``), the module's importable name: the one
        given to ``python -m``, or the file's name when its directory is first on ``sys.path``.

    Raises:
        UsageError: A worker could not import it: a lambda, a nested function, a bound method, a
            function of an interactive session, or one whose name means something else by now.
    """
    qualname = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not isinstance(qualname, str) or not isinstance(module, str):
        msg = (
            f"{function!r} has no name that a worker could import; "
            "wrap it in a function at the top level of a module"
        )
        raise UsageError(msg)
    _refuse_local(qualname)
    home = sys.modules.get(module)
    if home is not None:
        _refuse_other(function, module, qualname, home)
    return f"{_importable(qualname, home) if module == '__main__' else module}:{qualname}"


def _refuse_local(qualname: str) -> None:
    """Functions that exist only while another runs cannot be imported."""
    if qualname.endswith("<lambda>"):
        msg = "a lambda has no name that a worker could import; write it as a function with 'def'"
        raise UsageError(msg)
    if "<locals>" in qualname:
        outer, _, name = qualname.rpartition(".<locals>.")
        msg = (
            f"{name!r} is defined inside {outer!r}, where a worker cannot import it; "
            "move it to the top level of its module and pass what it needs as arguments"
        )
        raise UsageError(msg)


def _refuse_other(
    function: Callable[..., Any], module: str, qualname: str, home: ModuleType
) -> None:
    """The name must lead back to this very function."""
    found: Any = home
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if callable(found) and (found == function or _innermost(found) is _innermost(function)):
        return
    what = "is not there" if found is None else "is something else by now"
    msg = (
        f"a worker would look for {module}:{qualname}, which {what}; give the function a name "
        "of its own at the top level of its module (a bound method needs a function around it)"
    )
    raise UsageError(msg)


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function inside its decorators."""
    innermost: Callable[..., Any] = inspect.unwrap(function)
    return innermost


def _importable(qualname: str, main: ModuleType | None) -> str:
    """The name by which other processes import the module that runs as ``__main__``."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if file is None:
        msg = (
            f"{qualname!r} was typed into an interactive session, where a worker cannot import "
            "it; put it into a file and import it from there"
        )
        raise UsageError(msg)
    path = Path(file).resolve()
    if not path.stem.isidentifier() or not sys.path or Path(sys.path[0]).resolve() != path.parent:
        msg = (
            f"{qualname!r} is defined in {path.name}, which runs as a script and cannot be "
            "imported by that name; start it with 'python -m', or move the function to a module"
        )
        raise UsageError(msg)
    return path.stem
