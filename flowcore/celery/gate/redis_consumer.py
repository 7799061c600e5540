"""Consumption of messages from Redis, through the gate; messages of nodes are not kept.

In: what kombu has popped. Out: refusals; kombu's bookkeeping of what is not acknowledged yet, left
out for nodes. Not here: what is refused and why (validation), RabbitMQ (rabbitmq_consumer),
publishing (kombu.producers).

kombu writes each message it has popped to a hash and takes it out again once it is acknowledged:
eight commands, of which a node has no use. That a node has to run is on record before its message
is sent; a message that dies with its worker is sent again by a janitor, in seconds, while kombu
would wait for the visibility timeout. Tasks of the user's own on the same worker are kept as ever.
"""

import functools
from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import pyamqp, redis
from kombu.transport.virtual.base import QoS

from flowcore.celery.dispatcher import NODE_TASK, UNIT_TASK
from flowcore.celery.gate.body_size import judge_size
from flowcore.celery.gate.rabbitmq_consumer import GatedSSLTransport, GatedTransport
from flowcore.celery.gate.refusal import Refuser, shown_error
from flowcore.celery.gate.validation import (
    is_mailbox,
    judge_envelope,
    judge_mail,
)

__all__ = ["DoorbellAMQP", "DoorbellQoS"]

_DOORBELLS = frozenset({NODE_TASK, UNIT_TASK})


class DoorbellQoS(redis.QoS):
    """Counts what is not acknowledged here, and keeps a copy in Redis only of what needs one."""

    _delivered: Any
    _remove_from_indices: Any
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
            self._restore_kept(tag, client, leftmost=leftmost)
            return
        info, raw = message.delivery_info, message._raw  # noqa: SLF001  (as kombu's own QoS does)
        with self.channel.conn_or_acquire(client) as given:
            self.channel._do_restore_message(  # noqa: SLF001  (as kombu's own QoS does)
                raw, info["exchange"], info["routing_key"], given, leftmost
            )

    def _restore_kept(self, tag: str, client: Any, *, leftmost: bool) -> None:
        """Put back a message of which a copy is in Redis; one that is none may not stop the rest.

        A message that another worker took is restored by its copy, which anybody may have written.
        """
        try:
            super().restore_by_tag(tag, client=client, leftmost=leftmost)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            with self.channel.conn_or_acquire(client) as given:
                raw = given.hget(self.unacked_key, tag)
                self._remove_from_indices(tag, given.pipeline()).execute()
            self.channel.refuse(raw, "it cannot be put back into its queue", queue="")

    def _doorbell(self, tag: str) -> Any:
        message = self._delivered.get(tag)
        return message if message is not None and _is_doorbell(message) else None


def _is_doorbell(message: Any) -> bool:
    return (message.headers or {}).get("task") in _DOORBELLS


_PACKED = "compression"
_NO: dict[str, Any] = {}


class _Gate:
    """A part of kombu's Redis channels: what is popped and is no message is refused here."""

    _popped: Any = None

    @functools.cached_property
    def client(self) -> Any:
        """The connection that messages are popped on; it remembers what was popped last.

        What is no JSON is gone from the queue before anybody could judge it.
        """
        client = self._create_client(asynchronous=True)  # type: ignore[attr-defined]
        parse = client.parse_response

        def remember(connection: Any, command: str, **options: Any) -> Any:
            answer = parse(connection, command, **options)
            if command == "BRPOP":
                self._popped = answer
            return answer

        client.parse_response = remember
        return client

    def _brpop_read(self, **options: Any) -> Any:
        self._popped = None
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except self.connection_errors:  # type: ignore[attr-defined]
            raise
        except (RecursionError, TypeError, ValueError) as error:
            if self._popped is None:
                raise
            queue, raw = self._popped
            self.refuse(raw, f"it is not JSON: {type(error).__name__}", queue=_text(queue))
            return True

    def _receive_one(self, client: Any) -> Any:
        try:
            return super()._receive_one(client)  # type: ignore[misc]
        except RecursionError:
            self.refuse(b"", "a broadcast is nested too deeply", queue="")
            return None

    def refuse(self, raw: Any, reason: str, *, queue: str) -> None:
        """Keep a message aside that cannot even be acknowledged."""
        self.connection.refuse(raw, reason, queue=queue)  # type: ignore[attr-defined]


