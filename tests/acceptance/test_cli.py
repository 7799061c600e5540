"""The command line as people use it: real commands, an embedded server, real workers."""

import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.services import running_valkey

pytestmark = pytest.mark.acceptance

PATIENCE = 60.0
MODULE = """
import time
def hello(name): return f"hello {name}"
def fail(): raise ValueError("no luck")
def data(): return {"raw": b"\\x00\\xff"}
def large(): return "x" * 1_000_000
def length(value): return len(value)
def nap(seconds, ctx):
    ctx.stopping.wait(seconds)
    return "rested"
def mended(name):
    import os
    if not os.path.exists("mended"): raise ValueError("not mended")
    return f"well, {name}"
def once(ctx):
    if ctx.attempt == 1:
        time.sleep(120)
    return "at last"
"""
FLOWS = {
    "hello": "inputs: {name: {type: string}}\nnodes: {greet: {uses: 'steps:hello'}}\n",
    "fail": "nodes: {bad: {uses: 'steps:fail'}, after: {uses: end, needs: [bad]}}\n",
    "data": "nodes: {a: {uses: 'steps:data'}}\n",
    "large": "nodes: {big: {uses: 'steps:large'}, n: {uses: 'steps:length', needs: [big]}}\n",
    "slow": "nodes: {nap: {uses: 'steps:nap', with: {seconds: 120}}}\n",
    "once": "nodes: {nap: {uses: 'steps:once'}}\n",
    "mend": "nodes: {greet: {uses: 'steps:hello'}, mend: {uses: 'steps:mended', needs: [greet],"
    " with: {name: '${{ inputs.name }}'}}}\n",
    "short": "nodes: {nap: {uses: 'steps:nap', with: {seconds: 3}}}\n",
    # Paused in its first node, it stays so: the second one does not begin.
    "halves": "nodes: {nap: {uses: 'steps:nap', with: {seconds: 8}}, again: {uses: 'steps:nap',"
    " with: {seconds: 0.1}, needs: [nap]}}\n",
}


def eventually(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.05)
    return found


