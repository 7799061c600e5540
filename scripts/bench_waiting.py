"""What a waiting run keeps in Redis, by key: ``python scripts/bench_waiting.py [runs] [bytes]``.

The second number is the server's ``stream-node-max-bytes``, 4096 by default.
"""

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import redis

from flowcore import Flow, Run, Session
from flowcore.assembly.settings import Settings
from flowcore.client.flow import start_run

NODES = {"a": {"uses": "wait", "with": {"for": "1h"}}}
_PATIENCE = 120.0


def main(runs: int, node_bytes: int) -> None:
    """Start runs that wait, and weigh what is kept of them."""
    with tempfile.TemporaryDirectory(prefix="flowcore-waiting-") as home:
        environ = {**os.environ, "FLOWCORE_HOME": home}
        with Session(Settings.from_env({"FLOWCORE_HOME": home}), environ=environ) as session:
            with redis.Redis.from_url(session.runtime.redis_url) as client:
                client.config_set("stream-node-max-bytes", node_bytes)
            plan = Flow.load({"id": "waiting", "nodes": NODES}).plan()
            session.ensure_workers(plan.queues, paths=[Path.cwd()])
            started = [start_run(session, plan, None, id=f"run-{at:06}") for at in range(runs)]
            ends = time.monotonic() + _PATIENCE
            while time.monotonic() < ends and not _all_wait(started):
                time.sleep(0.5)
            _weigh(session.runtime.redis_url, runs)


def _all_wait(started: list[Run]) -> bool:
    last = started[-1].record()
    return all(node.state.value == "waiting" for node in last.nodes.values())


def _weigh(url: str, runs: int) -> None:
    kept: Counter[str] = Counter()
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("fc:{run-*", count=1000):
            kept[key.decode().rpartition("}:")[2]] += client.memory_usage(key, samples=0)
    for part, size in kept.most_common():
        print(f"{part:>10} {size / runs:8.0f} bytes a run")
    print(f"{'all':>10} {sum(kept.values()) / runs:8.0f} bytes a run")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*given, *[500, 4096][len(given) :])
