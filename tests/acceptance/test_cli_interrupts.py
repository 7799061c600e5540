"""Ctrl-C before a command has begun: it ends quietly, wherever Python is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

#: Runs the command line with an import that says where it is, and stays there.
PROBE = """
import runpy, sys, time
place = sys.argv[1]
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            print("here", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Stop())
sys.argv = ["flowcore", *sys.argv[2:]]
{start}
"""
STARTS = {
    "python -m": "runpy.run_module('flowcore.cli', run_name='__main__', alter_sys=True)",
    "flowcore": "from flowcore.cli.__main__ import start; sys.exit(start())",
}


@pytest.mark.parametrize("start", list(STARTS))
@pytest.mark.parametrize("module", ["flowcore.cli.main", "typer", "celery", "redis"])
def test_ctrl_c_during_an_import_is_quiet(tmp_path: Path, module: str, start: str) -> None:
    (tmp_path / "flow.yaml").write_text("id: f\nnodes: {a: {uses: end}}\n")
    command = subprocess.Popen(
        [sys.executable, "-c", PROBE.format(start=STARTS[start]), module, "run", "flow.yaml"],
        cwd=tmp_path,
        env={**os.environ, "FLOWCORE_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with command:
        assert command.stdout is not None
        assert command.stdout.readline() == "here\n"
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (130, "")


def test_the_installed_command_starts_where_interrupts_are_quiet() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert '\nflowcore = "flowcore.cli.__main__:start"\n' in project.read_text("utf-8")
