"""``flowcore nodes``: what ``uses`` may name without a module.

In: perhaps a type. Out: the built-in types, or all that is said of one.
"""

import inspect
from typing import Annotated

import typer

from flowcore.cli.outcome import ExitCode, ThingNotFoundError
from flowcore.cli.printing import Format, Output, note, show_object, show_rows
from flowcore.nodes.builtin import BUILTIN, PLANNED

__all__ = ["nodes"]


def nodes(
    name: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Show all that is said of one.")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """List the built-in node types, and those that are planned.

    Example: flowcore nodes approval
    """
    if name is not None:
        if name not in BUILTIN:
            word = "is planned" if name in PLANNED else "there is none of this name"
            raise ThingNotFoundError(f"node type {name!r}: {word}; see 'flowcore nodes'")
        said = inspect.cleandoc(BUILTIN[name].__doc__ or "")
        show_object(output, {"type": name, "status": "there", "does": said}, f"{said}\n")
        return ExitCode.OK
    rows = [
        {"type": name, "status": "there", "does": _first(function.__doc__)}
        for name, function in BUILTIN.items()
    ]
    rows += [{"type": name, "status": "planned", "does": ""} for name in sorted(PLANNED)]
    show_rows(output, rows, {"type": "TYPE", "status": "STATUS", "does": "DOES"})
    if output is Format.TABLE:
        note("next: flowcore nodes TYPE; any 'module:function' is a node, too")
    return ExitCode.OK


def _first(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
