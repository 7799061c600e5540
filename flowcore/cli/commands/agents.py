"""``flowcore agents``: who is there, and what they are asked.

In: names, words. Out: cards and tasks, as the A2A protocol spells them.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from flowcore.agents.message import Task, TaskState
from flowcore.assembly.session import Session
from flowcore.cli.arguments import seconds
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.inputs import parse_input
from flowcore.cli.output import (
    Format,
    Output,
    Quiet,
    note,
    note_damage,
    show_object,
    show_rows,
    write,
    write_json,
)
from flowcore.client.agents import AgentClient
from flowcore.errors import AgentNotFoundError, AgentTaskError, UsageError
from flowcore.ports.agents import AgentInstance

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List agents, live and dead; see their tasks; send them messages.\n\n"
    "Example: flowcore agents --skill summarize",
)

_COLUMNS = {
    "name": "NAME",
    "state": "STATE",
    "instances": "INSTANCES",
    "hung": "HUNG",
    "replaced": "REPLACED",
    "skills": "SKILLS",
    "tags": "TAGS",
    "description": "DESCRIPTION",
}
_DEAD = {"task": "TASK", "agent": "AGENT", "since": "SINCE", "reason": "REASON"}

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="A task's id.", show_default=False)]


@app.callback(invoke_without_command=True)
def agents(
    context: typer.Context,
    skill: Annotated[str | None, typer.Option("--skill", help="Only those with a skill.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only those with a tag.")] = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="Tasks given up because their workers died.")
    ] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int | None:
    """List agents, live and dead."""
    if context.invoked_subcommand is not None:
        return None
    with Session() as session:
        client = AgentClient(session)
        if dead:
            letters = client.dead_letters()
            note_damage(letters, "tasks")
            rows = [_dead_row(task) for task in letters]
            hint = "next: flowcore agents requeue TASK"
        else:
            found = client.agents(skill=skill, tag=tag)
            note_damage(found, "cards")
            rows = _rows(found)
            hint = "next: flowcore agents send NAME TEXT"
    if not rows and output is Format.TABLE:
        none = "no agents; start some: flowcore worker --agents MODULE"
        if skill or tag:
            none = "no agent has that; all of them: flowcore agents"
        note("no dead letters" if dead else none, quiet=quiet)
        return ExitCode.OK
    show_rows(output, rows, _DEAD if dead else _COLUMNS)
    if output is Format.TABLE:
        note(hint, quiet=quiet)
    return ExitCode.OK


@app.command("card")
def card(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An agent.", show_default=False)],
    output: Output = Format.TABLE,
) -> int:
    """Show an agent's card, as the protocol has it: in JSON.

    Example: flowcore agents card researcher
    """
    with Session() as session:
        notes = [note for note in AgentClient(session).agents() if note.name == name]
    if not notes:
        raise AgentNotFoundError(f"no agent is called {name!r}; 'flowcore agents' lists them")
    found = next((note for note in notes if note.alive), notes[0]).card
    write_json(found, indent=None if output is Format.JSONL else 2)
    return ExitCode.OK


@app.command("send")
def send(  # noqa: PLR0917  (typer reads options from parameters)
    name: Annotated[str, typer.Argument(metavar="NAME", help="An agent.", show_default=False)],
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What to say.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i", "--input", metavar="JSON|@FILE|KEY=VALUE", help="Data to send instead of text."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Answer a task that asked.")] = None,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait.")] = "60s",
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the task's id and do not wait.")
    ] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Send a message to an agent and wait for what it makes.

    Example: flowcore agents send researcher "What is A2A?"
    """
    content = text if text is not None else parse_input(given or ())
    if content is None or (text is not None and given):
        raise UsageError("give either TEXT, or data with -i")
    with Session() as session:
        client = AgentClient(session)
        begun = client.start(name if task is None else None, content, task=task)
        if detach:
            show_object(output, client.get(begun).to_json(), f"{begun}\n")
            return ExitCode.OK
        try:
            found = client.wait(begun, timeout=seconds(timeout) or 60.0)
        except AgentTaskError:
            if output is not Format.TABLE:
                _show(client.get(begun), output)
            raise
    _show(found, output)
    if found.state is TaskState.INPUT_REQUIRED:
        note(f"next: flowcore agents send {name} ANSWER --task {found.id}", quiet=quiet)
    return ExitCode.OK


@app.command("task")
def task(id: TaskId, output: Output = Format.TABLE) -> int:
    """Show a task, as the protocol has it: in JSON.

    Example: flowcore agents task tc7e12d4d
    """
    with Session() as session:
        _show(AgentClient(session).get(id), output, whole=True)
    return ExitCode.OK


@app.command("cancel")
def cancel(id: TaskId, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """End a task as canceled.

    Example: flowcore agents cancel tc7e12d4d
    """
    with Session() as session:
        told = AgentClient(session).cancel(id)
    show_object(output, told.to_json())
    note(f"task {id} is canceled", quiet=quiet)
    return ExitCode.OK


@app.command("requeue")
def requeue(id: TaskId, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Try a dead letter again: a task given up because its workers died.

    Example: flowcore agents requeue tc7e12d4d
    """
    with Session() as session:
        client = AgentClient(session)
        client.requeue(id)
        told = client.get(id)
    show_object(output, told.to_json())
    note(f"next: flowcore agents task {id}", quiet=quiet)
    return ExitCode.OK


def _rows(notes: Iterable[AgentInstance]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(notes, key=lambda note: not note.alive):
        skills = each.card["skills"]
        row = found.setdefault(
            each.name,
            {
                "name": each.name,
                "state": "live" if each.alive else "dead",
                "instances": 0,
                "hung": 0,
                "replaced": 0,
                "skills": [one["id"] for one in skills],
                "tags": sorted({word for one in skills for word in one["tags"]}),
                "description": each.card["description"].partition("\n")[0],
                "seen_s_ago": round(each.seen, 3),
            },
        )
        if each.alive:
            row["instances"] += 1
            row["hung"] += each.hung
            row["replaced"] += each.replaced
    return [found[name] for name in sorted(found)]


def _dead_row(task: Task) -> dict[str, Any]:
    about = {"task": task.id, "agent": task.agent}
    return {**about, "since": task.timestamp, "reason": task.reason}


def _show(task: Task, output: Format, *, whole: bool = False) -> None:
    if output is Format.TABLE and not whole:
        if task.state is TaskState.COMPLETED and not task.text:
            write_json(task.data)
        else:
            write(f"{task.text or task.reason}\n")
    else:
        write_json(task.to_json(), indent=None if output is Format.JSONL else 2)
