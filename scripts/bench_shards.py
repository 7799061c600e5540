"""What a second server brings: lives of one-node runs per second, straight through the store.

In: nothing. Out: a line for one server and one for two: runs/s, and CPU seconds of servers and
clients. Four processes submit, claim and settle; no Celery, no node is called.
"""

import multiprocessing
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from flowcore.assembly.runtime import build_runtime
from flowcore.assembly.settings import Settings
from flowcore.ports.store import AttemptRef, NewRun, Outcome
from tests.contract.harness import make_plan
from tests.services import running_valkey

CLIENTS, RUNS = 4, 2500
ONE = make_plan([[]])


def live(url: str, client: int, *, fresh: bool) -> None:
    """Bring runs from their first to their last step."""
    store = build_runtime(Settings.from_env({"FLOWCORE_REDIS_URL": url, "HOME": "/tmp"}), url).store  # noqa: S108
    for number in range(RUNS):
        run = f"c{client}-{number}"
        store.submit(NewRun(id=run, plan=ONE.hash, input=b"\x80", fresh=fresh), ONE)
        ticket = AttemptRef(run=run, node=0, attempt=1)
        store.claim(ticket, worker="w")
        store.settle(ticket, Outcome(kind="succeeded", output=b"\x01"))


def main() -> None:
    """Measure with one server, and with two; ids that may be there already cost a look."""
    for servers, fresh in ((1, True), (2, True), (2, False)):
        with ExitStack() as stack:
            urls = [stack.enter_context(running_valkey()) for _ in range(servers)]
            pids = [redis.Redis.from_url(url).info("server")["process_id"] for url in urls]
            started = time.perf_counter()
            clients = [
                multiprocessing.Process(
                    target=live, args=(",".join(urls), client), kwargs={"fresh": fresh}
                )
                for client in range(CLIENTS)
            ]
            for process in clients:
                process.start()
            for process in clients:
                process.join()
            took = time.perf_counter() - started
            busy = [sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids]
            shown = " + ".join(f"{seconds:.1f}" for seconds in busy)
            kind = "drawn" if fresh else "given"
            print(
                f"{servers} server(s), {kind} ids: {CLIENTS * RUNS / took:,.0f} runs/s; "
                f"{took:.1f} s, of which the servers computed {shown} s"
            )


if __name__ == "__main__":
    main()
