"""``flowcore conformance``: hold a backend against what every backend must do.

In: a backend's name. Out: each case and what became of it; exit code 1 if one failed.
"""

from typing import Annotated

import typer

from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.output import Format, Output, Quiet, note, show_rows, write_json
from flowcore.testing.conformance import run
from flowcore.testing.conformance.suite import CASES, rows

__all__ = ["conformance"]


def conformance(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="Its name.")] = "native",
    case: Annotated[
        list[str] | None, typer.Option("--case", help="Only cases whose names hold this word.")
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Run the conformance suite on a backend.

    Example: flowcore conformance native --case join
    """
    cases = [each for each in CASES if not case or any(word in each.name for word in case)]
    if not cases:
        note(f"flowcore: no case has {' or '.join(case or ())} in its name")
        return ExitCode.USAGE
    report = run(backend, cases=cases)
    found = list(rows(report))
    if output is Format.JSON:
        features = {name: outcome.value for name, outcome in report.features().items()}
        write_json({"backend": backend, "features": features, "cases": found})
    else:
        columns = {key: key for key in ("case", "capability", "outcome", "reason")}
        show_rows(output, found, columns)
    note(str(report).splitlines()[0], quiet=quiet)
    return ExitCode.OK if report.passed else ExitCode.FAILED
