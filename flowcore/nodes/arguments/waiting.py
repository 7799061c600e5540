"""The arguments of nodes that wait: ``wait``, ``signal``, ``approval``, ``sleep``.

In: nothing. Out: their models. Not here: waiting (builtin).
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowcore.nodes.arguments.model import Arguments
from flowcore.nodes.arguments.values import (
    anything,
    choice,
    duration,
    moment,
    number,
    text,
    truth,
    words,
)
from flowcore.types import LONGEST

__all__ = ["ApprovalArguments", "SignalArguments", "SleepArguments", "WaitArguments"]


class WaitArguments(Arguments):
    """Arguments of ``wait``."""

    one_of: ClassVar = (("for", "until"),)
    is_shared: ClassVar = True

    for_: Annotated[float | None, duration()] = Field(default=None, alias="for")
    until: Annotated[float | None, moment()] = None


class SignalArguments(Arguments):
    """Arguments of ``signal``."""

    may_be_null: ClassVar = frozenset({"default"})

    name: Annotated[str, text("the name of a signal, such as approved", most=500)]
    timeout: Annotated[float | None, duration()] = None
    default: Annotated[Any, anything()] = None


class ApprovalArguments(Arguments):
    """Arguments of ``approval``."""

    is_shared: ClassVar = True

    message: Annotated[str, words("what is asked")] = "an approval"
    timeout: Annotated[float | None, duration()] = None
    default: Annotated[bool | None, truth()] = None
    on_reject: Annotated[str, choice("fail", "continue")] = "fail"


class SleepArguments(Arguments):
    """Arguments of ``sleep``; the node's input may supply them."""

    is_shared: ClassVar = True

    seconds: Annotated[float | None, number(0, LONGEST)] = None
