"""Which payload store: from settings to adapters.

In: settings, a client. Out: ``Payloads`` with a store and a ledger behind it.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowcore.assembly.settings import Settings
from flowcore.engine.values.payloads import LOOK, MAX_OUTPUT, Payloads
from flowcore.ports.payloads import PayloadLedger, PayloadStore
from flowcore.stores.files import FilePayloads
from flowcore.stores.objects import ObjectPayloads

__all__ = ["MOST_IN_REDIS", "make_payloads", "payload_look", "payload_url"]

#: Largest values by default, in bytes. Redis holds them in memory. Elsewhere the bound is that
#: msgpack encodes a value in one piece: 128 MiB of small things take two seconds, in which the
#: process renews no lease.
MOST_IN_REDIS = 64 * 2**20
_MOST = 128 * 2**20


def payload_url(settings: Settings) -> str:
    """Say where large values go: ``redis``, ``off`` or a URL.

    On the embedded server, which serves one machine, these are files in the data directory.
    """
    if settings.payloads is not None:
        return settings.payloads
    return "redis" if settings.redis_url else (settings.home / "payloads").as_uri()


def payload_look(settings: Settings) -> float:
    """Seconds between two looks for payloads whose runs are gone."""
    # A short retention shall be felt soon.
    return min(LOOK, max(settings.retention / 2, 0.5))


def make_payloads(settings: Settings, ledger: PayloadLedger, redis: PayloadStore) -> Payloads:
    """Wire the payload store that the settings name; nothing is sent yet.

    Args:
        settings: What the environment says.
        ledger: Remembers, where the runs are, which of them have payloads.
        redis: The store beside the runs.
    """
    url = payload_url(settings)
    if url == "off":
        return Payloads(limit=settings.max_output or MAX_OUTPUT)
    return Payloads(
        _store(url, redis),
        ledger,
        threshold=settings.payload_threshold,
        limit=settings.max_output or (MOST_IN_REDIS if url == "redis" else _MOST),
        look=payload_look(settings),
    )


def _store(url: str, redis: PayloadStore) -> PayloadStore:
    if url == "redis":
        return redis
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FilePayloads(Path(unquote(parts.path)))
    return ObjectPayloads(url)
