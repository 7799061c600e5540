"""What the pages say to type: README, quickstart, running workers. A clone, and nothing else."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.bin.worker import worker as celery_worker

from flowcore.cli.main import _Stub
from tests.engine import poll
from tests.flower_services import running
from tests.services import running_valkey

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
WORKERS = ROOT / "docs" / "how-to" / "workers.md"
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("docs/how-to/*.md"),
    *ROOT.glob("docs/reference/*.md"),
    *ROOT.glob("examples/**/*.md"),
    *ROOT.glob("compose/*.md"),
]


def _blocks(page: Path, kind: str = "console") -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)


def _commands(block: str) -> list[str]:
    """What is typed, without what it answers and what is remarked."""
    typed = [line[2:] if line[:2] == "$ " else "" for line in block.splitlines()]
    return [re.sub(r"\s+(#|&).*", "", line) for line in typed if line]


def _worker_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in _blocks(page):
            for line in block.splitlines():
                found = re.search(r"(celery .*-A \S+ worker|flowcore worker)(?= |$).*", line)
                if found and not line.startswith("#"):
                    yield page.name, re.sub(r"\s+(#|&).*", "", found[0])


@pytest.fixture
def clone(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A directory with the examples, and a reader's environment."""
    shutil.copytree(ROOT / "examples", tmp_path / "clone" / "examples")
    ours = ("FLOWCORE_", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env["FLOWCORE_HOME"] = str(tmp_path / "home")
    return tmp_path / "clone", env


def test_the_readme_shows_the_files_that_it_names() -> None:
    for kind in ("python", "yaml"):
        for block in _blocks(README, kind):
            name, _, text = block.partition("\n")
            held = (ROOT / name.removeprefix("# ")).read_text()
            assert held.strip().endswith(text.strip()), "all but what the file says of itself"


def test_the_commands_of_the_readme_answer_as_written(clone: tuple[Path, dict[str, str]]) -> None:
    place, env = clone
    blocks = [block for block in _blocks(README) if "examples/" in block]
    commands = [line for block in blocks for line in _commands(block)]
    assert [line.split()[:2] for line in commands] == [
        ["python", "examples/quickstart.py"],
        ["flowcore", "run"],
        ["flowcore", "graph"],
        ["flowcore", "validate"],
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -e", *commands])],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (answer,) = [line for line in blocks[0].splitlines() if line[:2] != "$ "]
    assert done.stdout.splitlines()[0] == answer


def test_the_workers_of_the_how_to_page_run_side_by_side_as_written(
    clone: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    place, env = clone
    (block,) = [block for block in _blocks(WORKERS) if "flowcore doctor" in block]
    *workers, doctor = _commands(block)
    assert len(workers) == 3
    # Who ends the shell ends the workers, for which it waits.
    script = ["trap 'kill $(jobs -p)' TERM", *(f"{line} &" for line in workers), "wait", "wait"]
    log = tmp_path / "log"
    with running_valkey() as url:
        env["FLOWCORE_REDIS_URL"] = url
        given = {**env, "CELERY_WORKER_LOGLEVEL": "INFO"}  # it says when it is ready
        with running(["bash", "-c", "\n".join(script)], env=given, cwd=place, log=log):
            poll(
                lambda: log.read_text().count(" ready.") == len(workers),
                what=f"three workers\n{log}",
                patience=120,
            )
            found = subprocess.run(
                shlex.split(doctor), cwd=place, env=env, capture_output=True, text=True, check=True
            ).stdout
    names = re.findall(r"(\S+@\S+): process", found)
    assert len(set(names)) == len(workers)
    assert any(name.startswith("gpu@") for name in names)
    assert re.search(r"threads? 50; queues io\b", found)


@pytest.mark.parametrize(("page", "line"), dict.fromkeys(_worker_lines()), ids=str)
def test_every_worker_command_of_the_docs_is_one(page: str, line: str) -> None:
    program, *words = shlex.split(line)
    options = words[words.index("worker") + 1 :]
    if program == "celery":
        assert words[words.index("-A") + 1] == "flowcore"
        context = celery_worker.make_context("worker", options, resilient_parsing=True)
        assert context.args == []
        return
    command = _Stub("worker", "flowcore.cli.commands.worker:worker", "").load()
    with command.make_context("worker", options) as context:
        assert context.args == []


def test_the_older_forms_lead_no_page() -> None:
    older = ("celery -A worker", "flowcore.assembly.worker")
    found = [page.name for page in PAGES if any(form in page.read_text() for form in older)]
    assert found == ["workers.md"], "which says that they go on to work"
