"""``flowcore dev``: a worker that starts again when the code beside it changes.

In: a directory. Out: a worker, for as long as somebody develops. Not here: the worker itself.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.output import Quiet, note

__all__ = ["changed", "dev", "snapshot"]

#: Seconds between two looks, and for which a worker may end what it does.
_LOOK, _PATIENCE = 0.5, 10.0

_KINDS = (".py", ".yaml", ".yml", ".json")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})

Snapshot = dict[str, float]


def dev(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="[DIRECTORY]",
            help="What to watch.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = Path(),
    queues: Annotated[
        str | None, typer.Option("--queues", help="Queues to serve, by comma; default: flowcore.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, max=1000, help="Nodes at once; default: cores."),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Start a worker, and start it again whenever a module or definition changes.

    What it is doing is handed back and taken up by the new one. Ctrl-C ends it.

    Example: flowcore dev
    """
    argv = [sys.executable, "-m", "flowcore.cli", "worker"]
    argv += ["--queues", queues] if queues else []
    argv += ["--concurrency", str(concurrency)] if concurrency else []
    seen = snapshot(directory)
    worker = subprocess.Popen(argv)  # noqa: S603  (our own command)
    note(f"watching {directory.resolve()} ({len(seen)} files); Ctrl-C ends", quiet=quiet)
    try:
        while True:
            time.sleep(_LOOK)
            now = snapshot(directory)
            if names := changed(seen, now):
                seen = now
                note(f"{names[0]} has changed: starting again", quiet=quiet)
                _end(worker)
                worker = subprocess.Popen(argv)  # noqa: S603
            elif (code := worker.poll()) is not None:
                note(f"the worker has ended ({code}); change a file to start it again", quiet=quiet)
                while not changed(seen, snapshot(directory)):
                    time.sleep(_LOOK)
    except KeyboardInterrupt:
        return ExitCode.OK
    finally:
        _end(worker)


def snapshot(directory: Path) -> Snapshot:
    """When each file that counts was last changed."""
    found: Snapshot = {}
    for path in _files(directory):
        try:
            found[str(path)] = path.stat().st_mtime
        except OSError:
            continue  # gone in between
    return found


def changed(before: Snapshot, after: Snapshot) -> list[str]:
    """Files that are new, gone or changed, by name."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def _files(directory: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(directory):
        folders[:] = [one for one in folders if one not in _SKIPPED and not one.startswith(".")]
        yield from (Path(where) / name for name in names if name.endswith(_KINDS))


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """Have a worker end, and wait for it."""
    if worker.poll() is not None:
        return
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
