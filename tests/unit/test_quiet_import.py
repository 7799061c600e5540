"""Importing flowcore changes nothing of a process: it belongs to somebody else."""

import json
import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import json, logging, os, signal, sys, threading, warnings

def seen():
    handlers = {str(each): repr(signal.getsignal(each)) for each in signal.valid_signals()}
    root = logging.getLogger()
    return {
        "threads": threading.active_count(),
        "signals": handlers,
        "log": [root.level, repr(root.handlers), repr(logging.getLogRecordFactory())],
        "streams": [repr(sys.stdout), repr(sys.stderr), repr(sys.excepthook)],
        "environment": dict(os.environ),
        "sockets": sum("socket" in os.readlink(f"/proc/self/fd/{fd}") for fd in fds()),
    }

def fds():
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]

before = seen()
import flowcore
flow = flowcore.Flow.load({"nodes": {"a": {"uses": "end"}}})
flow.check()
after = seen()
print(json.dumps([before, after]))
"""


def test_an_import_and_a_check_leave_the_process_as_it_was(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        return
    env = {**os.environ, "FLOWCORE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=True
    )
    before, after = json.loads(done.stdout)
    assert after == before
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == [], "no file is made"
