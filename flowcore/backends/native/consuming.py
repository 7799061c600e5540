"""How a worker takes messages from a Redis: those of nodes are doorbells, and are not kept.

In: messages that kombu has popped. Out: kombu's bookkeeping of what is not acknowledged yet, left
out for nodes. Not here: publishing (producing).

kombu writes each message it has popped to a hash and takes it out again once it is acknowledged:
eight commands, of which a node has no use. That a node has to run is on record before its message
is sent; a message that dies with its worker is sent again by a janitor, in seconds, while kombu
would wait for the visibility timeout. Tasks of the user's own on the same worker are kept as ever.
"""

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis
from kombu.transport.virtual.base import QoS

from flowcore.backends.native.publish import NODE_TASK, UNIT_TASK

__all__ = ["DoorbellAMQP", "DoorbellQoS"]

_DOORBELLS = frozenset({NODE_TASK, UNIT_TASK})


class DoorbellQoS(redis.QoS):
    """Counts what is not acknowledged here, and keeps a copy in Redis only of what needs one."""

    _delivered: Any
    channel: Any

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message has been popped."""
        if _is_doorbell(message):
            QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """A message is done with."""
        if self._doorbell(delivery_tag) is not None:
            QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002  (kombu's)
        """A message is done with, or is to go to somebody else."""
        if self._doorbell(delivery_tag) is None:
            super().reject(delivery_tag, requeue=requeue)
            return
        if requeue:
            self.restore_by_tag(delivery_tag, leftmost=True)
        QoS.ack(self, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002  (kombu's)
        """Put a message back into its queue: a worker that shuts down, or wants none of it."""
        message = self._doorbell(tag)
        if message is None:
            super().restore_by_tag(tag, client=client, leftmost=leftmost)
            return
        info, raw = message.delivery_info, message._raw  # noqa: SLF001  (as kombu's own QoS does)
        with self.channel.conn_or_acquire(client) as given:
            self.channel._do_restore_message(  # noqa: SLF001  (as kombu's own QoS does)
                raw, info["exchange"], info["routing_key"], given, leftmost
            )

    def _doorbell(self, tag: str) -> Any:
        message = self._delivered.get(tag)
        return message if message is not None and _is_doorbell(message) else None


def _is_doorbell(message: Any) -> bool:
    return (message.headers or {}).get("task") in _DOORBELLS


class _Channel(redis.Channel):
    QoS = DoorbellQoS


class _Transport(redis.Transport):
    Channel = _Channel


class _SentinelChannel(redis.SentinelChannel):
    QoS = DoorbellQoS


class _SentinelTransport(redis.SentinelTransport):
    Channel = _SentinelChannel


_TRANSPORTS: dict[type, type] = {
    redis.Transport: _Transport,
    redis.SentinelTransport: _SentinelTransport,
}


class _DoorbellConnection(Connection):
    def get_transport_cls(self) -> Any:
        """Every scheme of Redis comes to its transport here; other brokers are left alone."""
        found = super().get_transport_cls()
        return _TRANSPORTS.get(found, found)


class DoorbellAMQP(AMQP):
    """Celery's connections, with the above."""

    Connection = _DoorbellConnection
