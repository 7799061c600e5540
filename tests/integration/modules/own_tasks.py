"""A task of the user's own, on the workers that run nodes."""

import time
from pathlib import Path

from celery import shared_task


@shared_task(name="own.wait_for", acks_late=True)
def wait_for(path: str, mark: str) -> None:
    """Wait until a file exists."""
    Path(mark).touch()
    while not Path(path).exists():
        time.sleep(0.01)
