"""``celery -A flowcore``: Celery's own commands, started as a user starts them."""

import os
import subprocess
import sys
import sysconfig
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore import Session
from flowcore.assembly.session import project_namespace
from flowcore.assembly.settings import Settings
from flowcore.client.flow import Flow, start_run
from tests.engine import poll
from tests.flower_services import (
    FLOWER_BIN,
    ROOT,
    FlowerSite,
    free_port,
    need_flower,
    running,
)
from tests.services import running_valkey

pytestmark = pytest.mark.integration

#: Celery's script, which does not have the working directory on its path as ``-m`` does.
SCRIPT = str(Path(sys.executable).with_name("celery"))

MINE = "def hello(name: str) -> str:\n    return 'hello ' + name\n"


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with running_valkey() as url:
        yield url


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directory, in which this process is too."""
    here = tmp_path / "project"
    here.mkdir()
    (here / "mine.py").write_text(MINE)
    monkeypatch.chdir(here)
    monkeypatch.setenv("FLOWCORE_HOME", str(tmp_path / "home"))
    for name in ("FLOWCORE_REDIS_URL", "FLOWCORE_WORKER", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return here


def _celery(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SCRIPT, *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_module_that_cannot_be_imported_is_named_with_the_place_of_its_error(
    place: Path, valkey: str
) -> None:
    (place / "wanting.py").write_text("\nimport nope\n")
    done = _celery("-A", "flowcore", "worker", "-I", "mine,wanting", FLOWCORE_REDIS_URL=valkey)
    assert done.returncode == 1
    assert "cannot import the nodes of 'wanting': ModuleNotFoundError: No module" in done.stderr
    assert f"({place / 'wanting.py'}, line 2); modules are looked for in {place}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_of_agents_that_cannot_be_imported_is_a_sentence_too(
    place: Path, valkey: str
) -> None:
    env = {"FLOWCORE_REDIS_URL": valkey, "FLOWCORE_AGENTS": "nosuch"}
    done = _celery("-A", "flowcore", "worker", "-P", "solo", **env)
    assert done.returncode == 1
    assert "flowcore: cannot import the agents of 'nosuch': No module named" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("app", ["flowcore", "worker"])
def test_a_setting_that_is_none_is_a_sentence_under_every_name_of_the_app(
    place: Path, app: str
) -> None:
    done = _celery("-A", app, "worker", FLOWCORE_REDIS_URL="http://here", FLOWCORE_LEASE="x")
    assert done.returncode == 1
    assert "FLOWCORE_REDIS_URL='http://here': expected a URL starting with redis://" in done.stderr
    assert "FLOWCORE_LEASE='x'" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_code_gets_the_error_itself(place: Path) -> None:
    code = "import flowcore\ntry: flowcore.app\nexcept flowcore.FlowcoreError as e: print(e.code)"
    env = {**os.environ, "FLOWCORE_REDIS_URL": "http://here"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "FC602\n"


def test_without_a_url_it_serves_the_queues_of_the_directory_by_their_own_names(
    place: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    argv = [SCRIPT, "-A", "flowcore", "worker", "-Q", "flowcore,gpu", "-P", "solo", "-l", "INFO"]
    with running(argv, env=os.environ, cwd=place, log=log) as process:
        poll(lambda: " ready." in log.read_text(), what=f"the worker\n{log}")
        with Session(Settings.from_env()) as session:
            assert session.runtime.settings.namespace == project_namespace()
            assert session.unserved([None, "gpu"]) == frozenset()
            (note,) = session.runtime.board.workers()
            assert note.pid == process.pid
            assert all(name.startswith(f"{project_namespace()}.") for name in note.queues)
            nodes = {"a": {"uses": "mine:hello", "queue": "gpu", "with": {"name": "you"}}}
            run = start_run(session, Flow.load({"id": "mine", "nodes": nodes}).plan())
            assert run.wait(60).output == "hello you"


def test_commands_that_look_answer_for_every_worker_under_its_name(
    place: Path, valkey: str, tmp_path: Path
) -> None:
    env = {**os.environ, "FLOWCORE_REDIS_URL": valkey, "FLOWCORE_NAMESPACE": "acme"}
    with_pool = [SCRIPT, "-A", "flowcore", "worker", "-P", "solo", "-l", "INFO"]
    first, second = tmp_path / "first", tmp_path / "second"
    with (
        running(with_pool, env=env, cwd=place, log=first) as stays,
        running(
            [*with_pool, "-n", "two@%h", "-Q", "acme.io,gpu"], env=env, cwd=place, log=second
        ) as leaves,
    ):
        poll(lambda: all(" ready." in log.read_text() for log in (first, second)), what="two")
        with Session(Settings.from_env(env), environ=env) as session:
            notes = {note.name: set(note.queues) for note in session.runtime.board.workers()}
            one, two = sorted(notes)
            assert one.startswith("celery-")
            assert two.startswith("two@")
            assert notes[two] >= {"acme.io", "acme.gpu"}
            assert session.unserved([None, "io", "gpu"]) == frozenset()
            # What a worker answers another that asks, as each does at its start, is let in.
            control = session.runtime.app.control
            answers = control.inspect(destination=[one, two], timeout=60, limit=2).ping() or {}
            assert set(answers) == {one, two}
            assert session.runtime.refusals.count() == 0
        words = ["-A", "flowcore", "inspect", "ping", "-t", "60", "-d", f"{one},{two}"]
        found = _celery(*words, **env)  # it comes back when both have answered
        assert found.returncode == 0
        assert one in found.stdout
        assert two in found.stdout
        words = ["-A", "flowcore", "inspect", "active_queues", "-t", "60", "-d", two]
        asked = _celery(*words, **env)
        assert "acme.io" in asked.stdout
        assert one not in asked.stdout
        _celery("-A", "flowcore", "control", "shutdown", "-d", two, **env)  # no worker answers that
        poll(lambda: leaves.poll() is not None, what="the one that was told to end")
        assert stays.poll() is None


def test_a_report_shows_no_password(place: Path) -> None:
    done = _celery("-A", "flowcore", "report", FLOWCORE_REDIS_URL="redis://:hush-hush@127.0.0.1:1")
    assert done.returncode == 0
    assert "task_default_queue: 'flowcore'" in done.stdout
    assert "hush-hush" not in done.stdout + done.stderr


def test_beat_runs_and_says_that_schedules_of_flows_do_without(
    place: Path, valkey: str, tmp_path: Path
) -> None:
    env, log = {**os.environ, "FLOWCORE_REDIS_URL": valkey}, tmp_path / "log"
    with running([SCRIPT, "-A", "flowcore", "beat"], env=env, cwd=place, log=log) as process:
        poll(lambda: "need no beat" in log.read_text(), what="the sentence")
        assert process.poll() is None


def test_a_name_that_is_taken_is_warned_of(place: Path, valkey: str, tmp_path: Path) -> None:
    env, log = {**os.environ, "FLOWCORE_REDIS_URL": valkey}, tmp_path / "log"
    argv = [SCRIPT, "-A", "flowcore", "worker", "-P", "solo", "-n", "same@%h", "-l", "INFO"]
    with running(argv, env=env, cwd=place, log=log) as first:
        poll(lambda: " ready." in log.read_text(), what="the first")
        with running(argv, env=env, cwd=place, log=tmp_path / "again"):
            poll(lambda: " ready." in (tmp_path / "again").read_text(), what="the second")
        said = (tmp_path / "again").read_text()
        assert f"already (process {first.pid}); give this one another name" in said
        taken = subprocess.run(
            [sys.executable, "-m", "flowcore", "worker", "--name", "same"],
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert taken.returncode == 2
        assert f"already (process {first.pid}); give this one another name" in taken.stderr


def test_a_server_that_does_not_answer_is_waited_for_by_celery_and_an_end_for_flowcore(
    place: Path, tmp_path: Path
) -> None:
    env = {**os.environ, "FLOWCORE_REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    log = tmp_path / "log"
    argv = [SCRIPT, "-A", "flowcore", "worker", "-P", "solo"]
    with running(argv, env=env, cwd=place, log=log) as process:
        poll(lambda: "Trying again" in log.read_text(), what="another try")
        assert "cannot reach Redis: " in log.read_text()
        assert "run 'flowcore doctor'" in log.read_text()
        assert process.poll() is None
    done = subprocess.run(
        [sys.executable, "-m", "flowcore", "worker"],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 4
    assert "cannot reach Redis: " in done.stderr


@pytest.mark.flower
def test_flower_beside_flowcore_needs_no_url_and_its_api_wants_a_password(
    place: Path, valkey: str, tmp_path: Path
) -> None:
    need_flower()
    port = free_port()
    # As if both were installed in one environment.
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    env = {**os.environ, "FLOWCORE_REDIS_URL": valkey, "PYTHONPATH": path}
    argv = [str(FLOWER_BIN / "celery"), "-A", "flowcore", "flower", "--address=127.0.0.1"]
    argv += [f"--port={port}", "--basic-auth=name:password"]
    log = tmp_path / "log"
    url = f"http://127.0.0.1:{port}"
    with running(argv, env=env, cwd=place, log=log):
        poll(FlowerSite(url=url).answers, what=f"Flower\n{log}")
        assert FlowerSite(url=url, auth="name:password").json("/api/tasks") == {}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            FlowerSite(url=url).json("/api/tasks")
        assert "flowcore.node" in log.read_text(), "it knows the app"
