"""Task events for Flower and other monitors, beyond those that workers send by themselves.

In: what was published, runs that start and end. Out: ``task-*`` events.

Celery's own ``task-sent`` would name every node ``flowcore.node``; ours carries the node's name.
Each run is one more row, whose id is the run's: its sent event comes from the client, its other
events from workers.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

__all__ = ["RunRow", "SentEvents"]

_log = logging.getLogger(__name__)

_COPIED = ("root_id", "parent_id", "retries", "eta", "expires")


class SentEvents:
    """Announces published messages, one broker message for a whole group."""

    def __init__(self, app: Celery) -> None:
        """Send with ``app``'s events."""
        self._app = app

    def announce(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Send ``task-sent`` for (queue, headers) pairs; monitors are told, never waited for."""
        try:
            with self._app.events.default_dispatcher() as events:
                events.buffer_group = {"task"}
                for queue, headers in messages:
                    events.send(
                        "task-sent",
                        uuid=headers["id"],
                        name=headers["shadow"],
                        args=headers["argsrepr"],
                        kwargs=headers["kwargsrepr"],
                        queue=queue,
                        **{key: headers[key] for key in _COPIED},
                    )
                events.flush()
        except (OperationalError, OSError) as error:
            _log.debug("monitors were not told of sent nodes: %s", error)


class RunRow:
    """The row of a run in Flower."""

    def __init__(self, app: Celery) -> None:
        """Send with ``app``'s events."""
        self._app = app

    def sent(self, *, run: str, flow: str, queue: str) -> None:
        """The client has submitted the run."""
        self._send(
            ("task-sent",),
            None,
            uuid=run,
            name=flow,
            args="()",
            kwargs=repr({"run": run, "flow": flow}),
            root_id=run,
            parent_id=None,
            retries=0,
            queue=queue,
        )

    def started(self, *, run: str, flow: str, hostname: str) -> None:
        """A worker has claimed the run's first node."""
        self._send(
            ("task-received", "task-started"),
            hostname,
            uuid=run,
            name=flow,
            args="()",
            kwargs=repr({"run": run, "flow": flow}),
            root_id=run,
            parent_id=None,
            retries=0,
        )

    def finished(self, *, run: str, state: str, runtime: float, hostname: str) -> None:
        """A worker has ended the run."""
        if state == "succeeded":
            self._send(
                ("task-succeeded",), hostname, uuid=run, result=f"'{state}'", runtime=runtime
            )
        elif state == "failed":
            self._send(
                ("task-failed",), hostname, uuid=run, exception="run failed", traceback=""
            )
        else:
            self._send(
                ("task-revoked",), hostname, uuid=run, terminated=False, signum=None, expired=False
            )

    def _send(self, kinds: Iterable[str], hostname: str | None, **fields: Any) -> None:
        try:
            with self._app.events.default_dispatcher(hostname=hostname) as events:
                for kind in kinds:
                    events.send(kind, **fields)
        except (OperationalError, OSError) as error:
            _log.debug("monitors were not told of run %s: %s", fields["uuid"], error)
