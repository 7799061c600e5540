"""Consumption of messages from RabbitMQ, through the gate.

In: frames and messages as py-amqp reads them. Out: messages for kombu; refusals, acknowledged. Not
here: what is refused and why (validation), Redis (redis_consumer), publishing (kombu.producers).
"""

import struct
from collections.abc import Callable
from decimal import DecimalException
from typing import Any

from amqp.exceptions import AMQPError
from amqp.method_framing import frame_handler
from amqp.serialization import decode_properties_basic
from kombu.transport import pyamqp

from flowcore.celery.gate.body_size import judge_size
from flowcore.celery.gate.refusal import Refuser, shown_error
from flowcore.celery.gate.validation import (
    is_mailbox,
    judge_headers,
    judge_mail,
)

__all__ = ["GatedSSLTransport", "GatedTransport"]

#: What stands in place of properties that cannot be read.
_UNREADABLE = "application/x-flowcore-unreadable"

_HEADER = 2
"""The type of a frame that holds a message's properties."""

#: Bytes before the properties in such a frame: class, weight, size of the body.
_BEFORE = 12

#: What py-amqp raises on properties that a peer has written and the broker has passed on.
_CONFUSED = (
    AMQPError,
    ArithmeticError,
    DecimalException,
    LookupError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def _gated_frames(connection: Any, callback: Any) -> Callable[[Any], bool]:
    """Read frames as py-amqp does; properties that it cannot read become a mark of that.

    A broker passes on what it does not look into: text that is no UTF-8, times after the year 9999.
    """
    handle = frame_handler(connection, callback)

    def on_frame(frame: Any) -> bool:
        try:
            return bool(handle(frame))
        except _CONFUSED:
            kind, channel, data = frame
            if kind != _HEADER or _is_readable(data):
                raise
            mark = _UNREADABLE.encode()
            properties = struct.pack(">HB", 0x8000, len(mark)) + mark
            return bool(handle((kind, channel, bytes(data[:_BEFORE]) + properties)))

    return on_frame


def _is_readable(data: Any) -> bool:
    try:
        decode_properties_basic(data, _BEFORE)
    except _CONFUSED:
        return False
    return True


class _Channel(pyamqp.Channel):
    """A channel whose consumers get what the gate lets in."""

    def basic_consume(  # type: ignore[override]  # the rest is passed on
        self,
        queue: str = "",
        consumer_tag: str = "",
        no_local: bool = False,  # noqa: FBT001, FBT002  (py-amqp's)
        no_ack: bool = False,  # noqa: FBT001, FBT002  (py-amqp's)
        *,
        callback: Any = None,
        **kwargs: Any,
    ) -> Any:
        def gated(message: Any) -> None:
            reason = _judge(message, queue)
            if reason is None:
                try:
                    callback(message)
                except (*_ERRORS, *pyamqp.Transport.connection_errors):
                    raise
                except Exception as error:
                    if not no_ack:
                        raise  # the handler of tasks has an end of its own: see handling
                    reason = f"Celery fails on it: {shown_error(error)}"
                else:
                    return
            elif not no_ack:
                self.basic_ack(message.delivery_tag)
            _refuse(self.connection, message, reason, queue)

        wrapped = None if callback is None else gated
        return super().basic_consume(
            queue, consumer_tag, no_local, no_ack, callback=wrapped, **kwargs
        )


_ERRORS: tuple[type[Exception], ...] = tuple(pyamqp.Transport.channel_errors)


def _judge(message: Any, queue: str) -> str | None:
    properties = message.properties
    headers = properties.get("application_headers")
    content_type = properties.get("content_type")
    if content_type == _UNREADABLE:
        return "its properties cannot be read"
    reason = judge_headers(headers, content_type, properties.get("content_encoding"))
    if reason is None:
        reason = judge_size(message.body, (headers or {}).get("compression"))
    if reason is None and is_mailbox(queue):
        encoding = properties.get("content_encoding")
        reason = judge_mail(queue, message.body, headers, content_type, encoding)
    return reason


def _refuse(connection: Any, message: Any, reason: str, queue: str) -> None:
    refuser: Refuser | None = getattr(connection.client, "refuser", None)
    if refuser is not None:
        shown = {"properties": message.properties, "body": message.body}
        refuser.refuse(shown, reason, queue=queue)


class _Connection(pyamqp.Connection):
    Channel = _Channel

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(frame_handler=_gated_frames, **kwargs)


class GatedTransport(pyamqp.Transport):
    """Kombu's transport, with the gate before its consumers."""

    Connection = _Connection


class GatedSSLTransport(GatedTransport, pyamqp.SSLTransport):
    """The same over TLS."""
