"""F4 in part, F10, F12: messages that are lost, doubled, late, damaged or too large.

In: the broker's database. Out: faults. Proof is the count of messages.
"""

import base64
import json
import time

from tests.faults.flows import big_case, poison_case
from tests.faults.injectors.base import Fault
from tests.faults.world import BROKER

__all__ = [
    "BigPayload",
    "DamagedMessages",
    "DoubledMessages",
    "FlushedBroker",
    "Garbage",
    "LostMessages",
    "PoisonNode",
    "StaleMessages",
]

_BIG = 20 * 2**20


def _run_of(message: bytes) -> str:
    found: str = json.loads(message)["headers"]["root_id"]
    return found


class LostMessages(Fault):
    """F4: messages that were popped by somebody who is no more."""

    family, title = "F4", "messages lost after their pop"

    def inject(self) -> None:
        if not self.world.find(self.world.waiting):
            return
        self.begin()
        with self.world.server.client(BROKER) as broker:
            lost = broker.rpop(self.world.queue, 3)
        if lost:
            runs = {_run_of(message) for message in lost}
            self.proof = f"{len(lost)} messages of {sorted(runs)} popped and dropped"


class DoubledMessages(Fault):
    """F10."""

    family, title = "F10", "each waiting message four times"

    def inject(self) -> None:
        waiting = self.world.find(self.world.waiting)
        if not waiting:
            return
        self.begin()
        with self.world.server.client(BROKER) as broker:
            broker.rpush(self.world.queue, *waiting, *waiting, *waiting)
        self.proof = f"{len(waiting)} messages pushed three times more"


class StaleMessages(Fault):
    """F10: attempts that are over come again."""

    family, title = "F10", "messages of attempts that are over"

    def inject(self) -> None:
        waiting = self.world.find(self.world.waiting)
        if not waiting:
            return
        runs = {_run_of(message) for message in waiting}
        if not self.world.wait_for(lambda: not runs & set(self.world.ledger.open()), patience=30):
            return
        self.begin()
        with self.world.server.client(BROKER) as broker:
            broker.rpush(self.world.queue, *waiting)
        self.proof = f"{len(waiting)} messages of {len(runs)} ended runs pushed once more"


class DamagedMessages(Fault):
    """F10: single bits of the body are wrong. Signatures refuse them, or they cannot be read."""

    family, title = "F10", "messages with damaged bodies"

    def inject(self) -> None:
        waiting = self.world.find(self.world.waiting)
        if not waiting:
            return
        self.begin()
        damaged = [self._damage(self.dice.choice(waiting)) for _ in range(20)]
        with self.world.server.client(BROKER) as broker:
            broker.rpush(self.world.queue, *damaged)
        left = self.world.wait_for(lambda: not set(damaged) & set(self.world.waiting()))
        if left:
            self.proof = f"{len(damaged)} messages with one wrong bit each were taken"

    def _damage(self, message: bytes) -> bytes:
        envelope = json.loads(message)
        body = bytearray(base64.b64decode(envelope["body"]))
        at = self.dice.randrange(len(body))
        body[at] ^= 1 << self.dice.randrange(8)
        return json.dumps({**envelope, "body": base64.b64encode(body).decode()}).encode()


class Garbage(Fault):
    """F10: what no worker has ever written."""

    family, title = "F10", "garbage in the queue"

    def inject(self) -> None:
        waiting = self.world.find(self.world.waiting)
        if not waiting:
            return
        envelope = json.loads(waiting[0])
        noise = base64.b64encode(self.dice.randbytes(1000)).decode()
        headers = {**envelope["headers"], "task": "no.such.task", "id": f"none-{time.time()}"}
        garbage = [
            json.dumps({**envelope, "body": noise}).encode(),
            json.dumps({**envelope, "headers": headers}).encode(),
            b"\xff\xfe not even text",
            b"[1, 2, 3]",
        ]
        self.begin()
        with self.world.server.client(BROKER) as broker:
            broker.rpush(self.world.queue, *garbage)
        if self.world.wait_for(lambda: not set(garbage) & set(self.world.waiting()), patience=30):
            self.proof = f"{len(garbage)} pieces of garbage were taken from the queue"


class BigPayload(Fault):
    """F10: 20 MB as an output and as a message."""

    family, title = "F10", "payloads of 20 MB"

    def inject(self) -> None:
        waiting = self.world.find(self.world.waiting)
        if not waiting:
            return
        run = f"big-{time.monotonic_ns()}"
        body = base64.b64encode(self.dice.randbytes(_BIG * 3 // 4)).decode()
        large = json.dumps({**json.loads(waiting[0]), "body": body}).encode()
        self.begin()
        with self.world.server.client(BROKER) as broker:
            broker.rpush(self.world.queue, large)
        self.world.ledger.submit(run, big_case())
        ended = self.world.wait_for(lambda: run not in self.world.ledger.open(), patience=60)
        if ended and large not in self.world.waiting():
            self.proof = (
                f"a message of {len(large):,} bytes was taken; {run} was refused its output"
            )


class PoisonNode(Fault):
    """F10: a node that kills its worker each time."""

    family, title = "F10", "a node that kills its process each time"

    def inject(self) -> None:
        run = f"poison-{time.monotonic_ns()}"
        self.begin()
        self.world.ledger.submit(run, poison_case(self.world.times.max_lost))
        ended = self.world.wait_for(lambda: run not in self.world.ledger.open(), patience=90)
        killed = sum(one.run == run for one in self.world.executions.all())
        if ended and killed:
            self.proof = f"{run} killed {killed} processes and became a dead letter"


class FlushedBroker(Fault):
    """F12."""

    family, title = "F12", "the broker's database flushed"

    def inject(self) -> None:
        waiting = self.world.find(self.world.waiting)
        if not waiting:
            return
        self.begin()
        with self.world.server.client(BROKER) as broker:
            count = broker.llen(self.world.queue)
            keys = broker.dbsize()
            broker.flushdb()
        if count:
            self.proof = f"{keys} keys are gone, with {count} messages waiting"
