"""The janitor: publishes again what nobody claimed, fires what is due. Needs no leader.

In: a store and a dispatcher. Out: one step, and how long until the next. Not here: threads.
"""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from flowcore.engine.values.isolation import Deadline, Isolation
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import Dispatch, RunStore
from flowcore.run.status import RunState

__all__ = ["Janitor"]

_log = logging.getLogger(__name__)

_LIMIT = 200

#: Seconds after which a step leaves the rest for a later one.
_STEP = 2.0

#: So many janitors look as often as they like; more of them look less often each.
_FEW = 10

#: Seconds: a worker whose neighbours have died is not alone for longer.
_LONGEST = 60.0

#: Seconds: whatever runs, or is to run, comes up sooner than this.
_FAR = 60.0

#: After this many looks at a dispatch nobody claimed, it is published again even though its
#: queue holds a backlog that may contain the first message.
PATIENCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Janitor:
    """One worker's share of the housekeeping."""

    store: RunStore
    dispatcher: Dispatcher
    backlog: Callable[[Dispatch], int]
    """Messages waiting in the queue that a dispatch goes to."""
    on_finished: Callable[[Mapping[str, RunState]], None] = lambda _: None
    idle: float = 0.2
    """Seconds between two looks at the agenda when nothing is known to be due."""
    quiet: float = 1.0
    """The same where nothing goes on, here or elsewhere."""
    busy: Callable[[], bool] = lambda: True
    """Whether this worker does something, or did a moment ago."""
    workers: Callable[[], int] = lambda: 1
    """How many janitors there are."""
    isolation: Isolation = field(default_factory=lambda: Isolation("runs"))

    def step(self) -> float:
        """Do what is overdue; return the seconds until the next step.

        A run that cannot be served holds up no other. What there is no time for any more comes up
        again, as what nobody claimed.
        """
        sweep = self.store.sweep(limit=_LIMIT)
        deadline = Deadline(seconds=_STEP)
        for dispatch in sweep.dispatches:
            if not deadline.is_over():
                self._serve(dispatch.run, partial(self._publish, dispatch))
        again = 0
        for dispatch, times in sweep.overdue:
            if not deadline.is_over() and self._is_wanted(dispatch, times):
                again += self._serve(dispatch.run, partial(self._publish, dispatch))
        if again:
            _log.info("published %d unclaimed nodes again", again)
        for run, state in sweep.finished.items():
            # Its end is recorded; this only tells monitors.
            self._serve(run, partial(self.on_finished, {run: state}))
        if len(sweep.overdue) + len(sweep.dispatches) >= _LIMIT:
            return 0.0
        return self._pause(sweep.next_due)

    def _is_wanted(self, dispatch: Dispatch, times: int) -> bool:
        """Return whether a message is needed because nobody will find the one sent before."""
        if times >= PATIENCE:
            return True
        wanted: list[bool] = []
        self._serve(dispatch.run, lambda: wanted.append(not self.backlog(dispatch)))
        return wanted == [True]

    def _publish(self, dispatch: Dispatch) -> None:
        self.dispatcher.publish(dispatch, self.store.get_plan(dispatch.plan))

    def _serve(self, run: str, call: Callable[[], object]) -> bool:
        return self.isolation.serve(run, call)

    def _pause(self, next_due: float | None) -> float:
        """Share the looking with the others: all together look 50 times a second."""
        crowd = self.workers() / _FEW
        if crowd > 1:
            # Nor do all of them get up for the same entry.
            return min(self.idle * crowd, _LONGEST) * random.uniform(0.5, 1.5)  # noqa: S311  (no secret)
        if (next_due is None or next_due > _FAR) and not self.busy():
            return self.quiet
        ahead = self.idle if next_due is None else min(next_due, self.idle)
        return max(ahead, 0.005)
