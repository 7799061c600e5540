"""examples/web/README.md, run as it is written: each command in a shell, with what it names alone.

The applications' own test imports them into a process that knows where they are; a reader has
nothing but these lines. Only the port is another, and what is installed is not installed again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.engine import poll
from tests.flower_services import free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
README = ROOT / "examples" / "web" / "README.md"
BLOCKS = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)


def _commands(block: str) -> list[str]:
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    assert [line for line in block.splitlines() if not line.startswith("$ ")] == []
    return lines


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A directory with the examples and nothing else, and a reader's environment."""
    shutil.copytree(ROOT / "examples" / "web", tmp_path / "checkout" / "examples" / "web")
    ours = ("FLOWCORE_", "PYTHONPATH", "ORDERS_DB")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env["FLOWCORE_HOME"] = str(tmp_path / "home")
    return tmp_path / "checkout", env


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


@pytest.mark.parametrize("block", BLOCKS, ids=["fastapi", "django"])
def test_the_readme_works_as_written(block: str, checkout: tuple[Path, dict[str, str]]) -> None:
    place, env = checkout
    install, *commands = _commands(block)
    assert install.startswith("pip install")
    *started, post, get = commands
    assert post.startswith("curl -X POST")
    assert get.startswith("curl ")
    port = str(free_port())
    # The shell waits for what it has started; closing its input ends them all.
    script = "\n".join([*started, "read -r _", "kill $(jobs -p)", "wait"]).replace("8000", port)
    log = place / "log"
    with log.open("wb") as sink:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=place,
            env=env,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        site = f"http://localhost:{port}"
        poll(lambda: _answers(f"{site}/orders/0"), what=f"the web server\n{log}")
        asked = subprocess.run(
            post.replace("8000", port),
            shell=True,
            cwd=place,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(asked.stdout)["order"] == 1, log.read_text()
        where = f"{site}/orders/1"
        poll(lambda: (_get(where) or {}).get("state") in ("succeeded", "failed"), what="the run")
        got = subprocess.run(
            get.replace("8000", port),
            shell=True,
            cwd=place,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        told = {"state": "succeeded", "output": "order 1: 500 cents"}
        assert json.loads(got.stdout) == told, log.read_text()
    finally:
        shell.communicate(timeout=60)


def _answers(url: str) -> bool:
    """Whether a server answers at all; that there is no such order is an answer."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True
