"""``flowcore nodes``: what ``uses`` may name without a module.

In: perhaps a type. Out: the built-in types, or all that is said of one.
"""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flowcore.cli.exit_codes import ExitCode, ThingNotFoundError
from flowcore.cli.output import Format, Output, note, show_object, show_rows
from flowcore.nodes.arguments.conversation import OPERATIONS, MemoryArguments
from flowcore.nodes.arguments.model import Arguments
from flowcore.nodes.arguments.registry import ARGUMENTS
from flowcore.nodes.types.builtin import BUILTIN, PLANNED

__all__ = ["nodes"]


def nodes(
    name: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Show everything about one.")
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
        rows = _arguments(ARGUMENTS[name])
        data = {"type": name, "status": "there", "does": said, "arguments": rows}
        lines = [f"  {row['name']:<14} {row['is']}" for row in rows]
        told = "\n".join(["", "with:", *lines]) if lines else ""
        show_object(output, data, f"{said}\n{told}".rstrip() + "\n")
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


def _arguments(model: type[Arguments]) -> list[dict[str, Any]]:
    """The arguments of a type, each with what it is; of ``memory``, those of each operation."""
    if model is MemoryArguments:
        return [
            {**row, "is": f"of op {op}: {row['is']}"}
            for op, one in OPERATIONS.items()
            for row in _arguments(one)
            if row["name"] not in MemoryArguments.names()
        ] + _rows(model)
    return _rows(model)


def _rows(model: type[Arguments]) -> list[dict[str, Any]]:
    rows = [
        {"name": name, "needed": name in model.needed(), "is": _kind(part)}
        for name, part in model.model_json_schema().get("properties", {}).items()
    ]
    for row in rows:
        others = [
            other
            for several in (*model.one_of, *model.at_most_one_of)
            if row["name"] in several
            for other in several
            if other != row["name"]
        ]
        word = "needed" if row["needed"] else f"or {', '.join(others)}" if others else ""
        row["is"] = ", ".join(filter(None, (row["is"], word)))
    if model.is_open():
        rows.append({"name": "…", "needed": False, "is": "any names: they are given on"})
    return rows


def _kind(part: Mapping[str, Any]) -> str:
    """The kind of a value and its default, in a few words."""
    kinds = part.get("type", "anything" if "anyOf" not in part else "")
    word = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if choices := part.get("enum"):
        word = " or ".join(map(str, choices))
    word = part.get("description") or word
    least, most = part.get("minimum"), part.get("maximum")
    if least is not None and most is not None and "description" not in part:
        word = f"{word} from {least:,.15g} to {most:,.15g}"
    default = part.get("default")
    return word if default in (None, [], {}) else f"{word}; {default!r} if left out"


def _first(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
