"""Refusal of objects that cannot be nodes, when they are decorated or added.

In: whatever was decorated. Out: nothing, or a UsageError: one sentence about what it is, one way
out. Not here: whether its name leads back to it, which only shows once its module is complete
(import_path).
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flowcore.errors import UsageError
from flowcore.graph.node_spec import NodeSpec

__all__ = ["refuse_local", "refuse_options", "refuse_undecorable", "refuse_unfit"]

_TOP = "write a function at the top level of a module"


def refuse_undecorable(thing: object) -> None:
    """Refuse what ``@node`` cannot make a node.

    Raises:
        UsageError: It says what the thing is, and the way out.
    """
    if hasattr(type(thing), "__flowcore__") or "__flowcore__" in _own(thing):
        name = getattr(thing, "__name__", "it")
        msg = f"{name!r} is a node already; for other policies write {name}.configured(...)"
        raise UsageError(msg)
    if inspect.isclass(thing):
        msg = f"{thing.__qualname__!r} is a class; {_TOP} that makes one, and decorate that"
        raise UsageError(msg)
    refuse_unfit(thing)
    refuse_local(str(getattr(thing, "__qualname__", "")))


def refuse_unfit(thing: object) -> None:
    """Refuse what no worker could call by a name, or not with what a node is given.

    Raises:
        UsageError: It says what the thing is, and the way out.
    """
    if (why := next(_reasons(thing), None)) is not None:
        raise UsageError(why)


def refuse_local(qualname: str) -> None:
    """Refuse functions that exist only while another runs.

    Raises:
        UsageError: The name is that of one.
    """
    if qualname.endswith("<lambda>"):
        msg = "a lambda has no name that a worker could import; write it as a function with 'def'"
        raise UsageError(msg)
    if "<locals>" in qualname:
        outer, _, name = qualname.rpartition(".<locals>.")
        msg = (
            f"{name!r} is defined inside {outer!r}, where a worker cannot import it; "
            "move it to the top level of its module and pass what it needs as arguments "
            "(a decorator's inner function wants functools.wraps)"
        )
        raise UsageError(msg)


def refuse_options(options: Mapping[str, Any]) -> None:
    """Refuse options that ``@node`` does not take.

    Raises:
        UsageError: It names one, and those that there are.
    """
    known = [name for name in NodeSpec.__dataclass_fields__ if name != "name"]
    for option in options:
        if option not in known:
            near = get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"@node has no option {option!r} ({hint})")


def _reasons(thing: Any) -> Iterator[str]:
    for look in (
        _not_called,
        _descriptors,
        _somebody_elses,
        _methods,
        _nameless,
        _standard,
        _variadic,
    ):
        if (why := look(thing)) is not None:
            yield why


def _not_called(thing: Any) -> str | None:
    if isinstance(thing, str):
        return f"@node decorates a function, not the text {thing!r}; for an id write @node(name=…)"
    if inspect.iscoroutine(thing) or inspect.isgenerator(thing) or inspect.isasyncgen(thing):
        if inspect.iscoroutine(thing):
            thing.close()  # nobody is going to await it
        return f"{thing.__qualname__!r} was called; decorate the function itself, without ()"
    if not callable(thing) and not isinstance(thing, _DESCRIPTORS):
        return f"a node is a function, and this is {_article(thing)}: {thing!r}"
    return None


_DESCRIPTORS = (staticmethod, classmethod, property)


def _descriptors(thing: Any) -> str | None:
    if isinstance(thing, staticmethod):
        return f"{_name(thing)} is a static method; write @staticmethod above @node"
    if isinstance(thing, classmethod):
        return f"{_name(thing)} is a class method, which needs its class; {_TOP}"
    if isinstance(thing, property):
        return f"{_name(thing.fget)} is a property, which nobody can call; {_TOP}"
    return None


def _somebody_elses(thing: Any) -> str | None:
    called = (getattr(thing, "delay", None), getattr(thing, "apply_async", None))
    name = getattr(thing, "name", None)
    if all(map(callable, called)) and isinstance(name, str):
        return (
            f"{name!r} is a Celery task; it is a node as it is: write 'celery:{name}' for uses, "
            "or decorate a plain function"
        )
    if getattr(thing, "__module__", "") == "typing" and "overload" in _plain_name(thing):
        return "this is a stub of @overload; decorate the implementation below the stubs"
    return None


def _methods(thing: Any) -> str | None:
    if inspect.ismethod(thing):
        return f"{_name(thing)} is a bound method, and a worker has not its object; {_TOP}"
    mine = getattr(thing, "__self__", None)
    if inspect.isbuiltin(thing) and mine is not None and not inspect.ismodule(mine):
        return f"{_name(thing)} is a method of {_article(mine)}; {_TOP}"
    if not inspect.isfunction(thing) or "." not in thing.__qualname__.rpartition("<locals>.")[2]:
        return None
    first = next(iter(thing.__code__.co_varnames[: thing.__code__.co_argcount]), "")
    if first in {"self", "cls"}:
        return (
            f"{_name(thing)} is a method, and a worker has not its object; {_TOP}, "
            "or a static method with @staticmethod above @node"
        )
    return None


def _nameless(thing: Any) -> str | None:
    names = (getattr(thing, "__qualname__", None), getattr(thing, "__module__", None))
    if all(isinstance(name, str) for name in names):
        return None
    return (
        f"{thing!r} is {_article(thing)}: it has no name that a worker could import; "
        "wrap it in a function at the top level of a module"
    )


def _standard(thing: Any) -> str | None:
    module = str(thing.__module__)
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return None
    code = getattr(inspect.unwrap(thing), "__code__", None)
    file = Path(code.co_filename).resolve() if code is not None else None
    home = Path(inspect.__file__).resolve().parent
    if file is not None and file.is_file() and home not in file.parents:
        if module != getattr(inspect.unwrap(thing), "__globals__", {}).get("__name__"):
            return None  # a decorator of Python's around the user's own function
        return f"your {file.name} has the name of a module of the standard library: rename it"
    return f"{module}.{_plain_name(thing)} is Python's own; {_TOP} that calls it"


def _variadic(thing: Any) -> str | None:
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind: parameter.name for parameter in parameters}
    rest = kinds.get(inspect.Parameter.VAR_POSITIONAL)
    if rest is None or inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    return (
        f"{_name(thing)} takes *{rest}, which nothing can give: arguments of a node have names; "
        f"write {rest}: list"
    )


def _own(thing: object) -> Any:
    return getattr(thing, "__dict__", {})


def _plain_name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", None) or getattr(thing, "__name__", "it"))


def _name(thing: Any) -> str:
    inner: Callable[..., Any] = getattr(thing, "__func__", thing)
    return repr(_plain_name(inner))


def _article(thing: object) -> str:
    name = type(thing).__qualname__
    return f"an object of the class {name!r}"
