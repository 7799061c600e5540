"""Starts Celery's command line in a process whose clock may be faked.

In: Celery's arguments. Out: a worker. libfaketime refuses ``clock_nanosleep`` with the absolute
times of a monotonic clock that is not faked, which is how Python sleeps: sleep by ``select``, and
before anybody has imported the other one.
"""

import select
import sys
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], max(0.0, seconds))


time.sleep = _sleep  # type: ignore[assignment]  # it takes whatever has an index, too

from celery.__main__ import main  # noqa: E402  (after the clock)

if __name__ == "__main__":
    sys.exit(main())
