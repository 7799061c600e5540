"""An exception as plain data: what is kept of a failure.

In: an exception, which may raise, hang or be huge when it is asked for its words. Out: a Failure
whose words have a bounded length and are text. Not here: what becomes of the node (policies.retry).
"""

import builtins
import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType, WrapperDescriptorType
from typing import Any

from flowcore import errors
from flowcore.engine.values.event_limits import MOST_MESSAGE, MOST_TRACEBACK, shorten
from flowcore.errors import FlowcoreError
from flowcore.run.record import Failure

__all__ = ["describe", "error_names", "names_of", "qualified_name"]

_FLOWCORE = Path(__file__).parents[2]

#: Where frames are the engine's: there, and in what calls functions in tests or for ``@node``.
_OURS = (
    f"{_FLOWCORE / 'engine'}{os.sep}",
    *(str(_FLOWCORE / name) for name in ("testing/stub_functions.py", "testing/stubs.py")),
    str(_FLOWCORE / "graph/operators.py"),
)

_FUTURES = Future.result.__code__.co_filename

#: Seconds that an exception of a user's class may take to say what it is.
_PATIENCE = 2.0

#: Notes that are kept.
_MOST_NOTES = 20

#: Characters that are looked through for secrets; what is cut here is cut later, too.
_HUGE = 1_000_000

#: What makes words of these does not call anybody's code.
_PLAIN_ARGUMENTS = frozenset({str, int, float, bool, bytes, type(None)})


def describe(
    error: BaseException,
    *,
    node: str,
    attempt: int,
    worker: str,
    hide: Callable[[str], str] = str,
) -> Failure:
    """Put an exception into plain data; frames of the engine itself are left out.

    Args:
        error: The exception.
        node: Whose it is.
        attempt: In which attempt.
        worker: On which worker.
        hide: Hides secrets in a text, before it is cut.
    """
    words, notes = _words(error)
    kind, message = _kind(error), hide(words)
    own = _frames(error.__traceback__)
    trace = None
    if own:
        last = _last_lines(error, kind, message, list(map(hide, notes)))
        last = shorten(last, MOST_MESSAGE)
        trace = "Traceback (most recent call last):\n" + hide("".join(own))
        trace = shorten(trace, MOST_TRACEBACK - len(last)) + last
    code = error.code if isinstance(error, FlowcoreError) else None
    return Failure(
        type=kind,
        message=shorten(message, MOST_MESSAGE),
        code=code if isinstance(code, str) else None,
        traceback=trace,
        node=node,
        attempt=attempt,
        worker=worker,
    )


def _words(error: BaseException) -> tuple[str, list[str]]:
    """The error's own words and its notes, shortened; a user's class may do anything instead."""

    def ask() -> tuple[str, list[str]]:
        message = shorten(_exactly(str(error)), _HUGE)
        notes = getattr(error, "__notes__", None)
        if not isinstance(notes, list | tuple):
            return message, []
        return message, [shorten(_exactly(str(one)), _HUGE) for one in notes[:_MOST_NOTES]]

    if _is_plain(error):
        return ask()
    return _in_time(ask)


def _is_plain(error: BaseException) -> bool:
    """Return whether a message is known to come from Python itself, as nearly all do."""
    kind = type(error)
    asked = (kind.__str__, kind.__getattribute__)
    if any(type(method) is not WrapperDescriptorType for method in asked):
        return False
    if isinstance(error, SyntaxError | ImportError) or isinstance(
        getattr(kind, "__notes__", None), property
    ):
        return False
    notes = error.__dict__.get("__notes__", [])
    args: Any = BaseException.args  # a descriptor, which a class may hide behind one of its own
    given = (*args.__get__(error), *(notes if type(notes) is list else (notes,)))
    if isinstance(error, OSError):
        given += (error.filename, error.filename2)
    return all(type(one) in _PLAIN_ARGUMENTS for one in given)


