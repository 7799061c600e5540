"""The quickstart as a new user walks it: an empty folder, each line, each answer.

In: docs/quickstart.md. Out: what a shell says to its lines. Not here: its own Redis
(test_docs_as_written runs workers on one).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
WALK = (ROOT / "docs/quickstart.md").read_text("utf-8").partition("## Move to your own Redis")[0]

#: Ids, hashes, dates and times are each run's own; columns are as wide as those make them.
_OWN = re.compile(
    r"hello-\w{10}|plan \w{12}|\d{4}-\d\d-\d\dT\S+|(in )?\b[\d.]+ ?(ms|m|s|h)\b( ago)?( [\d.]+ s)?"
)


def _plain(line: str) -> str:
    return " ".join(_OWN.sub("~", line).split())


def _steps() -> list[tuple[str, list[str]]]:
    """Each line that is typed, with the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", WALK, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_the_program_of_the_walk_is_the_one_of_its_picture() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", WALK, re.DOTALL)
    held = (ROOT / "examples/hello.py").read_text("utf-8")
    assert held.endswith(code), "all but what the file says of itself"


def test_the_walk_answers_as_written(tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    (code,) = re.findall(r"```python\n(.*?)```", WALK, re.DOTALL)
    (place / "hello.py").write_text(code)
    ours = ("FLOWCORE_", "PYTHONPATH", "CELERY_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env["FLOWCORE_HOME"] = str(tmp_path / "home")
    steps = _steps()
    assert len(steps) >= 12
    for typed, shown in steps:
        done = subprocess.run(
            ["bash", "-c", typed],
            cwd=place,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        said = [_plain(line) for line in (done.stdout + done.stderr).splitlines()]
        missing = [line for line in shown if _plain(line) not in said]
        assert not missing, f"{typed}\n{missing}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == (1 if any(" failed in " in line for line in shown) else 0), typed
    assert (place / "first.svg").read_text("utf-8").startswith("<svg")
