"""``flowcore approve``: say yes or no to a run that asks.

In: a run, perhaps a node. Out: the node goes on with the answer.
"""

from typing import Annotated

import typer

from flowcore.assembly.session import Session
from flowcore.cli.arguments import RunId
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.inputs import parse_map
from flowcore.cli.output import Format, Output, Quiet, note, show_object
from flowcore.client.run import Run

__all__ = ["approve"]


def approve(  # noqa: PLR0917  (typer calls it, by name)
    run: RunId,
    node: Annotated[
        str | None, typer.Argument(metavar="[NODE]", help="The node; default: the one that waits.")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    comment: Annotated[str | None, typer.Option("--comment", help="Why.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="JSON|@FILE|KEY=VALUE",
            help="More values for the answer, a map; may be repeated. '@-' reads stdin.",
        ),
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Approve or reject a node that waits for an approval.

    Example: flowcore approve order-42 review --comment "looks good"
    """
    more = parse_map(given or (), what="what goes with an answer")
    if comment is not None:
        more["comment"] = comment
    with Session() as session:
        handle = Run.get(run, session=session)
        name = handle.reject(node, **more) if reject else handle.approve(node, **more)
    show_object(output, {"run_id": run, "node": name, "approved": not reject})
    word = "rejected" if reject else "approved"
    note(f"{name} is {word}\nnext: flowcore watch {run}", quiet=quiet)
    return ExitCode.OK
