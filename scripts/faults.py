"""A campaign of faults: random runs on real workers that are killed, stopped and robbed.

Usage: make faults [ARGS="--seed 7 --runs 300 --faults 60"]

A seed fixes the flows and the order of faults, not the moments at which they meet. The faults, by
the names of the reliability matrix: F1 kill -9 of a worker with its children, F2 kill -9 of a pool
child, F3 SIGSTOP of a worker for two leases, F4 messages lost, F6 kill -9 of the server, F10
messages doubled. Checked afterwards: every run that was accepted exists and has succeeded, its
outputs are those of a fault-free run, its event log has no gap and one last event, and neither a
lease nor an open key is left. The exit code is 0 only if all of that holds; a fault that found
nothing to hit is not counted, and another one follows.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from faults_nodes import expected

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.supervisor import LocalWorkers
from flowcore.client.flow import Flow, start_run
from flowcore.client.handle import Run
from flowcore.errors import FlowcoreError, StoreUnreachableError, WaitTimeoutError
from flowcore.run.event import EventType
from flowcore.stores.redis.connect import connect

HERE = Path(__file__).resolve().parent
LEASE = 2.0
WAIT = 120.0
OPEN_PARTS = ("join", "held", "late", "lost", "att")


def random_flow(dice: random.Random, index: int) -> dict[str, Any]:
    """A random DAG of up to 20 nodes, in topological order."""
    nodes: dict[str, Any] = {}
    for at in range(dice.randint(3, 20)):
        before = dice.sample(range(at), min(at, dice.randint(0, 3)))
        nodes[f"v{at}"] = {
            "uses": "faults_nodes:work",
            "needs": [f"v{source}" for source in sorted(before)],
            "with": {"salt": dice.randint(0, 999), "seconds": round(dice.uniform(0.01, 0.15), 3)},
        }
    return {"id": f"fault{index}", "nodes": nodes}


class Campaign:
    """One server, two workers, and somebody who means them harm."""

    def __init__(self, session: Session, seed: int) -> None:
        """Start the workers."""
        self.session = session
        self.dice = random.Random(seed)
        self.mischief = random.Random(f"mischief {seed}")
        self.queue = session.runtime.default_queue
        self.hits: Counter[str] = Counter()
        self.times: list[float] = []
        self.workers = [self._worker(name) for name in ("one", "two")]
        for workers in self.workers:
            workers.start()
        if not all(workers.wait_ready(timeout=60) for workers in self.workers):
            sys.exit("the workers did not start")

    def _worker(self, name: str) -> LocalWorkers:
        argv = [
            *(sys.executable, "-m", "celery", "-A", "flowcore.assembly.worker", "worker"),
            *("--hostname", f"{name}@%h", "--concurrency", "2", "--loglevel", "WARNING"),
            *("--queues", self.queue, "--without-gossip", "--without-mingle"),
        ]
        log = self.session.runtime.settings.home / f"{name}.log"
        return LocalWorkers(argv=argv, env=self.session.worker_env([HERE]), log=log)

    def harm(self) -> None:
        """Do one fault of a random kind; count it if it has hit."""
        kind = self.mischief.choice(["F1", "F2", "F3", "F4", "F6", "F10"])
        act = {
            "F1": self._kill_worker,
            "F2": self._kill_child,
            "F3": self._stop_worker,
            "F4": self._lose_messages,
            "F6": self._kill_server,
            "F10": self._double_messages,
        }[kind]
        try:
            hit = act()
        except (psutil.NoSuchProcess, StoreUnreachableError):
            hit = False
        if hit:
            self.hits[kind] += 1
            self.times.append(time.time())

    def _family(self) -> tuple[psutil.Process, list[psutil.Process]]:
        pids = self.mischief.choice(self.workers).pids
        if not pids:
            raise psutil.NoSuchProcess(0)
        parent = psutil.Process(pids[0])
        return parent, parent.children(recursive=True)

    def _kill_worker(self) -> bool:
        parent, children = self._family()
        for process in (parent, *children):
            process.kill()
        return True

    def _kill_child(self) -> bool:
        _, children = self._family()
        if not children:
            return False
        self.mischief.choice(children).kill()
        return True

    def _stop_worker(self) -> bool:
        parent, children = self._family()
        family = [parent, *children]
        for process in family:
            process.suspend()
        time.sleep(2 * LEASE)
        for process in family:
            process.resume()
        return True

    def _kill_server(self) -> bool:
        server = self.session._server  # noqa: SLF001  (the campaign is no user)
        if server is None:
            return False
        os.kill(server.pid, signal.SIGKILL)
        server.ensure()
        return True

    def _lose_messages(self) -> bool:
        return bool(connect(self.session.runtime.redis_url).lpop(self.queue, 3))

    def _double_messages(self) -> bool:
        redis = connect(self.session.runtime.redis_url)
        waiting = redis.lrange(self.queue, 0, 5)
        return bool(waiting and redis.rpush(self.queue, *waiting, *waiting))


def submit_all(campaign: Campaign, runs: int) -> dict[str, dict[str, Any]]:
    """Submit runs while faults happen; only accepted ones count."""
    accepted: dict[str, dict[str, Any]] = {}
    for index in range(runs):
        tree = random_flow(campaign.dice, index)
        plan = Flow.load(tree).plan()
        for _ in range(60):
            try:
                start_run(campaign.session, plan, {}, id=f"fault-{index}")
                break
            except FlowcoreError:
                time.sleep(0.25)
        else:
            sys.exit(f"run {index} was never accepted")
        accepted[f"fault-{index}"] = tree["nodes"]
        time.sleep(campaign.dice.uniform(0.0, 0.2))
    return accepted


def judge(campaign: Campaign, accepted: dict[str, dict[str, Any]]) -> Counter[str]:
    """Wait for every run and hold it against the fault-free one."""
    found: Counter[str] = Counter()
    for run_id, nodes in accepted.items():
        try:
            result = Run(run_id, session=campaign.session).wait(WAIT)
        except WaitTimeoutError:
            found["stuck"] += 1
            continue
        except FlowcoreError:
            found["lost"] += 1
            continue
        events = campaign.session.runtime.events.read_all(run_id)
        gapless = [event.id for event in events] == list(range(1, len(events) + 1))
        last = [event.type.is_terminal for event in events] == [False] * (len(events) - 1) + [True]
        if not (result.success and result.outputs == expected(nodes) and gapless and last):
            found["wrong"] += 1
    return found


def orphans(campaign: Campaign) -> int:
    """Count leases and open keys of runs that have ended."""
    redis = connect(campaign.session.runtime.redis_url)
    left = [name for name in redis.zrange("fc:agenda", 0, -1) if not name.endswith(b"|R")]
    parts = [key for part in OPEN_PARTS for key in redis.scan_iter(f"fc:{{*}}:{part}")]
    return len(left) + len(parts)


def recoveries(campaign: Campaign, runs: list[str]) -> list[float]:
    """Seconds from a fault to the next start of a node that it cost an attempt."""
    found: list[float] = []
    for run_id in runs:
        lost: set[str] = set()
        for event in campaign.session.runtime.events.read_all(run_id):
            if event.type is EventType.NODE_LOST:
                lost |= set(event.nodes)
            elif event.type is EventType.NODE_STARTED and event.node in lost:
                lost.discard(event.node)
                before = [at for at in campaign.times if at <= event.time]
                if before:
                    found.append(event.time - before[-1])
    return sorted(found)


def main() -> None:
    """Run the campaign and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--faults", type=int, default=20)
    options = parser.parse_args()
    environ = {
        "FLOWCORE_LEASE": str(LEASE),
        "FLOWCORE_DISPATCH_LEASE": "1",
        "FLOWCORE_MAX_LOST": "50",
    }
    with tempfile.TemporaryDirectory(prefix="flowcore-faults-") as home:
        settings = Settings.from_env({**environ, "FLOWCORE_HOME": home})
        with Session(settings, environ=environ) as session:
            campaign = Campaign(session, options.seed)
            try:
                sys.exit(run(campaign, options.runs, options.faults))
            finally:
                for workers in campaign.workers:
                    workers.stop()


