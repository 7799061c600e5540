"""Streaming: how long a token takes to a reader, and how many events one run sustains.

In: a stand. Out: latencies in seconds, events per second. Not here: events of the engine's own.

A node yields the time at which it does; the client reads it from the run's log. Both are on one
machine, so they share a clock.
"""

import time
from collections.abc import Mapping
from typing import Any

from flowcore.bench.dags import Work, named
from flowcore.bench.harness import BenchHarness, compiled
from flowcore.bench.stats import percentile
from flowcore.bench.throughput import Tell
from flowcore.client.flow import start_run
from flowcore.run.event import EventType

__all__ = ["streaming"]

_WARM = 5


def streaming(
    stand: BenchHarness, *, runs: int, tokens: int, events: int, tell: Tell
) -> dict[str, Any]:
    """Measure tokens from the worker to a reader that follows the run.

    Args:
        stand: Where.
        runs: Runs whose first token is timed, one after the other.
        tokens: Tokens of a run that gives one each 10 ms, as a language model does.
        events: Events of one run that gives them as fast as it can.
        tell: Hears of progress.
    """
    first = [_listen(stand, count=1, pause=0.0)["delays"][0] for _ in range(_WARM + runs)][_WARM:]
    steady = _listen(stand, count=tokens, pause=0.01)["delays"]
    flood = _listen(stand, count=events, pause=0.0)
    found = {
        "first_token": _spread(first),
        "token": _spread(steady),
        "events": events,
        "events_per_s": flood["read"] / flood["seconds"],
        "events_lost": flood["lost"],
    }
    tell(
        f"first token {found['first_token']['p50_s'] * 1000:.1f} ms, "
        f"{found['events_per_s']:.0f} events/s of one run"
    )
    return found


def _listen(stand: BenchHarness, *, count: int, pause: float) -> Mapping[str, Any]:
    """Follow a run of one node from its submission on."""
    plan = compiled(named("chain1"), Work.of("speak", count=count, pause=pause))
    stand.drain()
    run = start_run(stand.session, plan)
    delays: list[float] = []
    lost, began, ended = 0, 0.0, 0.0
    for event in run.events():
        if event.type is EventType.NODE_TOKEN:
            ended = time.time()
            began = began or event.data["chunk"]
            delays.append(ended - event.data["chunk"])
        elif event.type is EventType.STREAM_GAP:
            lost += event.data.get("lost", 0)
    return {"delays": delays, "lost": lost, "read": len(delays), "seconds": ended - began}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "samples": len(seconds),
        "p50_s": percentile(seconds, 0.5),
        "p99_s": percentile(seconds, 0.99),
    }
