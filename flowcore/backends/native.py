"""The native backend: each flow is a web of chords on Celery workers.

In: options of the requirement page. Out: workflows that run on Celery workers.
"""

from typing import ClassVar

from flowcore.backends.celery_based import CeleryBackend, Workflow

__all__ = ["NativeBackend", "Workflow"]


class NativeBackend(CeleryBackend):
    """Run each node as a Celery task."""

    name: ClassVar[str] = "native"
    status: ClassVar[str] = "stable"
