"""Schedules in a test, on its own time.

In: deployed flows and times. Out: runs, as time passes. Not here: letting it pass (flows).

Making and changing them is the code of the real ones.
"""

from typing import Any, cast

from flowcore.assembly.session import Session
from flowcore.client.schedules import Schedules
from flowcore.testing.environment import InProcess
from flowcore.testing.run import TestRun

__all__ = ["TestSchedules"]


class TestSchedules(Schedules):
    """The schedules of a test."""

    __test__ = False  # no test of pytest's, whatever its name

    def __init__(self, session: InProcess) -> None:
        """Keep them in the test's own place."""
        super().__init__(session=cast("Session", session))
        self._place = session

    def run_now(self, name: str) -> Any:
        """Make a run of a schedule now, beside those of its times."""
        made = super().run_now(name)
        self._place.runner.proceed()
        return TestRun(made.id, session=self._place)
