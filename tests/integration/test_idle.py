"""What a worker costs its Redis while it has nothing to do."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

#: Seconds that are counted.
WINDOW = 10.0


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[tuple[Engine, "redis.Redis"]]:
    with running_valkey() as url, running_engine(url, tmp_path) as engine:
        engine.workers()
        assert engine.run({"a": {"uses": "passthrough"}}).success
        with redis.Redis.from_url(url) as client:
            yield engine, client


def test_an_idle_worker_sends_few_commands_and_makes_hardly_a_connection(
    idle: tuple[Engine, "redis.Redis"],
) -> None:
    """docs/benchmarks.md has the numbers; a busy machine makes them smaller, never larger."""
    _, client = idle
    quiet = time.monotonic() + 12.0  # counts as busy for ten seconds after its last message
    poll(lambda: time.monotonic() >= quiet, what="the worker to be idle")
    client.config_resetstat()
    ends = time.monotonic() + WINDOW
    poll(lambda: time.monotonic() >= ends, what="the window")
    stats = client.info("commandstats")
    calls = {name: one["calls"] for name, one in stats.items()}
    assert sum(calls.values()) / WINDOW < 25, calls
    # HELLO is said by each new connection; a few may have broken on a busy machine.
    assert calls.get("cmdstat_hello", 0) < WINDOW, calls