class Shell:
    """A terminal in a project's directory."""

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory, self.home = directory, home
        directory.mkdir(exist_ok=True)
        (directory / "steps.py").write_text(MODULE)
        for name, text in FLOWS.items():
            (directory / f"{name}.yaml").write_text(f"id: {name}\n{text}")
        kept = {key: value for key, value in os.environ.items() if key[:9] != "FLOWCORE_"}
        self.env = {**kept, "FLOWCORE_HOME": str(home)}

    def start(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "flowcore.cli", *words],
            cwd=self.directory,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = self.start(*words, **env)
        out, err = command.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(words, command.returncode, out, err)

    def data(self, *words: str) -> Any:
        """What a command that has to work gives with ``-o json``."""
        ended = self(*words, "-o", "json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def state(self, run: str) -> str | None:
        ended = self("status", run, "-o", "json")
        return json.loads(ended.stdout)["state"] if ended.returncode == 0 else None

    def processes(self) -> list[psutil.Process]:
        """All that was started for this home and is still there."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("FLOWCORE_HOME") == str(self.home)
                if ours or str(self.home) in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return [each for each in found if each.is_running() and each.status() != "zombie"]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "project", tmp_path / "home")
    try:
        yield shell
        eventually(lambda: not shell.processes(), "all processes end by themselves")
    finally:
        for process in shell.processes():
            process.kill()


def test_a_run_gives_its_output_on_stdout_and_all_else_on_stderr(shell: Shell) -> None:
    ended = shell("run", "hello.yaml", "-i", "name=ada", "--id", "r1", "--tag", "eu")
    assert (ended.returncode, ended.stdout) == (0, "hello ada\n"), ended.stderr
    assert "greet: succeeded" in ended.stderr
    assert ended.stderr.endswith("next: flowcore status r1\n")
    (row,) = shell.data("list", "--tag", "eu")
    assert (row["run_id"], row["state"], row["tags"]) == ("r1", "succeeded", ["eu"])
    assert shell.data("list", "--state", "failed") == []
    table = shell("list")
    assert [line.split()[0] for line in table.stdout.splitlines()] == ["RUN", "r1"]
    again = shell("run", "hello.yaml", "-i", "name=bob", "--id", "r1", "-q")
    assert (again.stdout, again.stderr) == ("hello ada\n", ""), "the same id is the same run"


def test_a_run_as_json_is_one_object(shell: Shell) -> None:
    found = shell.data("run", "data.yaml", "-q")
    assert set(found) == {
        *("run_id", "state", "duration_s", "error", "output", "outputs", "nodes"),
    }
    assert found["output"] == {"raw": "AP8="}
    assert found["nodes"]["a"]["attempts"] == 1
    assert found["nodes"]["a"]["started"].endswith("Z")
    lines = shell("run", "data.yaml", "-o", "jsonl").stdout.splitlines()
    kinds = [json.loads(line)["type"] for line in lines]
    assert kinds[0] == "run.created"
    assert kinds[-2:] == ["run.succeeded", "result"]


def test_a_failed_run_is_exit_code_1_and_can_be_inspected(shell: Shell) -> None:
    ended = shell("run", "fail.yaml", "--id", "r1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "node 'bad': ValueError: no luck" in ended.stderr
    assert "Traceback" not in ended.stderr
    whole = shell.data("inspect", "r1")
    assert "Traceback" in whole["nodes"]["bad"]["error"]["traceback"]
    assert whole["nodes"]["after"]["state"] == "cancelled"
    assert whole["events"][-1]["type"] == "run.failed"
    part = shell("inspect", "r1", "--node", "bad")
    assert "ValueError: no luck" in part.stdout
    assert shell("inspect", "r1", "--node", "bda").returncode == 3


def test_what_is_not_there_is_exit_code_3_or_2(shell: Shell) -> None:
    for words in (
        *(["status"], ["watch"], ["inspect"], ["cancel"]),
        *(["pause"], ["resume"], ["rerun"], ["requeue"]),
    ):
        ended = shell(*words, "nobody")
        assert ended.returncode == 3, ended.stderr
        assert "flowcore list" in ended.stderr
    assert shell("run", "gone.yaml").returncode == 2
    missing = shell("run", "hello.yaml")
    assert missing.returncode == 2
    assert "'name' is missing" in missing.stderr


def test_a_server_out_of_reach_is_exit_code_4(shell: Shell) -> None:
    for words in (["run", "data.yaml"], ["list"], ["submit", "data.yaml"], ["doctor"], ["worker"]):
        ended = shell(*words, FLOWCORE_REDIS_URL="redis://127.0.0.1:1/0")
        assert ended.returncode == 4, ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_a_dead_broker_is_exit_code_4_and_nothing_is_started(
    shell: Shell, valkey_server: str, command: str, url: str
) -> None:
    env = {"FLOWCORE_REDIS_URL": valkey_server, "FLOWCORE_BROKER_URL": url}
    ended = shell(command, "data.yaml", "--id", "unheard", **env)
    assert (ended.returncode, ended.stdout) == (4, ""), ended.stderr
    assert "cannot reach the broker" in ended.stderr
    assert "FLOWCORE_BROKER_URL" in ended.stderr
    assert shell("status", "unheard", FLOWCORE_REDIS_URL=valkey_server).returncode == 3
    ended = shell("doctor", "-o", "json", **env)
    assert ended.returncode == 4
    rows = {row["check"]: row for row in json.loads(ended.stdout)}
    assert rows["broker"]["status"] == "fail"
    assert rows["server"]["status"] == "ok"


def test_a_wrong_password_is_exit_code_4_with_advice(shell: Shell) -> None:
    with running_valkey() as url:
        with redis.Redis.from_url(url) as admin:
            admin.config_set("requirepass", "right")
        wrong = url.replace("unix://", "unix://:wrong@")
        ended = shell("run", "data.yaml", FLOWCORE_REDIS_URL=wrong)
        assert ended.returncode == 4
        assert "FC604: Redis refuses the login: invalid username-password pair" in ended.stderr
        ended = shell("doctor", "-o", "json", FLOWCORE_REDIS_URL=wrong)
        assert ended.returncode == 4
        (row,) = [row for row in json.loads(ended.stdout) if row["status"] == "fail"]
        assert "refuses the login" in row["found"]
        assert "USER:PASSWORD@HOST" in row["fix"]


def test_a_server_without_room_refuses_runs_and_warns_before(shell: Shell) -> None:
    with running_valkey() as url, redis.Redis.from_url(url) as admin:
        admin.setrange("ballast", 20_000_000, b"x")
        used = admin.info("memory")["used_memory"]
        admin.config_set("maxmemory", round(used / 0.9))
        ended = shell("submit", "data.yaml", FLOWCORE_REDIS_URL=url)
        assert (ended.returncode, ended.stdout) == (4, "")
        assert "error FC605: Redis has too little room for a new run" in ended.stderr
        admin.config_set("maxmemory", round(used / 0.75))
        ended = shell("submit", "data.yaml", "--id", "r1", FLOWCORE_REDIS_URL=url)
        assert (ended.returncode, ended.stdout) == (0, "r1\n")
        assert "flowcore: warning: Redis is getting full" in ended.stderr


def test_doctor_finds_a_payload_store_that_cannot_be_written(shell: Shell) -> None:
    (shell.directory / "file").write_text("no directory")
    place = (shell.directory / "file").as_uri()
    ended = shell("doctor", "-o", "json", FLOWCORE_PAYLOADS=place)
    assert ended.returncode == 1
    (row,) = [row for row in json.loads(ended.stdout) if row["check"] == "payloads"]
    assert row["status"] == "fail"
    assert "cannot write to" in row["found"]


def test_doctor_finds_the_embedded_server_well(shell: Shell) -> None:
    rows = {row["check"]: row["status"] for row in shell.data("doctor")}
    assert {rows[name] for name in ("server", "eviction", "durability", "payloads", "broker")} == {
        "ok"
    }


def test_doctor_finds_callbacks_that_no_worker_could_call(shell: Shell) -> None:
    done = shell("doctor", FLOWCORE_CALLBACKS="nowhere.at:all")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if " callbacks " in line)
    assert line.startswith("fail")
    assert "'nowhere.at:all' cannot be found" in line


def test_a_large_output_is_a_file_and_is_shown_by_size_and_hash(shell: Shell) -> None:
    result = shell.data("run", "large.yaml", "--id", "r1")
    assert result["output"] == 1_000_000
    packed = b"\xdb" + (1_000_000).to_bytes(4, "big") + b"x" * 1_000_000
    digest = hashlib.sha256(packed).hexdigest()
    place = shell.home / "payloads"
    shown = {"bytes": 1_000_005, "sha256": digest, "kept_in": place.as_uri()}
    assert result["outputs"]["big"] == {"payload": shown}
    (file,) = place.glob("r1.*/*")
    assert (file.name, file.read_bytes() == packed) == (digest, True)
    assert shell.data("inspect", "r1")["nodes"]["big"]["output"] == {"payload": shown}
    node = shell.data("inspect", "r1", "--node", "big", "--payloads")
    assert node["output"] == "x" * 1_000_000
    file.unlink()
    ended = shell("inspect", "r1", "--payloads")
    assert ended.returncode == 1
    assert "error FC509: the output of node 'big'" in ended.stderr


def test_a_large_input_is_shown_by_size_and_hash(shell: Shell) -> None:
    (shell.directory / "in.json").write_text(json.dumps({"value": "x" * 1_000_000}))
    (shell.directory / "measure.yaml").write_text("id: m\nnodes: {n: {uses: 'steps:length'}}\n")
    ended = shell("run", "measure.yaml", "-i", "@in.json", "--id", "r1")
    assert (ended.returncode, ended.stdout) == (0, "1000000\n"), ended.stderr
    assert shell.data("inspect", "r1")["input"]["payload"]["bytes"] == 1_000_012
    assert len(shell.data("inspect", "r1", "--payloads")["input"]["value"]) == 1_000_000


def test_a_submitted_run_goes_on_in_the_background(shell: Shell) -> None:
    ended = shell("submit", "short.yaml", "--id", "r1")
    assert (ended.returncode, ended.stdout) == (0, "r1\n"), ended.stderr
    second = shell("enqueue", "hello.yaml", "-i", "name=ada", "-q")
    assert second.returncode == 0, second.stderr
    assert second.stderr == ""
    watched = shell("watch", "r1")
    assert (watched.returncode, watched.stdout) == (0, "rested\n"), watched.stderr
    assert shell("watch", second.stdout.strip(), "-q").stdout == "hello ada\n"
    background = [process for process in shell.processes() if "--until-idle" in process.cmdline()]
    assert len(background) <= 1, "one background worker serves both"


def test_a_wait_that_times_out_leaves_the_run_going(shell: Shell) -> None:
    ended = shell("run", "slow.yaml", "--id", "r1", "--timeout", "500ms")
    assert ended.returncode == 124, ended.stderr
    assert "flowcore watch r1" in ended.stderr
    assert shell("watch", "r1", "--timeout", "100ms").returncode == 124
    eventually(lambda: shell.state("r1") == "running", "somebody else runs it")
    assert shell("cancel", "r1").returncode == 0
    assert shell("watch", "r1").returncode == 5


def test_a_run_is_cancelled_from_another_shell(shell: Shell) -> None:
    command = shell.start("run", "slow.yaml", "--id", "r1", "-o", "json")
    eventually(lambda: shell.state("r1") == "running", "the run has started")
    assert shell("cancel", "r1").stdout in {"stopping\n", "cancelled\n"}
    out, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 5, err
    assert json.loads(out)["state"] == "cancelled"
    assert "ended before" in shell("cancel", "r1").stderr


def test_ctrl_c_cancels_a_run(shell: Shell) -> None:
    command = shell.start("run", "slow.yaml", "--id", "r1")
    eventually(lambda: shell.state("r1") == "running", "the run has started")
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130, err
    assert "Traceback" not in err
    assert shell.state("r1") == "cancelled"


def test_sigterm_leaves_a_run_for_the_next_worker(shell: Shell) -> None:
    command = shell.start("run", "once.yaml", "--id", "r1")
    eventually(lambda: shell.state("r1") == "running", "the run has started")
    command.send_signal(signal.SIGTERM)
    out, err = command.communicate(timeout=PATIENCE)
    assert (command.returncode, out) == (143, ""), err
    assert "told to end; run r1 continues when there is a worker: flowcore worker" in err
    assert err.endswith("next: flowcore watch r1\n")
    assert shell.state("r1") == "running"
    assert shell("submit", "hello.yaml", "-i", "name=ada").returncode == 0
    assert shell("watch", "r1", "-q").stdout == "at last\n"


def test_sigterm_leaves_a_watched_run_alone(shell: Shell) -> None:
    assert shell("submit", "slow.yaml", "--id", "r1").returncode == 0
    command = shell.start("watch", "r1", "-o", "jsonl")
    assert command.stdout is not None
    assert "run.created" in command.stdout.readline()
    command.send_signal(signal.SIGTERM)
    _, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 143, err
    assert "told to end; run r1 continues" in err
    assert shell("cancel", "r1").returncode == 0
    assert shell("watch", "r1", "-q").returncode == 5


def test_ctrl_c_leaves_a_watched_run_alone(shell: Shell) -> None:
    assert shell("submit", "slow.yaml", "--id", "r1").returncode == 0
    command = shell.start("watch", "r1", "-o", "jsonl")
    assert command.stdout is not None
    assert "run.created" in command.stdout.readline()
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130, err
    assert "the run continues" in err
    assert shell.state("r1") in {"pending", "running"}
    assert shell("cancel", "r1").returncode == 0
    assert shell("watch", "r1", "-q").returncode == 5


def test_a_killed_run_is_taken_up_by_the_next_one(shell: Shell) -> None:
    command = shell.start("run", "once.yaml", "--id", "r1")
    eventually(lambda: shell.state("r1") == "running", "the run has started")
    command.kill()
    command.communicate(timeout=PATIENCE)
    eventually(
        lambda: not [each for each in shell.processes() if "worker" in each.cmdline()],
        "its workers die with it",
    )
    assert shell("watch", "r1", "--timeout", "100ms").returncode == 124
    eventually(
        lambda: "no live worker serves" in shell("status", "r1").stderr,
        "status says that nobody works on it, once their notes on the board are stale",
    )
    assert shell("submit", "hello.yaml", "-i", "name=ada").returncode == 0
    watched = shell("watch", "r1", "--timeout", "50s")
    assert (watched.returncode, watched.stdout) == (0, "at last\n"), watched.stderr
    assert shell.data("status", "r1")["nodes"]["nap"]["attempts"] == 2


def test_projects_share_the_server_but_not_their_workers(shell: Shell) -> None:
    other = Shell(shell.directory.with_name("other"), shell.home)
    (other.directory / "steps.py").write_text('def hello(name): return f"bye {name}"\n')
    commands = [each.start("run", "hello.yaml", "-i", "name=ada", "-q") for each in (shell, other)]
    answers = [command.communicate(timeout=PATIENCE) for command in commands]
    assert [out for out, _ in answers] == ["hello ada\n", "bye ada\n"], answers
    assert len(shell.data("list")) == 2


def test_a_worker_serves_until_it_is_told_to_end(shell: Shell) -> None:
    worker = shell.start("worker", "--concurrency", "1", "--pool", "solo")
    try:
        assert worker.stderr is not None
        assert "worker for" in worker.stderr.readline()
        assert shell("submit", "hello.yaml", "-i", "name=ada", "--id", "r1").returncode == 0
        assert shell("watch", "r1", "-q").stdout == "hello ada\n"
    finally:
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0


def test_on_a_server_of_ones_own_local_workers_are_announced(
    shell: Shell, valkey_server: str
) -> None:
    env = {"FLOWCORE_REDIS_URL": valkey_server, "FLOWCORE_NAMESPACE": "cli-test"}
    waiting = shell("submit", "hello.yaml", "-i", "name=ada", "--id", "cli-1", **env)
    assert waiting.stdout == "cli-1\n"
    assert "no live worker serves cli-test.flowcore" in waiting.stderr
    ended = shell("run", "hello.yaml", "-i", "name=bob", **env)
    assert (ended.returncode, ended.stdout) == (0, "hello bob\n"), ended.stderr
    assert "started local workers" in ended.stderr
    worker = shell.start("worker", "--pool", "solo", **env)
    try:
        assert shell("watch", "cli-1", "-q", **env).stdout == "hello ada\n"
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=PATIENCE)


def test_a_backend_is_held_against_what_every_backend_must_do(shell: Shell) -> None:
    done = shell("conformance", "native", "--case", "join all", "--case", "diamond", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["backend"] == "native"
    assert {one["case"]: one["outcome"] for one in found["cases"]} == {
        "diamond": "passed",
        "join all_success": "passed",
        "join all_done": "passed",
    }
    unknown = shell("conformance", "native", "--case", "no such case")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no case has no such case in its name" in unknown.stderr
    assert shell("conformance", "nobody").returncode == 2


def test_node_types_are_listed_and_explained(shell: Shell) -> None:
    rows = json.loads(shell("nodes", "-o", "json").stdout)
    known = {row["type"]: row["status"] for row in rows}
    assert known["wait"] == known["approval"] == known["http"] == "there"
    assert known["agent"] == "planned"
    assert all(row["does"] for row in rows if row["status"] == "there")
    assert "on_reject" in shell("nodes", "approval").stdout
    unknown = shell("nodes", "aproval")
    assert (unknown.returncode, unknown.stdout) == (3, "")


def test_help_is_fast(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    took = []
    for _ in range(9):
        started = time.perf_counter()
        assert shell("--help").returncode == 0
        took.append(time.perf_counter() - started)
    median = statistics.median(took)
    with capsys.disabled():
        best = min(took)
        sys.stdout.write(f"\n--help: median {median * 1000:.0f} ms, best {best * 1000:.0f} ms\n")
    assert median < 1.0, "150 ms on an idle machine; four commands at once share this one"


def test_a_failed_run_is_resumed_and_run_again_from_a_node(shell: Shell) -> None:
    assert shell("run", "mend.yaml", "-i", "name=ada", "--id", "r1").returncode == 1
    (shell.directory / "mended").touch()
    ended = shell("resume", "r1")
    assert (ended.returncode, ended.stdout) == (0, "running\n"), ended.stderr
    assert ended.stderr == "next: flowcore watch r1\n"
    watched = shell("watch", "r1", "-q")
    assert (watched.returncode, watched.stdout) == (0, "well, ada\n"), watched.stderr
    again = shell("resume", "r1")
    assert again.returncode == 2
    assert "flowcore rerun r1" in again.stderr
    new = shell("rerun", "r1", "--from", "mend", "-i", "name=bob", "--id", "r2")
    assert (new.returncode, new.stdout) == (0, "r2\n"), new.stderr
    assert shell("watch", "r2", "-q").stdout == "well, bob\n"
    shown = shell("status", "r2").stdout
    assert "rerun of r1 from node mend on" in shown
    (row,) = [row for row in shell.data("list") if row["run_id"] == "r2"]
    assert row["origin"] == {"run_id": "r1", "node": "mend"}
    assert shell("rerun", "r1", "--from", "mned").returncode == 3


def test_a_run_is_paused_and_resumed_from_another_shell(shell: Shell) -> None:
    assert shell("submit", "halves.yaml", "--id", "r1").returncode == 0
    ended = shell("pause", "r1")
    assert (ended.returncode, ended.stdout) == (0, "paused\n"), ended.stderr
    assert [row["run_id"] for row in shell.data("list", "--state", "paused")] == ["r1"]
    assert "flowcore resume r1" in shell("status", "r1").stderr
    assert shell.data("resume", "r1")["run_id"] == "r1"
    watched = shell("watch", "r1")
    assert (watched.returncode, watched.stdout) == (0, "rested\n"), watched.stderr
    assert shell("pause", "r1").returncode == 2


def test_a_paused_run_does_not_keep_the_background_worker(shell: Shell) -> None:
    assert shell("submit", "halves.yaml", "--id", "r1").returncode == 0
    assert shell("pause", "r1").returncode == 0
    eventually(lambda: not shell.processes(), "the background worker leaves")
    shell("cancel", "r1")


def test_dead_letters_are_listed_and_nothing_else_is_queued_again(shell: Shell) -> None:
    assert shell.data("list", "--dead") == []
    assert "no dead letters" in shell("list", "--dead").stderr
    assert shell("list", "--dead", "--tag", "eu").returncode == 2
    assert shell("run", "hello.yaml", "-i", "name=ada", "--id", "r1").returncode == 0
    ended = shell("requeue", "r1")
    assert ended.returncode == 2
    assert "flowcore list --dead" in ended.stderr
    assert shell("requeue", "r1", "gone").returncode == 3
