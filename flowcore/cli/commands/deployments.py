"""``flowcore deploy`` and ``flows``: flows that are run by name.

In: definitions. Out: they are kept, or a list of them. Not here: running them (run).
"""

from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.arguments import FlowArgument, read_flow
from flowcore.cli.exit_codes import ExitCode, ThingNotFoundError
from flowcore.cli.output import (
    Format,
    Output,
    Quiet,
    iso,
    note,
    note_damage,
    show_object,
    show_rows,
)
from flowcore.client.flow import deploy_plan
from flowcore.errors import UsageError
from flowcore.ports.flows import DeployedFlow

__all__ = ["deploy", "flows"]

_COLUMNS = {
    "name": "FLOW",
    "version": "VERSION",
    "nodes": "NODES",
    "deployed": "DEPLOYED",
    "plan": "PLAN",
    "description": "ABOUT",
}


def deploy(
    flow: FlowArgument,
    resolve: Annotated[
        bool,
        typer.Option("--resolve/--no-resolve", help="Also import what the nodes use."),
    ] = True,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Deploy a flow under its id and version, so that it can be run by name.

    Runs are pinned to what was deployed when they began: another flow of the same id and version
    takes its place and disturbs none of them.

    Example: flowcore deploy etl.yaml && flowcore run etl
    """
    given = read_flow(flow)
    if given.document is None:
        raise UsageError(f"{flow!r} is deployed already; name a file to deploy another one")
    plan = given.plan(resolve=resolve)
    tree = given.document.tree
    about = tree.get("description", "") if isinstance(tree, dict) else ""
    with Session() as session:
        done = deploy_plan(session, plan, str(about), paths=given.paths)
    show_object(output, _row(done))
    if output is Format.TABLE:
        note(f"{done.address} is deployed ({done.nodes} nodes, plan {done.plan[:12]})", quiet=quiet)
        note(f"next: flowcore run {done.name}", quiet=quiet)
    return ExitCode.OK


def flows(
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="NAME@VERSION", help="Forget this version.")
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """List the flows that are deployed, the latest first.

    Example: flowcore flows -o json
    """
    with Session() as session:
        registry = session.runtime.flows
        if remove is not None:
            name, _, version = remove.partition("@")
            if not registry.remove(name, version):
                msg = f"no flow {remove!r} is deployed; 'flowcore flows' lists NAME and VERSION"
                raise ThingNotFoundError(msg)
            show_object(output, {"name": name, "version": version, "removed": True})
            note(f"{remove} is no longer deployed; its runs continue", quiet=quiet)
            if left := _left_alone(session, name):
                note(f"schedules without a flow by now: {', '.join(left)}; see flowcore schedules")
            return ExitCode.OK
        found = registry.flows()
    note_damage(found, "flows", way_out="deploy them again")
    rows = [_row(one) for one in found]
    if output is Format.TABLE:
        if not rows:
            note("no flow is deployed; deploy one: flowcore deploy FLOW", quiet=quiet)
            return ExitCode.OK
        for row in rows:
            row["plan"] = row["plan"][:12]
    show_rows(output, rows, _COLUMNS)
    if output is Format.TABLE:
        note(f"next: flowcore run {rows[0]['name']}", quiet=quiet)
    return ExitCode.OK


def _left_alone(session: Session, name: str) -> list[str]:
    """The schedules of a flow whose runs come to nothing, since what they name is not deployed."""
    left = []
    for schedule in session.runtime.schedules.schedules():
        flow, _, version = schedule.flow.partition("@")
        is_there = session.runtime.flows.find(flow, version or None) is not None
        if flow == name and not is_there:
            left.append(schedule.name)
    return left


def _row(flow: DeployedFlow) -> dict[str, Any]:
    return {
        "name": flow.name,
        "version": flow.version,
        "nodes": flow.nodes,
        "deployed": iso(flow.deployed),
        "plan": flow.plan,
        "description": flow.description,
    }
