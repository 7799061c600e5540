"""The app of the benchmark's worker: flowcore's own, with one more task that does nothing.

In: the environment, as for ``flowcore.assembly.worker``. Out: ``app``, for ``celery -A``.
"""

from flowcore.assembly.worker import app
from flowcore.bench.nodes import CEILING_TASK

__all__ = ["app", "noop_task"]


@app.task(name=CEILING_TASK, ignore_result=True)
def noop_task() -> None:
    """Do nothing, as an ordinary Celery task: the ceiling."""
