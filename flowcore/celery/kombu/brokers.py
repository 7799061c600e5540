"""Differences between brokers: kombu's spelling of them, and their options.

In: an address. Out: a Place, for Celery's broker or its result backend. Not here: publishing
(producers), how a worker shares itself between lanes (gate.redis_consumer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

__all__ = ["AMQP_SCHEMES", "Place", "amqp_place", "redis_place", "sentinel_place"]

AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")

_REDIS: Mapping[str, Any] = {
    "socket_connect_timeout": 5.0,
    "socket_timeout": 30.0,
    "socket_keepalive": True,
    "visibility_timeout": 6 * 3600,
    "unacked_restore_interval": 1,
    # Lanes are queues: the first that has a message is served. Steps of priority within a queue
    # would be four more lists for each.
    "queue_order_strategy": "priority",
    "priority_steps": [0],
}

_AMQP: Mapping[str, Any] = {
    # A message counts as sent when a majority of the queue's replicas has written it. Our own
    # producers wait for a group's confirms together; this is for what Celery itself sends.
    "confirm_publish": True,
    # Otherwise a frozen server freezes whoever publishes, for ever.
    "read_timeout": 30.0,
    "write_timeout": 10.0,
    # Who publishes does not wait for a broker that is down: a janitor will publish. Workers, which
    # consume, go by Celery's own setting and try for ever.
    "max_retries": 1,
    "interval_start": 0.1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server, in kombu's words."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Celery's ``broker_transport_options``."""
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    """Celery's ``result_backend_transport_options``, where runs are kept here."""
    quorum: bool = False
    """Whether queues are declared, as quorum queues."""

    @property
    def scheme(self) -> str:
        """Scheme of the URL."""
        return self.url.partition("://")[0]


def redis_place(url: str) -> Place:
    """A Redis or Valkey, in kombu's and Celery's spelling.

    What is ``unix://`` to redis-py is ``redis+socket://`` to them, and its ``db`` their
    ``virtual_host``. A certificate is looked at unless the URL says otherwise, as redis-py does:
    Celery wants to be told.
    """
    before, mark, query = url.partition("?")
    if url.startswith("unix://"):
        before = f"redis+socket://{before.removeprefix('unix://')}"
        query = query.replace("db=", "virtual_host=")
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in query:
        query = f"{query}{'&' if query else ''}ssl_cert_reqs=required"
        mark = "?"
    return Place(url=f"{before}{mark}{query}", options=_REDIS)


def sentinel_place(
    hosts: Sequence[tuple[str, int]],
    *,
    name: str,
    db: int,
    login: Mapping[str, str],
    sentinel_login: Mapping[str, str],
) -> Place:
    """The primary that Sentinels know as ``name``.

    Args:
        hosts: The Sentinels.
        name: What they call the primary.
        db: Its database.
        login: ``username`` and ``password`` of the primary, as far as it asks for them.
        sentinel_login: The same of the Sentinels.
    """
    user, password = login.get("username", ""), login.get("password")
    entry = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    entry = f"{entry}@" if entry else ""
    about = {
        "master_name": name,
        # One that does not answer at once is passed over for the next.
        "sentinel_kwargs": {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, **sentinel_login},
    }
    return Place(
        url=";".join(f"sentinel://{entry}{_bracketed(host)}:{port}/{db}" for host, port in hosts),
        options={**_REDIS, **about},
        backend_options=about,
    )


def amqp_place(url: str) -> Place:
    """A RabbitMQ."""
    return Place(url=url, options=_AMQP, quorum=True)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
