"""Publishing to RabbitMQ: the confirms of a group of messages are waited for together.

In: what a Producer publishes in a batch. Out: messages that a majority of the queue's replicas has
written, or an error. Not here: keeping connections (producers).

py-amqp waits for each confirm before it sends the next message, which for a group of a hundred is
a hundred writes to disk one after the other. It hands confirms to callbacks too, and kombu lets a
channel bring its own batch, so nothing of either is replaced here.
"""

import time
from collections.abc import Mapping
from typing import Any

from kombu.exceptions import OperationalError
from kombu.transport import pyamqp

__all__ = ["ConfirmingTransport"]

#: What publishers and consumers have to agree on, or RabbitMQ refuses the second of them.
_ARGUMENTS: Mapping[str, str] = {"x-queue-type": "quorum"}

#: Seconds for the confirms of one group. A broker in need of memory or disk keeps publishers
#: waiting, and a janitor will publish what is not confirmed.
_PATIENCE = 5.0


class _Batch:
    """Batch of messages, with the attributes that kombu's Producer needs."""

    def __init__(self, channel: "_Channel") -> None:
        self.channel = channel

    def publish(self, message: Any, *, exchange: str, routing_key: str, **_: Any) -> None:
        if not exchange:
            self.channel.ensure_queue(routing_key)
        self.channel.publish_unconfirmed(message, exchange, routing_key)

    def flush(self) -> None:
        self.channel.wait_for_confirms()

    def discard(self) -> None:
        """Do nothing: sent messages cannot be recalled; a failed caller drops the connection."""

    def close(self) -> None:
        """The channel outlives the batch."""


class _Channel(pyamqp.Channel):
    """A channel in confirm mode that counts what is not confirmed yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sent = 0
        self._unconfirmed: set[int] = set()
        self._refused = 0
        self._queues: set[str] = set()
        events: Any = self.events  # type: ignore[attr-defined]  # py-amqp carries no types
        events["basic_ack"].add(self._on_confirm)
        events["basic_nack"].add(self._on_refusal)

    def create_publish_batch(self, *, max_size: int) -> _Batch:  # noqa: ARG002  (kombu's)
        return _Batch(self)

    def ensure_queue(self, name: str) -> None:
        """Declare a queue once: what is sent to one that is not there is gone without a word."""
        if name not in self._queues:
            self.queue_declare(name, durable=True, auto_delete=False, arguments=_ARGUMENTS)
            self._queues.add(name)

    def publish_unconfirmed(self, message: Any, exchange: str, routing_key: str) -> None:
        if not self._sent:
            self.confirm_select()
        self._sent += 1
        self._unconfirmed.add(self._sent)
        self.basic_publish(message, exchange, routing_key)

    def wait_for_confirms(self) -> None:
        ends = time.monotonic() + _PATIENCE
        while self._unconfirmed:
            left = ends - time.monotonic()
            if left <= 0:
                msg = f"{len(self._unconfirmed)} messages not confirmed in {_PATIENCE:.0f} s"
                raise OperationalError(msg)
            self.connection.drain_events(timeout=left)
        if self._refused:
            msg = f"the broker refused {self._refused} messages"
            raise OperationalError(msg)

    def _on_confirm(self, tag: int, multiple: bool) -> None:  # noqa: FBT001  (py-amqp's)
        if multiple:
            self._unconfirmed = {sent for sent in self._unconfirmed if sent > tag}
        else:
            self._unconfirmed.discard(tag)

    def _on_refusal(self, tag: int, multiple: bool) -> None:  # noqa: FBT001  (py-amqp's)
        before = len(self._unconfirmed)
        self._on_confirm(tag, multiple)
        self._refused += before - len(self._unconfirmed)


class _Connection(pyamqp.Connection):
    Channel = _Channel


class ConfirmingTransport(pyamqp.Transport):
    """Kombu's transport with channels that confirm a batch as a whole."""

    Connection = _Connection

    implements = pyamqp.Transport.implements.extend(batch_publish=True)
