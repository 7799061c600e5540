"""The app of the benchmark's worker: flowcore's own, with one more task that does nothing."""

from flowcore.assembly.worker import app
from flowcore.graph.author import node

__all__ = ["app", "noop", "noop_task"]


@node
def noop() -> None:
    """Do nothing: all that is measured is the engine."""


@app.task(name="bench.noop", ignore_result=True)  # type: ignore[untyped-decorator]
def noop_task() -> None:
    """Do nothing, as an ordinary Celery task: the ceiling."""
