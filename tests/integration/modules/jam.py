"""Jams the loop of the first worker that imports it, as a bug in its consumer would."""

import os
import time
from pathlib import Path
from typing import Any

from celery.signals import worker_ready

MARK = Path(os.environ["FLOWCORE_HOME"]) / "jammed"


@worker_ready.connect
def jam(sender: Any, **_: Any) -> None:
    """Let the loop sleep, once it turns."""
    if not MARK.exists():
        sender.hub.call_later(0.1, _jam)


def _jam() -> None:
    MARK.touch()
    while True:
        time.sleep(60)
