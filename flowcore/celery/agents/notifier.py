"""Doorbells over the broker: the protocol's own JSON in msgpack, signed.

In: an agent's name, a task, a message. Out: one message on the agent's queue. Not here: the task
itself, which the store has.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgpack
from kombu import Exchange, Producer, Queue
from kombu.common import maybe_declare
from kombu.exceptions import KombuError

from flowcore.agents.message import Json
from flowcore.engine.agents.queues import agent_queue
from flowcore.errors import StoreUnreachableError
from flowcore.ports.agents import Signer
from flowcore.run.protocol import WIRE, WIRE_BEFORE, mismatch

__all__ = ["KombuBell", "opened", "queue_of"]

_log = logging.getLogger(__name__)

_MSGPACK = "application/x-msgpack"
_TROUBLE = (KombuError, OSError, StoreUnreachableError)
_SIGNED = b"flowcore.a2a:"

#: The key that says which wire number the message is written in.
_NUMBER = "flowcore/v"


def queue_of(name: str, *, quorum: bool) -> Queue:
    """Describe an agent's queue, as all who use it declare it; reached without an exchange."""
    arguments = {"x-queue-type": "quorum"} if quorum else None
    return Queue(name, Exchange(""), routing_key=name, queue_arguments=arguments)


class KombuBell:
    """Implements ``AgentNotifier``."""

    def __init__(
        self,
        batch: Callable[[], AbstractContextManager[Producer]],
        *,
        keys: Signer,
        namespace: str,
        quorum: bool,
    ) -> None:
        """Publish with what ``batch`` gives, signed by ``keys``."""
        self._batch = batch
        self._keys = keys
        self._namespace = namespace
        self._quorum = quorum

    def ring(self, agent: str, task: str, message: Json | None = None) -> None:
        """Ring."""
        name = agent_queue(agent, namespace=self._namespace)
        self.post(name, [{"agent": agent, "task": task, "message": message}])

    def post(self, name: str, contents: Sequence[Json]) -> None:
        """Send messages to a queue, together; a broker out of reach is only logged."""
        queue = queue_of(name, quorum=self._quorum)
        try:
            with self._batch() as producer:
                channel: Any = producer.channel
                maybe_declare(queue, channel)
                for content in contents:
                    body: bytes = msgpack.packb({**content, _NUMBER: WIRE})
                    producer.publish(
                        body,
                        exchange="",
                        routing_key=name,
                        content_type=_MSGPACK,
                        content_encoding="binary",
                        headers={"sig": self._keys.sign(_SIGNED + body).hex(), "a2a": "1.0"},
                        delivery_mode=2,
                    )
        except _TROUBLE as error:
            _log.warning("could not send to %s now (a janitor will): %s", name, error)


def opened(
    message: Any, keys: Signer, refuse: Callable[[Json, str], None] = lambda _content, _why: None
) -> Json | None:
    """Return what a message from the broker says; None if it is not to be obeyed.

    Args:
        message: Kombu's.
        keys: Know who has signed it.
        refuse: Called with what a message of another wire number says, and the sentence about it.
    """
    body = message.body
    data = body if isinstance(body, bytes) else str(body).encode()
    try:
        signature = bytes.fromhex(str((message.headers or {}).get("sig", "")))
        right = keys.verify(_SIGNED + data, signature)
        content: Json | None = msgpack.unpackb(data) if right else None
        number = WIRE if content is None else content.pop(_NUMBER, WIRE_BEFORE)
    except (ValueError, TypeError, AttributeError):
        content, number = None, WIRE
    except StoreUnreachableError as error:
        _log.warning("a message for an agent cannot be read now (a janitor sends it): %s", error)
        return None
    if content is None:
        _log.warning("refused a message for an agent: it is not what one of us has signed")
        return None
    if sentence := mismatch("who sent this message", number):
        _log.warning("refused a message for an agent: %s", sentence)
        refuse(content, sentence)
        return None
    return content
