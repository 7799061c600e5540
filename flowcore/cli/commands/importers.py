"""``flowcore import``: definitions out of other systems' workflows.

In: their files. Out: a definition, as YAML unless the file is called ``.json``.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.cli.arguments import read_object, seconds
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.output import Format, OutFile, Output, Quiet, note, save, show_object
from flowcore.errors import UsageError
from flowcore.graph.dump import to_yaml
from flowcore.importers.canvas import from_canvas
from flowcore.importers.wfformat import convert, read

__all__ = ["app", "queue_of"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Make a definition of another system's workflow.\n\n"
    "Example: flowcore import wfformat montage.json -O montage.yaml",
)


@app.command("wfformat")
def wfformat(
    trace: Annotated[
        Path, typer.Argument(metavar="FILE", help="A WfFormat JSON file.", show_default=False)
    ],
    critical_path: Annotated[
        str | None,
        typer.Option("--critical-path", help="Scale runtimes so that the longest path takes this."),
    ] = None,
    file: OutFile = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Make a flow of a WfCommons trace: each task sleeps as long as it once ran.

    Example: flowcore import wfformat montage.json --critical-path 30s -O montage.yaml
    """
    tree = convert(read(trace), critical_path=seconds(critical_path))
    _write(tree, file, output, quiet=quiet)
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
    file: OutFile = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Make a flow of a Celery canvas; its tasks keep running on their own workers.

    Example: flowcore import canvas shop.flows:nightly -O nightly.yaml
    """
    found = read_object(signature)
    if callable(found) and not isinstance(found, Mapping):
        try:
            found = found()
        except Exception as error:
            msg = f"{signature!r} was called without arguments and failed: {error}"
            raise UsageError(msg) from error
    if not isinstance(found, Mapping):
        msg = f"{signature!r} is not a Celery signature but {type(found).__name__}"
        raise UsageError(msg)
    id = flow_id or signature.rpartition(":")[2].replace(".", "-")
    tree = from_canvas(found, id=id, queue_of=queue_of(getattr(found, "app", None)))
    _write(tree, file, output, quiet=quiet)
    return ExitCode.OK


def queue_of(app: Any) -> Callable[[str], str | None]:
    """Say where a Celery app routes a task, if that is not Celery's own default queue."""

    def look(task: str) -> str | None:
        if app is None:
            return None
        routed = app.amqp.router.route({}, task, args=(), kwargs={}).get("queue")
        name = str(getattr(routed, "name", routed))
        return None if name == "celery" else name

    return look


def _write(tree: Mapping[str, Any], file: Path | None, form: Format, *, quiet: bool) -> None:
    """Write a definition to its file, and say what it is; or to stdout in the form asked for."""
    if file is None:
        show_object(form, tree, to_yaml(tree))
        return
    if file.suffix == ".json":
        save(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", file)
    else:
        save(to_yaml(tree), file)
    count = len(tree["nodes"])
    show_object(form, {"flow": tree["id"], "nodes": count, "file": str(file)})
    note(f"{count} nodes\nnext: flowcore run {file}", quiet=quiet)
