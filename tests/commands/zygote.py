"""Command lines, each in a process of its own that begins with everything imported.

In: lines on stdin, one JSON value each: arguments, environment, directory, standard streams. Out:
a line of JSON for each: how its process ended. Not here: which lines (lines), what is right
(judging).

A fork of a process without threads is what starting Python would be, 20 times cheaper: each line
may close descriptors, change its directory and be killed. What would start workers, servers and
benches is replaced: those have tests of their own.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

__all__ = ["main"]

_LOOK = 0.002
#: What Python ends with when its last words find nobody.
_NOT_FLUSHED = 120


class _NoWorkers:
    """Stands for local workers, which would take seconds to start."""

    failure: str | None = None

    def __init__(self, **_: Any) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


def main() -> None:
    """Serve lines until there are none."""
    from flowcore.cli.__main__ import start

    _warm()
    gc.freeze()
    # Names of options and values may be bytes that are no text.
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(_serve(asked, start)) + "\n")
        sys.stdout.flush()


def _warm() -> None:
    from tests.commands.tree import commands

    commands()
    for heavy in ("rich.live", "rich.progress", "celery.app.amqp", "kombu.transport.redis"):
        importlib.import_module(heavy)
    idle = SimpleNamespace(Popen=lambda *_: SimpleNamespace(poll=lambda: 0, wait=lambda *_: 0))
    stand_ins: list[tuple[str, str, Any]] = [
        ("flowcore.assembly.session", "LocalWorkers", _NoWorkers),
        ("flowcore.cli.background_worker", "_start", lambda *_: None),
        ("flowcore.cli.commands.worker", "_become_supervisor", _supervise),
        ("flowcore.cli.commands.bench", "measure", lambda *_: {}),
        ("flowcore.cli.commands.conformance", "run", _conform),
        ("flowcore.cli.commands.dev", "subprocess", idle),
    ]
    for place, name, stand_in in stand_ins:
        module = importlib.import_module(place)
        assert hasattr(module, name), f"{place} has no {name} any more"
        setattr(module, name, stand_in)


def _conform(name: str, **_: Any) -> Any:
    from flowcore.backends import BackendRegistry
    from flowcore.testing.conformance.suite import Report

    BackendRegistry.create(name)
    return Report(backend=name, results=[])


def _supervise(*_: Any) -> NoReturn:
    raise SystemExit(0)


def _serve(asked: dict[str, Any], start: Any) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        _run(asked, start)
    return _wait(pid, asked)


def _run(asked: dict[str, Any], start: Any) -> NoReturn:
    """End as the interpreter does, but for taking itself down: that would take most of the time."""
    code: Any = 1
    try:
        _become(asked)
        code = start()
    except SystemExit as error:
        code = error.code
    except BaseException:  # noqa: BLE001  (as the interpreter does)
        traceback.print_exc()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush() if stream else None
        except (OSError, ValueError):
            code = _NOT_FLUSHED
    os._exit(code or 0)


def _wait(pid: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end; tell it to end when its time is up, and kill it when that does nothing."""
    begun, told = time.monotonic(), False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        took = time.monotonic() - begun
        if found:
            code = os.waitstatus_to_exitcode(status)
            return {"code": code, "told": told, "took": took}
        if took > asked["within"] and not told:
            told = True
            os.kill(pid, asked["signal"])
        if took > asked["patience"]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"code": None, "told": told, "took": took}
        time.sleep(_LOOK)


def _become(asked: dict[str, Any]) -> None:
    """Turn a fork into the process that a shell would have started."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        del os.environ[name]
    os.environ.update(asked["env"])
    with contextlib.suppress(OSError):
        os.chdir(asked["cwd"])
    if asked["gone"]:
        Path(asked["cwd"]).rmdir()
    time.tzset()
    for fd, what in enumerate(asked["streams"]):
        _open(fd, what)
    encoding = "utf-8" if "UTF" in asked["env"].get("LANG", "UTF") else "ascii"
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _stream(fd, encoding))
    sys.argv = ["flowcore", *asked["argv"]]


def _open(fd: int, what: str | None) -> None:
    """Put a file where a standard stream is, or nothing at all."""
    os.close(fd)
    if what is None:
        return
    flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = os.open(what, flags, 0o600)
    if opened != fd:
        os.dup2(opened, fd)
        os.close(opened)


def _stream(fd: int, encoding: str) -> Any:
    """As Python makes them when it starts."""
    try:
        os.fstat(fd)
    except OSError:
        return None
    errors = ("surrogateescape" if encoding == "ascii" else "strict") if fd < 2 else None
    raw = io.FileIO(fd, "r" if fd == 0 else "w", closefd=False)
    buffer = io.BufferedReader(raw) if fd == 0 else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer, encoding=encoding, errors=errors or "backslashreplace", line_buffering=fd == 2
    )


if __name__ == "__main__":
    main()
