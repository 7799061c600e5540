"""A run store that tells of a run when its replicas have it, too.

In: runs. Out: the same as RedisStore, later. Not here: how many replicas there have to be (the
setting); what else a failover may lose, which leases and janitors mend.

Replication is asynchronous: what a primary has acknowledged and not yet copied is gone when another
is promoted. Of all that is lost so, only a run that was just submitted is missed by somebody who
was told that it is there.
"""

import time
from typing import Any

from flowcore.errors import StoreUnreachableError
from flowcore.plan.plan import Plan
from flowcore.ports.store import NewRun, SubmitResult
from flowcore.ports.unit import Granularity
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import ScriptConnection
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.store import RedisStore

__all__ = ["ReplicatedStore"]

#: Seconds for which a submit waits for replicas, through the promotion of one of them.
PATIENCE = 5.0

#: Seconds of one wait; then the Sentinels are asked again who the primary is.
_TURN = 0.5

#: Is written so that there is something to wait for when the run was there already.
_MARK = "fc:replicated"


class ReplicatedStore(RedisStore):
    """Waits, in each submit, until so many replicas have the run."""

    def __init__(self, client: Client, *, leases: Leases, replicas: int) -> None:
        """Wait for ``replicas`` of them."""
        super().__init__(client, leases=leases)
        self._replicas = replicas

    def submit(self, run: NewRun, plan: Plan, *, grain: Granularity | None = None) -> SubmitResult:
        """Create the run once per id, and wait until it is copied.

        Runs inside others are started again with what they belong to.

        Raises:
            StoreUnreachableError: Too few replicas have it in time. It may run all the same.
        """
        if run.parent is not None:
            return super().submit(run, plan, grain=grain)
        ends = time.monotonic() + PATIENCE
        first: SubmitResult | None = None
        while True:
            submitted = super().submit(run, plan, grain=grain)
            if first is None or submitted.created:
                first = submitted
            copied = self._copied(written=submitted.created)
            if copied >= self._replicas:
                return first
            # Perhaps this is no primary any more: a new connection asks the Sentinels.
            self.line.connection().disconnect()
            if time.monotonic() >= ends:
                raise StoreUnreachableError(_missing(run.id, copied, self._replicas))

    def _copied(self, *, written: bool) -> int:
        """Wait for a moment; return how many replicas have all that this thread has written."""
        with translated():
            if not written:
                _ask(self.line, "SET", _MARK, 1, "PX", 1000)
            return int(_ask(self.line, "WAIT", self._replicas, round(_TURN * 1000)))


def _ask(line: ScriptConnection, *command: Any) -> Any:
    """Say something on the very connection that has written."""
    connection = line.connection()
    try:
        connection.send_command(*command, check_health=False)
        return connection.read_response()
    except BaseException:
        connection.disconnect()
        raise


def _missing(run: str, copied: int, wanted: int) -> str:
    return (
        f"run {run!r} is written, but {copied} of {wanted} replicas have it after {PATIENCE:g} s, "
        "and it would be lost with its primary: see that they are up (FLOWCORE_REPLICAS), then "
        "submit it again with this id, which is the same run"
    )