class _GatedDelivery:
    """A part of kombu's Redis transports: judges each message before kombu makes one of it."""

    channels: Any
    client: Any

    def _deliver(self: Any, message: Any, queue: str) -> None:
        reason = judge_envelope(message)
        if reason is None and (is_mailbox(queue) or (message.get("headers") or _NO).get(_PACKED)):
            reason = self._judge_body(message, queue)
        if reason is not None:
            self.refuse(message, reason, queue=queue)
            return
        try:
            super()._deliver(message, queue)  # type: ignore[misc]
        except (*self.connection_errors, *self.channel_errors):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, no message may end a worker)
            self._forget(message["properties"]["delivery_tag"])
            self.refuse(message, f"Celery fails on it: {shown_error(error)}", queue=queue)

    def refuse(self, raw: Any, reason: str, *, queue: str) -> None:
        """Keep a message aside."""
        refuser: Refuser | None = getattr(self.client, "refuser", None)
        if refuser is not None:
            refuser.refuse(raw, reason, queue=queue)

    def _judge_body(self, message: Any, queue: str) -> str | None:
        """Judge what Celery's own handlers do not: commands, and what is compressed."""
        encoding = message["properties"].get("body_encoding")
        headers = message.get("headers") or {}
        try:
            body = self.channels[0].decode_body(message["body"], encoding)
        except Exception as error:  # noqa: BLE001
            return f"its body is not {encoding}: {shown_error(error)}"
        if is_mailbox(queue):
            return judge_mail(
                queue, body, headers, message.get("content-type"), message.get("content-encoding")
            )
        return judge_size(body, headers[_PACKED])

    def _forget(self, tag: str) -> None:
        """Acknowledge what kombu may have noted as delivered."""
        for channel in self.channels:
            if tag in channel.qos._delivered:  # noqa: SLF001  (kombu has no other way to ask)
                channel.qos.ack(tag)


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


class _Closable:
    """A channel of which something is asked after its connection was closed, as in a restart.

    kombu would look up the address of no connection then, which ends the worker; this is said in
    a way that makes a worker connect again.
    """

    connection: Any

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  (kombu's)
        if getattr(self.connection, "client", None) is None:
            raise ConnectionResetError("the connection of this channel is closed")
        given: Any = super()
        return given._connparams(asynchronous)  # noqa: SLF001  (kombu's own hook)


class _Channel(_Gate, _Closable, redis.Channel):
    QoS = DoorbellQoS


class _Transport(_GatedDelivery, redis.Transport):  # type: ignore[misc]  # kombu's types know no _deliver
    Channel = _Channel


class _SentinelChannel(_Gate, _Closable, redis.SentinelChannel):
    QoS = DoorbellQoS


class _SentinelTransport(_GatedDelivery, redis.SentinelTransport):  # type: ignore[misc]
    Channel = _SentinelChannel


_TRANSPORTS: dict[type, type] = {
    redis.Transport: _Transport,
    redis.SentinelTransport: _SentinelTransport,
    pyamqp.Transport: GatedTransport,
    pyamqp.SSLTransport: GatedSSLTransport,
}


class _GatedConnection(Connection):
    refuser: Refuser | None = None

    def get_transport_cls(self) -> Any:
        """Redis and RabbitMQ come to our transports; other brokers are left alone."""
        found = super().get_transport_cls()
        return _TRANSPORTS.get(found, found)

    def clone(self, **changes: Any) -> Any:
        """Copy it, with who keeps what is refused."""
        made: Any = super().clone(**changes)
        made.refuser = self.refuser
        return made


class DoorbellAMQP(AMQP):
    """Celery's connections, with the above."""

    app: Any

    def Connection(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # noqa: N802  (celery's)
        """Make a connection of the app, which finds there who keeps what is refused."""
        made = _GatedConnection(*args, **kwargs)
        made.refuser = getattr(getattr(self.app, "flowcore", None), "refuser", None)
        return made
