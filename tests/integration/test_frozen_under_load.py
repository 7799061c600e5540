"""One of two servers hangs under load: runs of the other are not held up, its own go on later."""

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from flowcore import Run
from tests.deep import count
from tests.integration.test_native_sharding import SUM, Server, Town, town

__all__ = ["town"]

pytestmark = [pytest.mark.integration]

#: Seconds for which the server hangs, and for which it is watched before.
FROZEN, BEFORE = count(6, 20), count(3, 10)

#: So many times as long may a run take meanwhile; without isolation it was 5 to 40 times.
MOST = 4.0

CHAIN = {
    f"n{at}": {
        "uses": "engine_nodes:nap",
        "with": {"seconds": 0.1},
        "needs": [f"n{at - 1}"] if at else [],
    }
    for at in range(5)
}


@contextmanager
def _frozen(server: Server) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def _times(town: Town, ids: Iterator[str], seconds: float) -> list[float]:
    """Seconds that each of the runs took that were begun, two at a time, in so many seconds."""
    ends, taking = time.monotonic() + seconds, threading.Lock()

    def go_on() -> list[float]:
        took: list[float] = []
        while time.monotonic() < ends:
            with taking:
                id = next(ids)
            begun = time.monotonic()
            result = town.engine.start(SUM, {"n": 4}, run_id=id).wait(60)
            assert result.output == 6, result.error
            took.append(time.monotonic() - begun)
        return took

    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(go_on) for _ in range(2)]
        return [each for one in asked for each in one.result(120)]


def _start_many(town: Town, ids: Iterator[str], many: int) -> list[Run]:
    return [town.engine.start(CHAIN, run_id=next(ids)) for _ in range(many)]


@pytest.mark.timeout(300)
def test_a_frozen_server_holds_up_no_run_of_the_other_and_its_own_go_on(town: Town) -> None:
    town.engine.workers(slots=4)
    here, there = town.ids_at(0), town.ids_at(1)
    for run in _start_many(town, there, 2):
        assert run.wait(60).success  # the worker is warm
    _times(town, here, 1.0)
    usual = _times(town, here, BEFORE)
    under_way = _start_many(town, there, 12)
    with _frozen(town.servers[1]):
        meanwhile = _times(town, here, FROZEN)
    said = f"p50 {statistics.median(usual):.3f} s before, {statistics.median(meanwhile):.3f} s then"
    assert statistics.median(meanwhile) <= MOST * max(0.05, statistics.median(usual)), said
    assert len(meanwhile) >= FROZEN, said
    results = [run.wait(90) for run in under_way]
    assert [result.error for result in results] == [None] * len(under_way)
    assert _times(town, there, 1.0)
