"""Many random schedules of the scripts: ``make schedules ARGS="--count 100000 --seed 1"``.

The model of ``tests/contract/test_both_stores_agree.py`` in several processes, each with a server
of its own. A difference ends the command with the schedule that led to it. The same seed and count
give the same schedules, whatever the number of processes.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.test_both_stores_agree import Duel
from tests.services import running_valkey

#: Schedules of one seed of Hypothesis.
CHUNK = 500


@dataclass
class Tally:
    """What was explored so far."""

    schedules: int = 0
    comparisons: int = 0


def explore(chunks: list[tuple[int, int]], told: "multiprocessing.Queue[object]") -> None:
    """Run chunks of (seed, count) on a server of this process's own; tell of each."""
    with running_valkey() as url, redis.Redis.from_url(url) as client:
        for number, count in chunks:
            try:
                told.put(_explore(client, number, count))
            except BaseException as error:  # noqa: BLE001  (told by whoever started this)
                notes = "\n".join(getattr(error, "__notes__", ()))
                told.put(f"seed {number}: {error!r}\n{notes}")
                return


def _explore(client: "redis.Redis", number: int, count: int) -> Tally:
    tally = Tally()

    class Counted(Duel):
        def __init__(self) -> None:
            super().__init__(client)
            tally.schedules += 1

        def agree_on(self, run: str, agenda: Mapping[str, int]) -> None:
            tally.comparisons += 1
            super().agree_on(run, agenda)

    run_state_machine_as_test(
        seed(number)(Counted),
        settings=settings(
            database=None,  # what was seen in one chunk must not lead to another in the next
            deadline=None,
            max_examples=count,
            phases=[Phase.generate, Phase.shrink],
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return tally


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make schedules")
    parser.add_argument("--count", type=int, default=2000, help="schedules (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="first seed (default 1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if min(given.count, given.processes) < 1:
        parser.error("--count and --processes are numbers from 1")
    return given


def main() -> int:
    """Explore and say what came of it."""
    given = _arguments()
    sizes = [min(CHUNK, given.count - begun) for begun in range(0, given.count, CHUNK)]
    chunks = [(given.seed + at, size) for at, size in enumerate(sizes)]
    shares = [share for at in range(given.processes) if (share := chunks[at :: given.processes])]
    told: multiprocessing.Queue[object] = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=explore, args=(share, told)) for share in shares]
    began, total = time.monotonic(), Tally()
    for worker in workers:
        worker.start()
    for _ in chunks:
        news = told.get()
        if not isinstance(news, Tally):
            sys.stdout.write(f"{news}\nthe two stores differ\n")
            for worker in workers:
                worker.terminate()
            return 1
        total.schedules += news.schedules
        total.comparisons += news.comparisons
        sys.stderr.write(f"{total.schedules} schedules so far\n")
    for worker in workers:
        worker.join()
    sys.stdout.write(
        f"{total.schedules} schedules from seed {given.seed}, {total.comparisons} comparisons of "
        f"runs: no difference ({time.monotonic() - began:.0f} s)\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
