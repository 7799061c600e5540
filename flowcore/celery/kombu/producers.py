"""Producers for messages and events, kept and used again.

In: Celery's app. Out: a producer whose publishes leave together. Not here: messages (dispatcher),
RabbitMQ's confirms (rabbitmq).

Celery's own pool would do, but kombu's Redis channel makes a new client object for each use, and
that is a third of the price of publishing one node: 169 entries of a table of answers, each time.
Our channel keeps one; it is a matter of this process alone, nothing on the wire is different.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from celery import Celery
from kombu import Exchange, Producer
from kombu.exceptions import OperationalError
from kombu.transport import pyamqp, redis
from kombu.utils.json import dumps

from flowcore.celery.kombu.rabbitmq import ConfirmingTransport
from flowcore.forks import leave_to_parent, renew_after_fork

__all__ = ["Producers"]


class _Group:
    """Stands before a pipeline: messages for one queue become one command."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._waiting: dict[str, list[str]] = {}

    def lpush(self, key: str, message: str) -> None:
        self._waiting.setdefault(key, []).append(message)

    def publish(self, topic: str, payload: str) -> None:
        self._pipeline.publish(topic, payload)

    def execute(self) -> None:
        for key, messages in self._waiting.items():
            self._pipeline.lpush(key, *messages)
        self._waiting.clear()
        self._pipeline.execute()

    def reset(self) -> None:
        self._waiting.clear()
        self._pipeline.reset()


class _OneClient:
    """A part of kombu's Redis channels: one client instead of one for each use."""

    _kept: Any = None
    heard: int | None = None
    """How many received the last message of a fanout that did not leave in a batch."""

    conn_or_acquire: Any

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  (kombu's own)
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._kept is None:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept

    def create_publish_batch(self, max_size: int) -> Any:
        batch = super().create_publish_batch(max_size)  # type: ignore[misc]
        batch.pipeline = _Group(batch.pipeline)
        return batch

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **kwargs: Any) -> None:
        if "_publish_batch" in kwargs:
            super()._put_fanout(exchange, message, routing_key, **kwargs)  # type: ignore[misc]
            return
        payload = dumps(message)
        with self.conn_or_acquire() as client:
            topics = self._get_publish_topics(exchange, routing_key)  # type: ignore[attr-defined]
            self.heard = sum(client.publish(topic, payload) for topic in topics)


class _RedisChannel(_OneClient, redis.Channel):
    pass


class _RedisTransport(redis.Transport):
    Channel = _RedisChannel


class _SentinelChannel(_OneClient, redis.SentinelChannel):
    pass


class _SentinelTransport(redis.SentinelTransport):
    Channel = _SentinelChannel


class Producers:
    """Producers that nobody uses at the moment, to be used again; safe across threads and forks."""

    def __init__(self, app: Celery) -> None:
        """Connect like ``app`` does, when first needed."""
        self._app: Any = app
        self._free: deque[Any] = deque()
        renew_after_fork(self, Producers._renew)

    def _renew(self) -> None:
        # A child must not speak on its parent's connections, nor end them, as they would do if
        # nothing named them any more.
        leave_to_parent(self._free)
        self._free = deque()

    @contextlib.contextmanager
    def batch(self) -> Iterator[Producer]:
        """Give a producer; what it publishes leaves together at the end of the block.

        After an error the connection is dropped, so that a second try gets a new one.

        Raises:
            kombu.exceptions.OperationalError: For whatever the transport calls its own errors.
        """
        producer = self._take()
        connection = producer.connection
        try:
            with producer.batch():
                yield producer
        except BaseException as error:
            with contextlib.suppress(Exception):
                connection.collect()
            if isinstance(error, connection.connection_errors + connection.channel_errors):
                raise OperationalError(str(error)) from error
            raise
        self._free.append(producer)

    def listeners(self, exchange: str, routing_key: str) -> int | None:
        """Count who listens to a fanout, by a message that says nothing.

        Redis keeps no message for those who come later, so what nobody listens to need not be
        sent. None where the broker cannot tell.
        """
        producer = self._take()
        try:
            channel = producer.channel
            if not isinstance(channel, _OneClient):
                self._free.append(producer)
                return None
            Exchange(exchange, type="fanout").declare(channel=producer.channel)
            producer.publish([], exchange=exchange, routing_key=routing_key, serializer="json")
            heard: int | None = channel.heard
        except BaseException as error:
            connection = producer.connection
            with contextlib.suppress(Exception):
                connection.collect()
            if isinstance(error, connection.connection_errors + connection.channel_errors):
                raise OperationalError(str(error)) from error
            raise
        else:
            self._free.append(producer)
            return heard

    def waiting(self, queues: Sequence[str]) -> int:
        """Count the messages that wait in these queues.

        On a connection that is kept: a worker asks again and again, and making one costs a broker
        ten commands.

        Raises:
            Exception: Whatever the transport calls its own errors, such as that there is no queue.
        """
        producer = self._take()
        try:
            channel = producer.channel
            if isinstance(channel, _OneClient):
                with channel.conn_or_acquire() as client:
                    found = sum(int(client.llen(queue)) for queue in queues)
            else:
                declared = [channel.queue_declare(queue, passive=True) for queue in queues]
                found = sum(int(one.message_count) for one in declared)
        except BaseException:
            with contextlib.suppress(Exception):
                producer.connection.collect()
            raise
        self._free.append(producer)
        return found

    def close(self) -> None:
        """Close the connections that are free."""
        while self._free:
            self._free.pop().connection.release()

    def _take(self) -> Any:
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def _make(self) -> Any:
        connection = self._app.connection_for_write()
        transport = connection.get_transport_cls()
        if issubclass(transport, redis.SentinelTransport):
            connection.transport_cls = _SentinelTransport
        elif issubclass(transport, redis.Transport):
            connection.transport_cls = _RedisTransport
        elif issubclass(transport, pyamqp.Transport):
            connection.transport_cls = ConfirmingTransport
            # A batch waits for its confirms by itself. Nobody beats for a producer that is free:
            # RabbitMQ would close its connection, while TCP's own keepalive does no harm.
            connection.transport_options = {
                **connection.transport_options,
                "confirm_publish": False,
            }
            connection.heartbeat = 0
            connection.ssl = connection.ssl or issubclass(transport, pyamqp.SSLTransport)
        return self._app.amqp.Producer(connection, auto_declare=False)
