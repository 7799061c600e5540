"""``flowcore dev`` runs what the files say now."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from flowcore.cli.commands.dev import changed, snapshot
from tests.engine import poll


def test_only_modules_and_definitions_count(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.py").write_text("1")
    (tmp_path / "c.txt").write_text("1")
    before = snapshot(tmp_path)
    assert [Path(name).name for name in before] == ["a.py"]
    (tmp_path / "d.yaml").write_text("1")
    os.utime(tmp_path / "a.py", (1, 1))
    found = changed(before, snapshot(tmp_path))
    assert [Path(name).name for name in found] == ["a.py", "d.yaml"]


def test_a_changed_module_is_what_the_next_run_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    project = tmp_path / "project"
    project.mkdir()
    module = project / "mine.py"
    module.write_text("def say():\n    return 'old'\n")
    (project / "flow.yaml").write_text("nodes: {a: {uses: 'mine:say'}}")
    environ = {**os.environ, "FLOWCORE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("FLOWCORE_REDIS_URL", None)

    def flowcore(*words: str) -> str:
        argv = [sys.executable, "-m", "flowcore.cli", *words]
        done = subprocess.run(
            argv, env=environ, cwd=project, capture_output=True, text=True, check=False, timeout=90
        )
        return done.stdout.strip()

    log = tmp_path / "dev.log"
    with log.open("w") as out:
        argv = [sys.executable, "-m", "flowcore.cli", "dev"]
        dev = subprocess.Popen(argv, env=environ, cwd=project, stdout=out, stderr=out)
        try:
            poll(lambda: " ready" in log.read_text(), what="the worker")
            first = flowcore("submit", "flow.yaml", "-q")
            assert flowcore("watch", first, "-q") == "old"
            module.write_text("def say():\n    return 'new'\n")
            poll(lambda: log.read_text().count(" ready") >= 2, what="the worker to start again")
            assert "mine.py has changed" in log.read_text()
            second = flowcore("submit", "flow.yaml", "-q")
            assert flowcore("watch", second, "-q") == "new"
        finally:
            children = psutil.Process(dev.pid).children(recursive=True)
            dev.send_signal(signal.SIGINT)
            dev.wait(60)
            psutil.wait_procs(children, timeout=60)