def _in_time(ask: Callable[[], tuple[str, list[str]]]) -> tuple[str, list[str]]:
    """Ask in a thread that is given up when it takes too long, and told to end."""
    found: list[tuple[str, list[str]]] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as trouble:  # noqa: BLE001  (whatever it is, the failure is recorded)
            found.append((f"(its text cannot be shown: {_kind(trouble)})", []))

    thread = threading.Thread(target=run, name="flowcore-describe", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if found:
        return found[0]
    if thread.ident is not None:
        ident = ctypes.c_ulong(thread.ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
    return f"(its text cannot be shown: it takes more than {_PATIENCE:.0f} s)", []


def _exactly(text: str) -> str:
    """Make a kind of str a plain one: it may bring methods of its own."""
    return text if type(text) is str else str.__getitem__(text, slice(None))


def _kind(error: BaseException) -> str:
    try:
        return _exactly(qualified_name(type(error)))
    except Exception:  # noqa: BLE001  (a class may have any __module__)
        return "Exception"


def _frames(trace: TracebackType | None) -> Sequence[str]:
    """Lines of the frames that are not the engine's; without source lines if those cannot be had.

    Sources are found by whatever a module says of itself.
    """
    try:
        frames = traceback.extract_tb(trace)
        theirs = [f for f in frames if not f.filename.startswith(_OURS)]
        # The engine has waited for an async function: those at the beginning are of that.
        first = next((at for at, f in enumerate(theirs) if f.filename != _FUTURES), len(theirs))
        return traceback.format_list(theirs[first:])
    except Exception:  # noqa: BLE001
        codes = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
        return [
            f'  File "{code.co_filename}", line {line}, in {code.co_name}\n'
            for code, line in codes
            if not code.co_filename.startswith(_OURS)
        ]


def _last_lines(error: BaseException, kind: str, message: str, notes: Sequence[str]) -> str:
    if isinstance(error, SyntaxError) and _is_plain_syntax(error):
        return "".join(traceback.format_exception_only(error))  # shows where in the user's source
    words = [f"{kind}: {message}" if message else kind, *notes]
    return "\n".join(words) + "\n"


def _is_plain_syntax(error: SyntaxError) -> bool:
    """Return whether Python's own display of a syntax error calls nobody's code."""
    shown = (error.msg, error.filename, error.lineno, error.offset, error.text)
    parts = (*shown, getattr(error, "end_lineno", None), getattr(error, "end_offset", None))
    return type(error).__str__ is SyntaxError.__str__ and all(
        type(part) in _PLAIN_ARGUMENTS and (not isinstance(part, str) or len(part) < MOST_MESSAGE)
        for part in parts
    )


def qualified_name(kind: type[BaseException]) -> str:
    """Name an exception class as people write it: built-ins bare, others with their module."""
    if kind.__module__ in {"builtins", "flowcore.errors"}:
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_names(error: BaseException) -> frozenset[str]:
    """All names ``retry_on`` may use for an error: its class's and its base classes'.

    A Celery task's own error is named as well as the one that stands for it.
    """
    names = _names(type(error))
    if isinstance(error, errors.CeleryTaskError) and error.task_error:
        names |= names_of(error.task_error)
    return names


def names_of(kind: str) -> frozenset[str]:
    """The same names for an error of which only its class's name is known.

    Those of its base classes are among them if the class is here: a built-in one, one of ours, or
    one of a module that this process has imported.
    """
    module, _, name = kind.rpartition(".")
    homes = [builtins, errors] if not module else [sys.modules.get(module)]
    for home in homes:
        found = getattr(home, name, None)
        if isinstance(found, type) and issubclass(found, BaseException):
            return _names(found) | {kind}
    return frozenset({kind, name})


def _names(kind: type[BaseException]) -> frozenset[str]:
    classes = [base for base in kind.__mro__ if issubclass(base, BaseException)]
    return frozenset(
        name
        for base in classes
        for name in (base.__name__, f"{base.__module__}.{base.__qualname__}")
    )
