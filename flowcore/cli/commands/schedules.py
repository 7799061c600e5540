"""``flowcore schedules``: flows that run at times.

In: a deployed flow and when it is to run. Out: it does, on whatever worker looks first. Not here:
when that is (engine.background.scheduler).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.exit_codes import ExitCode, ThingNotFoundError
from flowcore.cli.inputs import parse_input
from flowcore.cli.output import Format, Output, Quiet, iso, note, show_object, show_rows
from flowcore.client.schedules import Schedules
from flowcore.engine.runs.deployments import find_flow
from flowcore.errors import UsageError
from flowcore.ports.schedules import Schedule
from flowcore.types import format_duration

__all__ = ["app"]

app = typer.Typer(
    help="Run deployed flows on a schedule.\n\nExample: flowcore schedules list",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.", show_default=False)
]

_COLUMNS = {
    "name": "NAME",
    "flow": "FLOW",
    "when": "WHEN",
    "state": "STATE",
    "due": "NEXT",
    "last_run": "LAST RUN",
    "trouble": "TROUBLE",
}


class CatchUp(StrEnum):
    """Policy for missed times."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """Policy for a time at which the last run has not ended."""

    SKIP = "skip"
    CANCEL = "cancel"
    ALLOW = "allow"


@app.command("put")
def put(  # noqa: PLR0917  (typer calls it, by name)
    name: Name,
    flow: Annotated[
        str, typer.Argument(metavar="FLOW", help="A deployed flow: NAME or NAME@VERSION.")
    ],
    cron: Annotated[
        str | None, typer.Option("--cron", help="Such as '30 2 * * 1-5', or @daily.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Such as 15m, counted from now.")
    ] = None,
    zone: Annotated[str, typer.Option("--zone", help="The time zone of --cron.")] = "UTC",
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i", "--input", help="As for 'run'; '${{ scheduled_for }}' is the run's time."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag of its runs; repeatable.")
    ] = None,
    catch_up: Annotated[
        CatchUp, typer.Option("--catch-up", help="The missed times to make up for.")
    ] = CatchUp.SKIP,
    overlap: Annotated[
        Overlap, typer.Option("--overlap", help="If the last run has not ended by then.")
    ] = Overlap.SKIP,
    paused: Annotated[bool, typer.Option("--paused", help="Create it paused.")] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Make a schedule, or change the one of this name.

    Example: flowcore schedules put nightly etl --cron '30 2 * * *' --zone Europe/Berlin
    """
    with Session() as session:
        schedules = Schedules(session=session)
        known = any(one.name == name for one in schedules.list())
        made = schedules.put(
            name,
            flow,
            cron=cron,
            every=every,
            zone=zone,
            input=parse_input(given or (), _declared(session, flow)),
            tags=tag or (),
            catch_up=catch_up.value,
            overlap=overlap.value,
            paused=paused or None,
        )
    show_object(output, {**_row(made), "created": not known})
    when = f"next at {iso(made.due)}" if made.due is not None else "never due"
    note(f"schedule {name}: {_when(made)}, {when}", quiet=quiet)
    note("next: a worker has to be there then: flowcore worker", quiet=quiet)
    return ExitCode.OK


def _declared(session: Session, flow: str) -> Mapping[str, Any]:
    """Return the inputs that a deployed flow declares."""
    runtime = session.runtime
    return runtime.store.get_plan(find_flow(runtime.flows, flow).plan).inputs


@app.command("list")
def list_schedules(quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """List the schedules, by name.

    Example: flowcore schedules list
    """
    with Session() as session:
        rows = [_row(one) for one in Schedules(session=session).list()]
    if output is Format.TABLE and not rows:
        note("no schedules; make one: flowcore schedules put NAME FLOW --cron ...", quiet=quiet)
        return ExitCode.OK
    show_rows(output, rows, _COLUMNS)
    return ExitCode.OK


@app.command("show")
def show(
    name: Name,
    count: Annotated[
        int, typer.Option("--times", min=1, max=1000, help="Number of upcoming times.")
    ] = 5,
    output: Output = Format.TABLE,
) -> int:
    """Show a schedule and its next times.

    Example: flowcore schedules show nightly --times 10
    """
    with Session() as session:
        schedules = Schedules(session=session)
        found = _get(schedules, name)
        times = [iso(at) for at in schedules.next(name, count)]
    row = _row(found)
    lines = [f"{key}: {value}" for key, value in row.items() if value not in (None, [])]
    text = "\n".join([*lines, "next times", *(f"  {at}" for at in times)]) + "\n"
    show_object(output, {**row, "times": times}, text)
    return ExitCode.OK


@app.command("pause")
def pause(name: Name, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Pause a schedule.

    Example: flowcore schedules pause nightly
    """
    with Session() as session:
        before = _get(schedules := Schedules(session=session), name)
        held = schedules.pause(name)
    show_object(output, {**_row(held), "changed": not before.paused})
    hint = f"'flowcore schedules resume {name}' resumes it"
    note(f"schedule {name} is paused; {hint}", quiet=quiet)
    return ExitCode.OK


@app.command("resume")
def resume(name: Name, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Resume a paused schedule.

    Example: flowcore schedules resume nightly
    """
    with Session() as session:
        before = _get(schedules := Schedules(session=session), name)
        resumed = schedules.resume(name)
    show_object(output, {**_row(resumed), "changed": before.paused})
    note(f"schedule {name} is resumed, next at {iso(resumed.due)}", quiet=quiet)
    return ExitCode.OK


@app.command("run")
def run_now(name: Name, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Make a run of a schedule now, and print its id.

    Example: flowcore schedules run nightly
    """
    with Session() as session:
        _get(schedules := Schedules(session=session), name)
        handle = schedules.run_now(name)
    show_object(output, {"run_id": handle.id, "schedule": name}, f"{handle.id}\n")
    note(f"next: flowcore watch {handle.id}", quiet=quiet)
    return ExitCode.OK


@app.command("remove")
def remove(name: Name, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Remove a schedule; its runs continue.

    Example: flowcore schedules remove nightly
    """
    with Session() as session:
        _get(schedules := Schedules(session=session), name)
        schedules.remove(name)
    show_object(output, {"name": name, "removed": True})
    note(f"schedule {name} is gone", quiet=quiet)
    return ExitCode.OK


def _get(schedules: Schedules, name: str) -> Schedule:
    try:
        return schedules.get(name)
    except UsageError as error:
        raise ThingNotFoundError(str(error)) from error


def _when(schedule: Schedule) -> str:
    if schedule.every is not None:
        return f"every {format_duration(schedule.every)}"
    return f"{schedule.cron} {schedule.zone}"


def _row(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "flow": schedule.flow,
        "when": _when(schedule),
        "state": "paused" if schedule.paused else "active",
        "due": iso(schedule.due),
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "input": schedule.input,
        "tags": list(schedule.tags),
        "last_run": schedule.last_run,
        "trouble": schedule.trouble,
    }
