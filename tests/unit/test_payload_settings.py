"""Which payload store the settings name, and what it may hold."""

from pathlib import Path
from typing import Any

import pytest

from flowcore.assembly.payloads import make_payloads, payload_url
from flowcore.assembly.settings import Settings
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import PayloadTooLargeError
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.payloads import RedisLedger, RedisPayloads

HOME = "/home/ann"
URL = "redis://cache"


def _settings(**environ: str) -> Settings:
    return Settings.from_env(
        {"HOME": HOME, **{f"FLOWCORE_{name.upper()}": value for name, value in environ.items()}}
    )


def _made(**environ: str) -> Payloads:
    client = connect("redis://127.0.0.1:1")
    return make_payloads(_settings(**environ), RedisLedger(client), RedisPayloads(client))


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, f"file://{HOME}/.local/share/flowcore/payloads"),
        ({"home": "/a b"}, "file:///a%20b/payloads"),
        ({"redis_url": URL}, "redis"),
        ({"redis_url": URL, "payloads": "off"}, "off"),
        ({"payloads": "redis"}, "redis"),
        ({"redis_url": URL, "payloads": "s3://bucket/x/"}, "s3://bucket/x"),
    ],
    ids=str,
)
def test_the_embedded_server_has_files_and_a_real_one_keeps_its_own(
    environ: dict[str, str], url: str
) -> None:
    assert payload_url(_settings(**environ)) == url


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"payloads": "off"}, None),
        ({"payloads": "redis"}, "redis"),
        ({"payloads": "file:///a%20b"}, "file:///a%20b"),
        ({"payloads": "gs://bucket/x"}, "gs://bucket/x"),
    ],
    ids=str,
)
def test_each_place_has_its_adapter(environ: dict[str, str], place: str | None) -> None:
    assert _made(**environ).place == place


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({"payloads": "off"}, "16,777,216"),
        ({"payloads": "off", "max_output": "1000"}, "1,000"),
        ({"payloads": "redis"}, "67,108,864"),
        ({"payloads": "redis", "max_output": "2000"}, "2,000"),
    ],
    ids=str,
)
def test_each_place_has_its_limit(environ: dict[str, str], limit: str) -> None:
    with pytest.raises(PayloadTooLargeError, match=f"the limit is {limit} "):
        _made(**environ).pack(bytes(64 * 2**20), run="r", what="it")


def test_files_take_more(tmp_path: Path) -> None:
    made: Any = _made(payloads=tmp_path.as_uri())
    assert made._limit == 128 * 2**20


def test_a_short_retention_is_felt_soon() -> None:
    assert _made(payloads="redis").look == 60
    assert _made(payloads="redis", retention="3").look == 1.5
    assert _made(payloads="redis", retention="0.1").look == 0.5
