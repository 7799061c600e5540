"""``flowcore memory``: the threads that flows remember in.

In: names of threads. Out: what is remembered; files of it. Not here: memory itself (engine).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.commands.doctor_memory import late_line
from flowcore.cli.exit_codes import ExitCode, ThingNotFoundError
from flowcore.cli.files import is_there, read_text
from flowcore.cli.output import (
    Format,
    OutFile,
    Output,
    Quiet,
    iso,
    note,
    save,
    show_object,
    show_rows,
    write,
    write_json,
)
from flowcore.client.memory import Memory, export_threads, import_threads
from flowcore.client.memory_lines import thread_line, thread_lines
from flowcore.errors import UsageError
from flowcore.graph.diagnostic import clean
from flowcore.json_text import json_text
from flowcore.nodes.resolve import UnresolvedError, resolve

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show, move and clear the memory of flows.\n\nExample: flowcore memory list",
)

ThreadName = Annotated[
    str, typer.Argument(metavar="THREAD", help="MEMORY/THREAD, as list shows it.")
]
Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="Prefix of threads' names.")]


@app.command("list")
def list_threads(
    prefix: Prefix = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="Threads at most.")
    ] = 50,
    output: Output = Format.TABLE,
) -> int:
    """List threads, those written last first.

    Example: flowcore memory list support/
    """
    with Session() as session:
        rows = [
            {
                "thread": row.name,
                "messages": row.messages,
                "facts": row.facts,
                "updated": iso(row.updated),
            }
            for row in Memory.threads(prefix, limit=limit, session=session)
        ]
        late = late_line(session)
    columns = {"thread": "thread", "messages": "messages", "facts": "facts", "updated": "updated"}
    show_rows(output, rows, columns)
    if late:
        note(late)
    return ExitCode.OK


@app.command()
def show(
    thread: ThreadName,
    last: Annotated[
        int | None,
        typer.Option("--last", min=1, max=100_000, help="Most messages, the newest."),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Show a thread: its messages and its facts.

    Example: flowcore memory show support/alice --last 5
    """
    with Session() as session:
        memory = _existing(thread, session)
        messages, facts = memory.messages(last), memory.facts()
    if output is Format.JSON:
        write_json({"thread": thread, "messages": messages, "facts": facts})
    elif output is Format.JSONL:
        for message in messages:
            write_json(message, indent=None)
    else:
        for message in messages:
            write(clean(_line(message)) + "\n")
        for name, value in facts.items():
            write(clean(f"{name} = {json_text(value)}") + "\n")
    return ExitCode.OK


@app.command()
def recall(
    thread: ThreadName,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A text.")],
    embed: Annotated[
        str, typer.Option("--embed", help="module:callable that makes a vector of a text.")
    ],
    count: Annotated[int, typer.Option("--k", min=1, max=10_000, help="Messages at most.")] = 5,
    output: Output = Format.TABLE,
) -> int:
    """Show the messages of a thread that are nearest in meaning to a text.

    Example: flowcore memory recall support/alice "where is my order" --embed bot:embed
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        resolve(embed)
    except UnresolvedError as error:
        raise UsageError(f"--embed: {error}") from error
    with Session() as session:
        _existing(thread, session)
        memory = Memory.named(thread, embed=embed, session=session)
        found = memory.recall(query, count)
    if output is not Format.TABLE:
        show_rows(output, found, {})
        return ExitCode.OK
    for message in found:
        write(clean(f"{message['score']:.3f}  {_line(message)}") + "\n")
    return ExitCode.OK


@app.command("export")
def export_(
    prefix: Prefix = "",
    file: OutFile = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Write threads as JSON, one a line, as 'flowcore memory import' reads them.

    To stdout, -o json makes one array of them.

    Example: flowcore memory export support/ -O support.jsonl
    """
    with Session() as session:
        threads = list(export_threads(prefix, session=session))
    if file is None and output is Format.JSON:
        write_json(threads)
        return ExitCode.OK
    save("".join(thread_line(one) + "\n" for one in threads), file)
    if file is not None:
        show_object(output, {"threads": len(threads), "file": str(file)})
        note(f"{len(threads)} threads\nnext: flowcore memory import {file}", quiet=quiet)
    return ExitCode.OK


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote; -: stdin.")],
    replace: Annotated[bool, typer.Option("--replace", help="Clear these threads first.")] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Read threads that export wrote; messages are added to what there is.

    Example: flowcore memory import support.jsonl --replace
    """
    with Session() as session:
        count = import_threads(_lines(file), replace=replace, session=session)
    show_object(output, {"threads": count})
    note(f"{count} threads\nnext: flowcore memory list", quiet=quiet)
    return ExitCode.OK


@app.command()
def clear(thread: ThreadName, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Forget a thread.

    Example: flowcore memory clear support/alice
    """
    with Session() as session:
        _existing(thread, session).clear()
    show_object(output, {"thread": thread, "cleared": True})
    note(f"{thread} is forgotten", quiet=quiet)
    return ExitCode.OK


def _line(message: dict[str, Any]) -> str:
    """A message for people."""
    text = message["content"]
    said = text if isinstance(text, str) else json_text(text)
    if calls := message.get("tool_calls"):
        said = f"{'' if text is None else said + ' '}calls {json_text(calls)}"
    return f"{message.get('id', '…')}  {message['role']}: {said}"


def _existing(name: str, session: Session) -> Memory:
    """The thread of a full name, if there is one."""
    memory = Memory.named(name, session=session)
    if not any(row.name == name for row in Memory.threads(name, limit=1000, session=session)):
        msg = f"there is no thread {name!r}; 'flowcore memory list' shows those there are"
        raise ThingNotFoundError(msg)
    return memory


def _lines(file: Path) -> Iterator[Any]:
    if str(file) != "-" and not is_there(str(file)):
        raise ThingNotFoundError(f"there is no file {str(file)!r}")
    return thread_lines(read_text(str(file), what="the file"), name=str(file))
