"""What an idle worker sends its Redis, by command: ``python scripts/bench_idle.py [seconds]``."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from flowcore.assembly.embedded import EmbeddedServer

SETTLES = 15.0


def main(seconds: float) -> None:
    """Start a server and a worker, let them settle, count."""
    with tempfile.TemporaryDirectory(prefix="flowcore-idle-") as home:
        server = EmbeddedServer.join(home=Path(home))
        env = {**os.environ, "FLOWCORE_REDIS_URL": server.url, "FLOWCORE_HOME": home}
        argv = [sys.executable, "-m", "celery", "-A", "flowcore.assembly.worker", "worker"]
        argv += ["--concurrency", "2", "--without-gossip", "--without-mingle"]
        with subprocess.Popen(
            argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        ) as (worker):
            try:
                time.sleep(SETTLES)
                _count(server.url, seconds)
            finally:
                worker.terminate()
        server.leave()


def _count(url: str, seconds: float) -> None:
    with redis.Redis.from_url(url) as client:
        client.config_resetstat()
        time.sleep(seconds)
        stats = client.info("commandstats")
    for name, one in sorted(stats.items(), key=lambda pair: -pair[1]["calls"]):
        print(f"{name.removeprefix('cmdstat_'):20} {one['calls'] / seconds:6.2f} /s")
    print(f"{'all':20} {sum(one['calls'] for one in stats.values()) / seconds:6.2f} /s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
