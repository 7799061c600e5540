"""The address of a function: the ``module:qualname`` by which a worker finds it again.

In: a function. Out: text for ``uses``, or a UsageError that names the way out.
Not here: the way back (nodes).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from flowcore.errors import UsageError
from flowcore.graph.node_spec import NodeSpec
from flowcore.graph.unfit import refuse_local, refuse_unfit

__all__ = ["address_of", "refuse_wrapper_of_another"]


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
    if not isinstance(getattr(function, "__flowcore__", None), NodeSpec):
        refuse_unfit(function)
    qualname, module = str(function.__qualname__), str(function.__module__)
    refuse_local(qualname)
    home = sys.modules.get(module)
    if home is not None:
        _refuse_other(function, module, qualname, home)
    return f"{_importable(qualname, home) if module == '__main__' else module}:{qualname}"


def _refuse_other(
    function: Callable[..., Any], module: str, qualname: str, home: ModuleType
) -> None:
    """The name must lead back to this very function."""
    found = _found(home, qualname)
    if callable(found) and (found == function or _is_inside(function, found)):
        return
    what = "is not there" if found is None else "is something else by now"
    if found is not None and _is_inside(found, function):
        what = "is there without the decorators around it"
    msg = (
        f"a worker would look for {module}:{qualname}, which {what}; give the function a name "
        "of its own at the top level of its module (a bound method needs a function around it)"
    )
    raise UsageError(msg)


def refuse_wrapper_of_another(function: Callable[..., Any], *, by: str | None) -> None:
    """Refuse a decorator's function around one that is found under its name without it.

    Args:
        function: What is made a node.
        by: The module that does so. In its own module the name may yet come to mean this one.

    Raises:
        UsageError: A worker would run the other function alone.
    """
    home = sys.modules.get(function.__module__)
    if function.__module__ == by or home is None:
        return
    found = _found(home, function.__qualname__)
    if found is not None and found is not function and _is_inside(found, function):
        _refuse_other(function, function.__module__, function.__qualname__, home)


def _found(home: ModuleType, qualname: str) -> Any:
    found: Any = home
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _is_inside(function: Callable[..., Any], found: Any) -> bool:
    """Return whether the object found calls this function, under whatever decorators."""
    if isinstance(getattr(function, "__flowcore__", None), NodeSpec):
        function = getattr(function, "__wrapped__", function)
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        if found is function:
            return True
        seen.add(id(found))
        found = getattr(found, "__dict__", {}).get("__wrapped__")
    return False


def _importable(qualname: str, main: ModuleType | None) -> str:
    """The name by which other processes import the module that runs as ``__main__``."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        _refuse_standard(str(spec.name), getattr(main, "__file__", None))
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
    _refuse_standard(path.stem, file)
    return path.stem


def _refuse_standard(name: str, file: str | None) -> None:
    """Refuse a program whose name leads workers to a module of Python's own."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        yours = Path(file).name if file else f"{name}.py"
        msg = f"your {yours} has the name of a module of the standard library: rename it"
        raise UsageError(msg)
