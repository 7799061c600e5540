"""A Celery task that does nothing: the bare round trip of bench_agents."""

from celery import shared_task

__all__ = ["nothing"]


@shared_task(name="bench.nothing", ignore_result=False)
def nothing() -> None:
    """Do nothing."""