def run(campaign: Campaign, runs: int, faults: int) -> int:
    """Let faults and runs happen together; return the exit code."""
    done = threading.Event()

    def villain() -> None:
        while sum(campaign.hits.values()) < faults and not done.is_set():
            campaign.harm()
            done.wait(campaign.mischief.uniform(0.1, 1.0))

    thread = threading.Thread(target=villain, name="villain")
    thread.start()
    accepted = submit_all(campaign, runs)
    index = runs
    while thread.is_alive():
        # Faults that find nothing to hit prove nothing: keep the workers busy until all are done.
        tree = random_flow(campaign.dice, index)
        try:
            start_run(campaign.session, Flow.load(tree).plan(), {}, id=f"fault-{index}")
            accepted[f"fault-{index}"] = tree["nodes"]
            index += 1
        except FlowcoreError:
            pass
        thread.join(timeout=0.2)
    found = judge(campaign, accepted)
    left = orphans(campaign)
    times = recoveries(campaign, list(accepted)) or [0.0]
    print("faults that hit:", dict(sorted(campaign.hits.items())))
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(
        f"{len(accepted)} runs, {sum(campaign.hits.values())} faults: {found['lost']} lost, "
        f"{found['stuck']} stuck, {found['wrong']} wrong, {left} orphan keys; "
        f"recovery p50 {statistics.median(times):.1f} s, p99 {p99:.1f} s"
    )
    return int(bool(found or left))


if __name__ == "__main__":
    main()
