"""The tree of commands, as the command line itself has it: a new command joins by itself.

In: flowcore's parser. Out: each command, with its options and arguments. Not here: values (values).
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, get_args

from flowcore.cli.main import _group, _Stub

__all__ = ["Command", "Param", "commands"]


@dataclass(frozen=True)
class Param:
    """One option or argument."""

    name: str
    words: tuple[str, ...]
    """As it is typed; of an argument nothing."""
    kind: Any
    """The Python type of a value."""
    required: bool
    multiple: bool

    @property
    def is_flag(self) -> bool:
        """It takes no value."""
        return self.kind is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it takes, where they are few."""
        is_enum = isinstance(self.kind, type) and issubclass(self.kind, Enum)
        return tuple(str(each.value) for each in self.kind) if is_enum else ()


@dataclass(frozen=True)
class Command:
    """One command that can be typed."""

    path: tuple[str, ...]
    params: tuple[Param, ...]
    """Its options and arguments."""

    @property
    def name(self) -> str:
        """As it is typed."""
        return " ".join(self.path)


@cache
def commands() -> tuple[Command, ...]:
    """All commands, those inside others too, and groups by themselves."""
    return tuple(_inside((), _group()))


def _inside(path: tuple[str, ...], command: Any) -> "list[Command]":
    loaded = command.load() if isinstance(command, _Stub) else command
    own = [Command(path, tuple(map(_param, loaded.params)))] if path else []
    children = getattr(loaded, "commands", {})
    return own + [one for name, child in children.items() for one in _inside((*path, name), child)]


def _param(found: Any) -> Param:
    is_argument = found.param_type_name == "argument"
    kind = found.type_descriptor.annotation
    return Param(
        name=found.name,
        words=() if is_argument else (*found.opts, *found.secondary_opts),
        kind=next(iter(get_args(kind)), kind),
        required=found.required,
        multiple=found.multiple or found.nargs == -1,
    )
