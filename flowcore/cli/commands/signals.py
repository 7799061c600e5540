"""``flowcore signal``: what a waiting run is waiting for.

In: a run, a name, a value. Out: the nodes that wait for that signal go on.
"""

from typing import Annotated

import typer

from flowcore.assembly.session import Session
from flowcore.cli.arguments import RunId
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.inputs import parse_map
from flowcore.cli.output import Format, Output, Quiet, note, show_object
from flowcore.client.run import Run

__all__ = ["signal"]


def signal(
    run: RunId,
    name: Annotated[str, typer.Argument(help="The signal's name.", show_default=False)],
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="JSON|@FILE|KEY=VALUE",
            help="The value that goes with it, a map; may be repeated. '@-' reads stdin.",
        ),
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Send a signal to the nodes of a run that wait for it.

    If none does yet, it is kept for the first that will.

    Example: flowcore signal order-42 review -i approved=true
    """
    value = parse_map(given or (), what="the value of a signal")
    with Session() as session:
        Run.get(run, session=session).signal(name, **value)
    show_object(output, {"run_id": run, "signal": name, "value": value})
    note(f"next: flowcore watch {run}", quiet=quiet)
    return ExitCode.OK
