"""A new user: a built wheel in a fresh environment, an empty folder, several workers on one host.

The wheel is built and installed as pip would, without a network: what it depends on is found in
the environment of the tests, but flowcore itself is the wheel's.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.engine import poll
from tests.flower_services import running
from tests.services import running_valkey

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

SHOP = """
from flowcore import Context, node


@node
def fetch(ctx: Context) -> str:
    return ctx.worker


@node(queue="gpu")
def train(ctx: Context) -> str:
    return ctx.worker


def save(ctx: Context) -> str:
    return ctx.worker


def spare(ctx: Context) -> str:
    return ctx.worker
"""

FLOW = """
id: shop
nodes:
  fetch: {uses: shop:fetch}
  train: {uses: shop:train}
  save: {uses: shop:save, queue: io}
"""
LONELY = """
id: lonely
nodes:
  a: {uses: shop:fetch}
  b: {uses: shop:spare, queue: tpu}
"""

#: Command lines by the queue that they serve, as a user types them: both forms, and an older one.
WORKERS = {
    "flowcore": "celery -A flowcore worker -l INFO -c 1",
    "gpu": "flowcore worker -Q gpu -c 1",
    "io": "celery -A worker worker -l INFO -P threads -c 2 -Q io -n io@%h",
}


@dataclass(frozen=True)
class User:
    """Somebody in a folder, with a shell."""

    folder: Path
    env: Mapping[str, str]

    def types(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def workers(self) -> dict[str, str]:
        """Who serves what, as doctor says: the name of each worker by its first queue."""
        rows = json.loads(self.types("flowcore", "doctor", "-o", "json").stdout)
        found = [row["found"] for row in rows if row["check"] == "workers"]
        named = [line.partition(": ") for line in found if "queues " in line]
        return {
            about.partition("queues ")[2].split(";")[0].split(",")[0]: name
            for name, _, about in named
        }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel."""
    home = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(home), str(ROOT)], check=True)
    (wheel,) = home.glob("flowcore-*.whl")
    venv.create(home / "venv", symlinks=True)
    python = home / "venv" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "--no-index", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True)
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    # A path alone: the link of an editable install there is not followed.
    (packages / "of_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # What pip makes of Celery's entry point; ours is made by pip itself.
    script = f"#!{python}\nimport sys\nfrom celery.__main__ import main\nsys.exit(main())\n"
    (python.parent / "celery").write_text(script)
    (python.parent / "celery").chmod(0o755)
    return python.parent


@pytest.fixture(scope="module")
def user(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user whose three workers run."""
    home = tmp_path_factory.mktemp("user")
    folder = home / "folder"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    (folder / "shop.yaml").write_text(FLOW)
    (folder / "lonely.yaml").write_text(LONELY)
    with running_valkey() as url, ExitStack() as stack:
        env = {
            "PATH": f"{installed}{os.pathsep}{os.defpath}",
            "HOME": str(home),
            "FLOWCORE_REDIS_URL": url,
            "LANG": "C.UTF-8",
        }
        logs = {queue: home / f"{queue}.log" for queue in WORKERS}
        for queue, line in WORKERS.items():
            program, *rest = line.split()
            argv = [str(installed / program), *rest]
            stack.enter_context(running(argv, env=env, cwd=folder, log=logs[queue]))
        for log in logs.values():
            poll(partial(_is_ready, log), what=f"the worker of {log}")
        yield User(folder, env)


def _is_ready(log: Path) -> bool:
    return " ready." in log.read_text()


def _output(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)["output"]


def test_flowcore_is_the_wheels(user: User) -> None:
    said = user.types("python", "-c", "import flowcore, worker; print(flowcore.__file__)").stdout
    assert str(ROOT) not in said
    assert "site-packages" in said
    assert user.types("python", "-m", "flowcore", "--version").stdout == "flowcore 0.1.0\n"


def test_doctor_status_and_run_agree_on_who_serves_what(user: User) -> None:
    serving = user.workers()
    assert set(serving) == set(WORKERS)
    assert len(set(serving.values())) == 3
    assert serving["io"].startswith("io@")
    rows = json.loads(user.types("flowcore", "doctor", "-o", "json").stdout)
    (messages,) = [row for row in rows if row["check"] == "messages"]
    assert messages["found"] == "none was refused", "what workers answer each other is let in"
    ran = user.types("flowcore", "run", "shop.yaml", "--id", "r1", "-o", "json")
    assert "started local workers" not in ran.stderr
    by_node = {"fetch": "flowcore", "train": "gpu", "save": "io"}
    assert _output(ran) == {node: serving[queue] for node, queue in by_node.items()}
    assert user.workers() == serving, "none came, none left"
    asked = user.types("flowcore", "status", "r1")
    assert "no live worker" not in asked.stdout + asked.stderr


def test_a_queue_that_nobody_serves_is_named_with_the_command_that_would(user: User) -> None:
    command = "flowcore worker --queues tpu"
    sent = user.types("flowcore", "submit", "lonely.yaml", "--id", "r2")
    assert f"no live worker serves tpu; start one: {command}" in sent.stderr
    asked = user.types("flowcore", "status", "r2")
    assert "no live worker serves tpu" in asked.stdout + asked.stderr
    ran = user.types("flowcore", "run", "lonely.yaml", "--concurrency", "1", "-o", "json")
    assert "no live worker serves tpu: started local workers" in ran.stderr
    output = _output(ran)
    assert output["a"].startswith("celery-"), "what is served is left to who serves it"
    assert output["b"].startswith("local-")
