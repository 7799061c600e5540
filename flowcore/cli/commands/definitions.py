"""Commands about definitions and the installation: nothing runs, no server is needed.

In: definitions. Out: problems, pictures, the schema, the list of backends.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.backends.registry import BackendRegistry
from flowcore.celery.canvas.export import canvas_text
from flowcore.check.schema import json_schema
from flowcore.check.warnings import find_warnings
from flowcore.cli.addressing import find_place
from flowcore.cli.arguments import ParsedFlow, read_flow
from flowcore.cli.child_runs import InnerRuns
from flowcore.cli.commands.runs import node_table, run_head
from flowcore.cli.exit_codes import ExitCode, ThingNotFoundError
from flowcore.cli.output import (
    Format,
    OutFile,
    Output,
    Quiet,
    note,
    save,
    show_rows,
    write,
    write_json,
)
from flowcore.client.live import check_live
from flowcore.errors import (
    BackendError,
    DefinitionError,
    FlowcoreError,
    RunNotFoundError,
    UsageError,
)
from flowcore.graph.diagnostic import Diagnostic, InvalidFlowError, render, show_path
from flowcore.plan.compile import compile_plan
from flowcore.plan.explain import dot, mermaid, svg, text
from flowcore.plan.plan import Plan

__all__ = ["Picture", "backends", "graph", "schema", "validate"]


class Picture(StrEnum):
    """The forms of a picture of a flow."""

    ASCII = "ascii"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    CANVAS = "canvas"


_RENDER: Mapping[Picture, Callable[[Plan], str]] = {
    Picture.ASCII: text.render,
    Picture.MERMAID: mermaid.render,
    Picture.DOT: dot.render,
    Picture.SVG: svg.render,
    Picture.CANVAS: canvas_text,
}


def validate(
    flows: Annotated[
        list[str], typer.Argument(metavar="FLOW...", help="As for 'run'.", show_default=False)
    ],
    resolve: Annotated[
        bool,
        typer.Option(
            "--resolve/--no-resolve", help="Whether to import what nodes use, which runs code."
        ),
    ] = True,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Import nothing; check against the names that live workers announce, "
            "and the queues that they serve.",
        ),
    ] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Check definitions; show every problem with its place. Exit code 2 if there are any.

    Example: flowcore validate flows/*.yaml
    """
    if live:
        with Session() as session:
            reports = [_report(name, partial(_live, session)) for name in flows]
    else:
        reports = [_report(name, lambda flow: flow.plan(resolve=resolve)) for name in flows]
    _show_reports(reports, output)
    bad = sum(not data["valid"] for data, _ in reports)
    if bad:
        note(f"{bad} of {len(reports)} definitions have problems", quiet=quiet)
        return ExitCode.USAGE
    return ExitCode.OK


def _show_reports(reports: Sequence[tuple[dict[str, Any], tuple[str, ...]]], form: Format) -> None:
    if form is Format.JSON:
        write_json([data for data, _ in reports])
    elif form is Format.JSONL:
        for data, _ in reports:
            write_json(data, indent=None)
    else:
        for data, problems in reports:
            if problems:
                write("\n".join(problems) + "\n")
            if data["valid"]:
                count = f"{data['nodes']} node{'' if data['nodes'] == 1 else 's'}"
                write(f"{data['file']}: ok ({count})\n")


def _live(session: Session, flow: ParsedFlow) -> Plan:
    """Check a definition against live workers; of a deployed flow there is none any more."""
    if flow.document is None:
        return flow.plan()
    return compile_plan(check_live(flow.document, session))


