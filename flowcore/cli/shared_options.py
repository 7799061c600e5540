"""Options that several commands take, said once.

In: a dataclass whose fields are options as typer reads them. Out: a command that takes them, and
is given the object. Not here: what they mean (the dataclasses of the commands).
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

__all__ = ["taking"]

_T = TypeVar("_T")


def taking(options: type[_T]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the fields of a dataclass as its first options.

    Args:
        options: A dataclass; the command's first parameter is one of these.
    """
    names = [field.name for field in fields(options)]  # type: ignore[arg-type]  # see Args

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def run(**given: Any) -> int:
            shared = options(**{name: given.pop(name) for name in names})
            return command(shared, **given)

        _, *own = inspect.signature(command).parameters.values()
        parameters = [*inspect.signature(options).parameters.values(), *own]
        # typer reads both.
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate
