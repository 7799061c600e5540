"""Taking messages for agents off the broker.

In: a queue, and whether there is room. Out: the contents of messages that one of us has signed.

A message is taken off the broker as soon as it is read: what it stands for is in the store, and
whatever is lost on the way from here is sent again by a sweep.
"""

import time
from collections.abc import Callable
from typing import Any

from kombu import Consumer

from flowcore.agents.message import Json
from flowcore.celery.agents.notifier import opened, queue_of
from flowcore.celery.agents.services import AgentServices

__all__ = ["consume"]

#: Seconds that one wait for a message takes at most.
_DRAIN = 0.5


def consume(
    app: Any,
    name: str,
    accept: Callable[[Json], None],
    *,
    services: AgentServices,
    has_room: Callable[[float], bool],
    refuse: Callable[[Json, str], None] = lambda _content, _why: None,
) -> None:
    """Take messages off a queue for as long as there is room, then return.

    Args:
        app: Celery's app, which knows the broker.
        name: The queue's name on the broker.
        accept: Given each content.
        services: Know who has signed it, and how the broker keeps its queues.
        has_room: Waits for room for some seconds; raise ``StopIteration`` to end.
        refuse: Called with each content of another wire number, and the sentence about it.
    """
    quorum = services.quorum  # as RabbitMQ has them

    def got(message: Any) -> None:
        if quorum:
            message.ack()
        content = opened(message, services.keys, refuse)
        if content is not None:
            accept(content)

    with app.connection_for_read(heartbeat=0) as connection:
        consumer = Consumer(
            connection.default_channel,
            queues=[queue_of(name, quorum=quorum)],
            on_message=got,
            prefetch_count=1,
            # Redis hands out one message for each request; a RabbitMQ would send them all.
            no_ack=not quorum,
        )
        with consumer:
            try:
                while True:
                    if has_room(_DRAIN):
                        _drain(connection)
            except StopIteration:
                return


def _drain(connection: Any) -> None:
    started = time.monotonic()
    try:
        connection.drain_events(timeout=_DRAIN)
    except TimeoutError:
        if time.monotonic() - started < _DRAIN / 10:  # never spin
            time.sleep(_DRAIN / 10)
