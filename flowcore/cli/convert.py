"""``flowcore import``: definitions out of other systems' workflows.

In: their files. Out: a definition, as YAML unless the file is called ``.json``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.given import read_object, seconds
from flowcore.cli.outcome import ExitCode
from flowcore.cli.printing import Quiet, note, save
from flowcore.errors import UsageError
from flowcore.graph.dump import to_yaml
from flowcore.importers.canvas import from_canvas
from flowcore.importers.wfformat import convert, read

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Make a definition of another system's workflow.",
)


@app.command("wfformat")
def wfformat(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A WfFormat JSON file.", show_default=False)
    ],
    critical_path: Annotated[
        str | None,
        typer.Option("--critical-path", help="Scale runtimes so that the longest path takes this."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; default: stdout.")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Make a flow of a WfCommons trace: each task sleeps as long as it once ran."""
    tree = convert(read(file), critical_path=seconds(critical_path))
    if output is not None and output.suffix == ".json":
        save(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", output)
    else:
        save(to_yaml(tree), output)
    if output is not None:
        note(f"{len(tree['nodes'])} nodes\nnext: flowcore run {output}", quiet=quiet)
    return ExitCode.OK


@app.command("canvas")
def canvas(
    signature: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:SIGNATURE",
            help="A signature, or a function without arguments that gives one.",
            show_default=False,
        ),
    ],
    flow_id: Annotated[str | None, typer.Option("--id", help="The flow's id.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; default: stdout.")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Make a flow of a Celery canvas; its tasks go on running on their own workers.

    Example: flowcore import canvas shop.flows:nightly -o nightly.yaml
    """
    found = read_object(signature)
    found = found() if callable(found) and not isinstance(found, Mapping) else found
    if not isinstance(found, Mapping):
        msg = f"{signature!r} is no Celery signature but {type(found).__name__}"
        raise UsageError(msg)
    tree = from_canvas(found, id=flow_id or signature.rpartition(":")[2].replace(".", "-"))
    if output is not None and output.suffix == ".json":
        save(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", output)
    else:
        save(to_yaml(tree), output)
    if output is not None:
        note(f"{len(tree['nodes'])} nodes\nnext: flowcore run {output}", quiet=quiet)
    return ExitCode.OK
