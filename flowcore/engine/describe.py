"""An exception as plain data: what is kept of a failure.

In: an exception. Out: a Failure whose words have a bounded length. Not here: what becomes of the
node (retry).
"""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from flowcore.engine.limits import MOST_MESSAGE, MOST_TRACEBACK, shorten
from flowcore.engine.retry import qualified_name
from flowcore.errors import FlowcoreError
from flowcore.run.record import Failure

__all__ = ["describe"]

_HERE = str(Path(__file__).parent)


def _sentence(error: BaseException) -> str:
    """The error's own words; the ``__str__`` of a user's class may raise in its turn."""
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001  (whatever it is, the node's failure is recorded)
        return f"(its text cannot be shown: {qualified_name(type(trouble))})"


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
    frames = traceback.extract_tb(error.__traceback__)
    own: Sequence[traceback.FrameSummary] = [f for f in frames if not f.filename.startswith(_HERE)]
    last = shorten(hide("".join(traceback.format_exception_only(error))), MOST_MESSAGE)
    trace = "Traceback (most recent call last):\n" + hide("".join(traceback.format_list(list(own))))
    return Failure(
        type=qualified_name(type(error)),
        message=shorten(hide(_sentence(error)), MOST_MESSAGE),
        code=error.code if isinstance(error, FlowcoreError) else None,
        traceback=shorten(trace, MOST_TRACEBACK - len(last)) + last if own else None,
        node=node,
        attempt=attempt,
        worker=worker,
    )
