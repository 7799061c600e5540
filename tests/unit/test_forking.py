"""Children of a pool and the locks that threads of their parent held; in a process of their own."""

import subprocess
import sys

SCRIPT = """
import os, sys, threading
from kombu.transport import redis
from flowcore.celery.fork_safety import free_locks_in_forks

if sys.argv[1] == "free":
    free_locks_in_forks()

held, done = threading.Event(), threading.Event()

def hold():
    with vars(redis.Channel)["client"].lock:
        held.set()
        done.wait(30)

threading.Thread(target=hold).start()
held.wait(30)
child = os.fork()
if child == 0:
    os._exit(0 if vars(redis.Channel)["client"].lock.acquire(blocking=False) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
"""


def _child(mode: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_a_child_begins_with_free_locks() -> None:
    assert _child("free") == "0"


def test_without_it_a_child_inherits_the_lock_and_would_wait_for_ever() -> None:
    assert _child("as it is") == "1"


PRINTS = """
import multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor
from flowcore.celery.fork_safety import prepare_forks_of_workers

if sys.argv[1] == "prepared":
    prepare_forks_of_workers()

def say():
    sys.stdout.write("said\\n")

def start():
    process = multiprocessing.get_context("fork").Process(target=say)
    process.start()
    process.join(30)
    return process.exitcode

with ThreadPoolExecutor(2) as executor:
    codes = {each.result() for each in [executor.submit(start) for _ in range(4)]}
with ThreadPoolExecutor(1) as executor:
    print(codes, executor.submit(int, "7").result())
"""


def _printed(mode: str) -> list[str]:
    argv = [sys.executable, "-c", PRINTS, mode]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_a_process_that_a_thread_of_an_executor_has_forked_ends_with_0() -> None:
    assert _printed("prepared") == [*["said"] * 4, "{0} 7"]
