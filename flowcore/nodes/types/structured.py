"""The node types that start runs of their own.

In: nothing. Out: their names, and what ``flowcore nodes`` says of them. Not here: what they do: the
engine takes them apart (plan.children, engine.child_runs.structured) and calls none of these
functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from flowcore.errors import UsageError

__all__ = ["EPILOGUE", "STRUCTURED", "WITH_FLOW"]

#: The id of the node that is done when all others have settled.
EPILOGUE = "finally"


def workflow(**values: Any) -> NoReturn:
    """Run another flow as a run of its own; give on its output.

    Beside ``uses: workflow`` stands ``flow``: the name of a deployed flow (``rag`` or ``rag@2``), a
    file beside this one (``./rag.yaml``), or a definition written right here. Its input is the
    node's ``with``; without one, what flows into the node. It sees nothing else of this flow.

    The node waits without a worker. Stopping the run stops that one, a failure in it is this
    node's, and ``timeout`` is the time that it may take. ``flowcore status RUN/NODE`` shows it.
    """
    _refuse(values)


def parallel(**values: Any) -> NoReturn:
    """Run several nodes at once; give on their outputs by name.

    Beside ``uses: parallel`` stand ``branches``: nodes by name, as under ``nodes`` but without
    ``needs``. What they read by expression is what this node could read.
    """
    _refuse(values)


def for_each(**values: Any) -> NoReturn:
    """Run a flow for each item of a list; give on the outputs in the order of the items.

    Like ``workflow``, with ``for_each`` beside it. Any other node takes ``for_each``, too, and runs
    once for each ``item``: its function is given the item, or what of it the parameters name.
    """
    _refuse(values)


def loop(**values: Any) -> NoReturn:
    """Run a flow again and again, until a condition holds; give on its last output.

    Like ``workflow``, with ``until`` (CEL over ``output``, ``state`` and ``iteration``) or
    ``max_iterations`` beside it. Any other node takes them, too. ``state`` is ``initial`` in the
    first iteration and the output of the one before in each that follows.
    """
    _refuse(values)


def _refuse(values: Mapping[str, Any]) -> NoReturn:
    msg = f"this type starts a run of its own and cannot be called (with {sorted(values)})"
    raise UsageError(msg)


#: Types whose body is a flow.
WITH_FLOW = frozenset({"workflow", "for_each", "map", "loop"})

STRUCTURED: Mapping[str, Callable[..., Any]] = {
    "workflow": workflow,
    "parallel": parallel,
    "for_each": for_each,
    "map": for_each,
    "loop": loop,
}
