"""A Celery task of the user's own, which a behaviour names."""

from celery import shared_task


@shared_task(name="behaviours.add")
def add(x: int, y: int) -> int:
    return x + y