def _report(
    name: str, compiled: Callable[[ParsedFlow], Plan]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Check one definition; return data, and the same for people."""
    try:
        flow = read_flow(name)
        plan = compiled(flow)
    except InvalidFlowError as error:
        found = [_problem(each) for each in error.diagnostics]
        return {"file": name, "valid": False, "problems": found, "warnings": []}, error.problems
    except (DefinitionError, UsageError) as error:
        lines = getattr(error, "problems", None) or (f"{name}: error {error.code}: {error}",)
        found = [{"code": error.code, "message": line} for line in lines]
        return {"file": name, "valid": False, "problems": found, "warnings": []}, tuple(lines)
    document = flow.document
    warned, told = (
        render(document, find_warnings(document), kind="warning") if document else ([], [])
    )
    data = {
        "file": name,
        "valid": True,
        "flow": plan.flow,
        "nodes": len(plan),
        "problems": [],
        "warnings": [_problem(each) for each in warned],
    }
    return data, tuple(told)


def _problem(found: Diagnostic) -> dict[str, Any]:
    return {
        "code": found.code,
        "message": found.message,
        "path": show_path(found.path),
        "line": found.position.line if found.position else None,
        "column": found.position.column if found.position else None,
        "suggestion": found.suggestion,
    }


def graph(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW", help="As for 'run'; or a run, with its states.", show_default=False
        ),
    ],
    form: Annotated[
        Picture, typer.Option("-f", "--format", help="Form of the picture.")
    ] = Picture.ASCII,
    file: OutFile = None,
    complete: Annotated[
        bool, typer.Option("--all", help="Draw every line, however many an SVG has.")
    ] = False,
) -> int:
    """Draw a flow, or a run with the state of each node; nothing it uses is imported.

    Example: flowcore graph rag.yaml -f svg -O rag.svg
    """
    try:
        plan = read_flow(flow).plan(resolve=False)
    except FlowcoreError as error:
        if Path(flow).exists() or (drawn := _drawn_run(flow, form, complete=complete)) is None:
            raise error from None
    else:
        drawn = _drawn(plan, form, complete=complete)
    save(drawn, file)
    return ExitCode.OK


def _drawn(plan: Plan, form: Picture, *, complete: bool) -> str:
    return svg.render(plan, complete=complete) if form is Picture.SVG else _RENDER[form](plan)


def _drawn_run(address: str, form: Picture, *, complete: bool) -> str | None:
    """Draw a run with the states of its nodes; None if there is none of this name.

    Raises:
        UsageError: This form of a picture shows no states.
    """
    with Session() as session:
        try:
            run = find_place(session, address).run
        except (RunNotFoundError, ThingNotFoundError):
            return None
        record, plan = run.record(), run.plan()
        if form is Picture.SVG:
            states = {id: node.state.value for id, node in record.nodes.items()}
            return svg.render(plan, states=states, complete=complete)
        if form is not Picture.ASCII:
            raise UsageError(f"{form.value} shows no states; draw a run as ascii or svg")
        inside = InnerRuns(session, run.id, plan)
        inside.look(record.nodes.values())
    return f"{text.render(plan)}\n{run_head(record)}\n{node_table(record, plan, inside.progress)}"


def schema(file: OutFile = None) -> int:
    """Write the JSON Schema of definitions, for editors.

    Example: flowcore schema -O flowcore.schema.json
    """
    save(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", file)
    if file is not None:
        note(f"first line of a flow in YAML:  # yaml-language-server: $schema={file}")
    return ExitCode.OK


def backends(output: Output = Format.TABLE) -> int:
    """List the backends of this installation, and those that are planned.

    Example: flowcore backends -o json
    """
    default = BackendRegistry.get_default()
    rows = [
        {**_info(name), "default": name == default}
        for name in BackendRegistry.list_backends(all=True)
    ]
    if output is Format.TABLE:
        for row in rows:
            row["default"] = "default" if row["default"] else ""
    columns = {key: key.upper() for key in ("name", "status", "version", "default", "features")}
    show_rows(output, rows, columns)
    return ExitCode.OK


def _info(name: str) -> dict[str, Any]:
    """Describe a backend; one that cannot be loaded must not hide the others."""
    try:
        return BackendRegistry.get_info(name)
    except BackendError as error:
        return {"name": name, "version": None, "features": [], "status": f"broken: {error}"}
