"""Local workers: kept running, stopped with all they started, gone when their owner is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flowcore.assembly.supervisor import LocalWorkers

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}

# A worker with one forked pool child. Pids go to a file, since its output goes to the log.
WORKER = """
import os, signal, sys, time
from flowcore.assembly.process_lifetime import report_ready, terminate_self, watch_parent
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    time.sleep(600)
if "deaf" not in sys.argv:
    watch_parent(lambda: terminate_self(grace=0.2))
with open(sys.argv[1], "a") as pids:
    print(os.getpid(), file=pids)
print("worker up", flush=True)
report_ready()
time.sleep(600)
"""

OWNER = """
import sys, time
from pathlib import Path
from flowcore.assembly.supervisor import LocalWorkers
import os
workers = LocalWorkers(
    argv=[sys.executable, "-c", sys.argv[1], *sys.argv[3:]],
    env=dict(os.environ), count=2, log=Path(sys.argv[2]),
)
workers.start()
print(workers.wait_ready(timeout=30), flush=True)
if not os.fork():
    time.sleep(600)  # a forked child of the owner must not keep the lifeline
print(*workers.pids, flush=True)
time.sleep(600)
"""


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def members(group: int) -> list[int]:
    """The live processes of a process group."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def workers_of(tmp_path: Path, *how: str, count: int = 1, code: str = WORKER) -> LocalWorkers:
    return LocalWorkers(
        argv=[sys.executable, "-c", code, str(tmp_path / "pids"), *how],
        env=ENV,
        count=count,
        log=tmp_path / "logs" / "workers.log",
    )


def test_workers_start_report_ready_and_write_to_the_log(tmp_path: Path) -> None:
    with workers_of(tmp_path, count=2) as workers:
        assert workers.wait_ready(timeout=PATIENCE)
        assert len(set(workers.pids)) == 2
        assert workers.failure is None
    assert (tmp_path / "logs" / "workers.log").read_text().count("worker up") == 2


def test_a_killed_worker_is_replaced_and_leaves_no_pool_child_behind(tmp_path: Path) -> None:
    with workers_of(tmp_path) as workers:
        assert workers.wait_ready(timeout=PATIENCE)
        (killed,) = workers.pids
        assert len(members(killed)) == 2
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: len(workers.pids) == 1 and workers.pids != (killed,))
        assert eventually(lambda: not members(killed))
        assert workers.failure is None


def test_a_worker_that_was_ready_is_replaced_however_often_it_dies(tmp_path: Path) -> None:
    dying = WORKER.replace("time.sleep(600)\n", "").replace("if not os.fork():\n    ", "")
    with workers_of(tmp_path, code=dying) as workers:
        pids = tmp_path / "pids"
        assert eventually(lambda: pids.exists() and len(pids.read_text().split()) >= 6)
        assert workers.failure is None


def test_stop_leaves_no_process_behind(tmp_path: Path) -> None:
    workers = workers_of(tmp_path, count=2)
    workers.start()
    assert workers.wait_ready(timeout=PATIENCE)
    groups = workers.pids
    workers.stop()
    assert workers.pids == ()
    assert [members(group) for group in groups] == [[], []]
    workers.stop()


def test_a_worker_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    workers = workers_of(tmp_path, "stubborn")
    workers.start()
    assert workers.wait_ready(timeout=PATIENCE)
    (group,) = workers.pids
    workers.stop(grace=0.1)
    assert members(group) == []


@pytest.mark.parametrize("how", ["polite", "stubborn"])
def test_workers_end_with_an_owner_that_is_killed(tmp_path: Path, how: str) -> None:
    log, pids = str(tmp_path / "log"), str(tmp_path / "pids")
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, WORKER, log, pids, how],
        stdout=subprocess.PIPE,
        env=ENV,
        text=True,
        start_new_session=True,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "True\n"
        groups = [int(word) for word in owner.stdout.readline().split()]
        assert [len(members(group)) for group in groups] == [2, 2]
        owner.kill()
        owner.wait()
        if how == "polite":
            # Its fork outlives an owner that ends by SIGTERM; only the leader is promised here.
            assert eventually(lambda: not any(group in members(group) for group in groups))
        else:
            assert eventually(lambda: not any(members(group) for group in groups))
    finally:
        for group in [owner.pid, *map(int, Path(pids).read_text().split())]:
            for pid in members(group):
                os.kill(pid, signal.SIGKILL)
        owner.communicate()


def test_a_command_that_always_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    bad = "import sys; sys.exit('no module named flows')"
    with workers_of(tmp_path, code=bad) as workers:
        assert not workers.wait_ready(timeout=PATIENCE)
        assert workers.failure is not None
        assert "died 5 times before it was ready" in workers.failure
        assert "exit status 1" in workers.failure
        assert "no module named flows" in workers.failure
        assert workers.pids == ()


def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    workers = LocalWorkers(argv=["/no/such/worker"], env=ENV, log=tmp_path / "log")
    with workers:
        assert not workers.wait_ready(timeout=PATIENCE)
        assert workers.failure is not None
        assert "cannot be started" in workers.failure
