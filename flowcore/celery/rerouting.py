"""Messages that belong on another queue than the one they came on: they are sent on.

In: a node that waits for that, since a worker has looked at its function. Out: its next message, on
the queue that the decorator names. Not here: what decorators say
(engine.attempts.decorator_policies), which queue a message is sent to at first (dispatcher).

A flow that was compiled where a function is not imported is sent without its decorator's `queue`
and `priority`. That the node goes elsewhere is recorded, as a wait, by the attempt that has it; so
it has one message at a time. A message that did not come on the queue that the plan says was sent
on already, and is not again.
"""

import logging
import threading
import time
from dataclasses import replace
from functools import partial

from flowcore.celery.dispatcher import HIGH, LOW, queue_name
from flowcore.celery.node_runner import NodeHost
from flowcore.engine.attempts.attempt import AttemptResult
from flowcore.engine.attempts.decorator_policies import Route, SentOn
from flowcore.errors import FlowcoreError
from flowcore.plan.policy import Policy
from flowcore.run.record import RunSummary

__all__ = ["Forwarding"]

_log = logging.getLogger(__name__)

#: Seconds for which a look at the board of workers is good.
_FRESH = 2.0


class Forwarding:
    """Sends on what a process is not to run."""

    def __init__(self, host: NodeHost) -> None:
        """Work for a host; nothing is asked yet."""
        self._host = host
        self._services = host.services
        host.units.executor.marked.is_elsewhere = self._is_elsewhere
        self._here = threading.local()
        self._served: frozenset[str] = frozenset()
        self._until = 0.0
        self._told: set[str] = set()

    def enter(self, queue: str) -> None:
        """Note the queue of the message that this thread works on."""
        self._here.queue = queue

    def send_on(self, attempt: AttemptResult, *, worker: str) -> None:
        """Send a node on that was recorded to wait for that; should it fail, that is done later.

        Args:
            attempt: The attempt that has found it.
            worker: This worker's name.
        """
        wait, plan, ticket = attempt.outcome.wait, attempt.plan, attempt.ticket
        if not isinstance(wait, SentOn):
            return
        at, route = plan.policy_of[ticket.node], wait.route
        policies = list(plan.policies)
        policies[at] = replace(policies[at], queue=route.queue, priority=route.priority)
        moved = replace(plan, policies=tuple(policies))
        wake = partial(self._services.store.wake, ticket)
        try:
            self._host.write(wake, moved, ticket.run, worker)
        except FlowcoreError as error:
            _log.warning("node %d of run %s was not sent on: %s", ticket.node, ticket.run, error)

    def _is_elsewhere(self, run: str, policy: Policy, route: Route) -> bool:
        found = self._services.reader.summary(run)
        if found is None:
            return False
        name = partial(self._name, found)
        came = getattr(self._here, "queue", "")
        sent, target = name(policy.queue, policy.priority), name(route.queue, route.priority)
        if _base(came) == _base(target):
            return _rank(target) > _rank(came)
        if _base(came) != _base(sent):
            return False
        if self._serves(_base(target)):
            return True
        if target not in self._told:
            self._told.add(target)
            _log.warning(
                "the decorator of %s names queue %s, which no live worker serves: it runs on %s",
                policy.uses,
                target,
                came,
            )
        return False

    def _name(self, run: RunSummary, queue: str | None, priority: int | None) -> str:
        return queue_name(
            queue,
            default=self._services.dispatcher.default_queue,
            namespace=run.namespace,
            priority=run.priority if priority is None else priority,
        )

    def _serves(self, queue: str) -> bool:
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _FRESH
            notes = self._services.board.workers()
            self._served = frozenset(name for note in notes for name in note.queues)
        return queue in self._served


def _base(queue: str) -> str:
    return queue.removesuffix(HIGH).removesuffix(LOW)


def _rank(queue: str) -> int:
    """The place of a lane: messages of a lower one are taken first."""
    return 0 if queue.endswith(HIGH) else 2 if queue.endswith(LOW) else 1
