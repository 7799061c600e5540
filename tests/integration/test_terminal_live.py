"""The live view of a run on a pty, while things happen to the run and to the terminal."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore import Run
from flowcore.run.status import RunState
from tests.engine import MODULES, Engine
from tests.integration.conftest import MakeEngine
from tests.screens import Terminal

FLOW = """
id: live
nodes:
  timer: {uses: wait, with: {for: 3s}}
  m: {uses: 'engine_nodes:echo', for_each: '${{ [1, 2, 3, 4] }}', with: {value: '${{ item }}'}}
  again: {uses: 'engine_nodes:fail_until', with: {attempt: 2}, retry: {max_attempts: 3, delay: 1s}}
  ask: {uses: approval, with: {message: 'may I? 日本語'}}
  last: {uses: end, needs: [ask, timer, m, again]}
"""


@pytest.fixture(scope="module")
def live(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = tmp_path_factory.mktemp("live")
    (home / "live.yaml").write_text(FLOW)
    with make_engine(home, heartbeat="0.25") as engine:
        engine.workers()
        yield engine


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals that are killed in the end, however a test ends."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.kill()


def _environment(engine: Engine) -> dict[str, str]:
    """What a person's shell has; nothing that makes the command a part of a worker."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCORE_")}
    return {
        **own,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(MODULES),
        "FLOWCORE_REDIS_URL": engine.session.runtime.redis_url,
        "FLOWCORE_HOME": str(engine.home),
    }


def _open(
    terminals: list[Terminal], engine: Engine, *words: str, columns: int = 90, **env: str
) -> Terminal:
    given = {**_environment(engine), **env}
    command = [sys.executable, "-m", "flowcore.cli", *words]
    terminal = Terminal(command, env=given, cwd=engine.home, size=(columns, 40))
    terminals.append(terminal)
    return terminal


def _approve(engine: Engine, id: str) -> None:
    Run.get(id, session=engine.session).approve("ask")


def test_a_run_is_drawn_from_its_beginning_to_its_end(
    live: Engine, terminals: list[Terminal]
) -> None:
    terminal = _open(terminals, live, "run", "live.yaml", "--id", "whole")
    terminal.until("answer: flowcore approve whole ask")
    shown = terminal.until("waits for may I? 日本語")
    assert re.search(r"^  . timer", shown, re.MULTILINE)
    terminal.resize(40, 20)
    _approve(live, "whole")
    assert terminal.end() == 0
    shown = terminal.screen.text()
    for name in ("timer", "m", "again", "ask", "last"):
        assert re.search(rf"✔ {name}\b", shown), shown
    assert "try 2 of 3" in shown
    assert "next: flowcore status whole" in shown.replace("\n", "")


def test_a_narrow_terminal_without_colours_shows_states_and_the_command(
    live: Engine, terminals: list[Terminal]
) -> None:
    terminal = _open(terminals, live, "run", "live.yaml", "--id", "slim", columns=20, NO_COLOR="1")
    terminal.until(lambda text: "flowcoreapproveslimask" in re.sub(r"\s", "", text))
    _approve(live, "slim")
    assert terminal.end() == 0
    assert "✔ timer" in terminal.screen.text()
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.raw)


def test_a_dumb_terminal_gets_lines_and_no_sequence(
    live: Engine, terminals: list[Terminal]
) -> None:
    terminal = _open(terminals, live, "run", "live.yaml", "--id", "dumb", TERM="dumb")
    shown = terminal.until("answer: flowcore approve dumb ask")
    assert "m: runs 4 items" in shown
    _approve(live, "dumb")
    assert terminal.end() == 0
    assert b"\x1b" not in terminal.raw


def test_ctrl_c_cancels_a_run_and_says_how_to_go_on(
    live: Engine, terminals: list[Terminal]
) -> None:
    terminal = _open(terminals, live, "run", "live.yaml", "--id", "stopped")
    terminal.until("answer: flowcore approve stopped ask")
    terminal.press_ctrl_c()
    terminal.until("cancelling run stopped (Ctrl-C again: at once)")
    assert terminal.end() == 130
    assert "next: flowcore resume stopped" in terminal.screen.text()
    assert Run.get("stopped", session=live.session).status() is RunState.CANCELLED


def test_ctrl_c_leaves_a_watched_run_alone(live: Engine, terminals: list[Terminal]) -> None:
    run = live.start({"ask": {"uses": "approval"}}, run_id="watched")
    terminal = _open(terminals, live, "watch", "watched")
    terminal.until("answer: flowcore approve watched ask")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert "next: flowcore watch watched" in terminal.screen.text()
    assert run.status() is RunState.RUNNING
    run.cancel()


def test_a_reader_that_leaves_is_no_error(live: Engine) -> None:
    nodes = {f"n{at}": {"uses": "engine_nodes:speak"} for at in range(60)}
    assert live.start(nodes, run_id="headed").wait(60).success
    command = f"{sys.executable} -m flowcore.cli inspect headed"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        env=_environment(live),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "headed  succeeded\n"), done.stderr
    assert "BrokenPipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_names_these_tests() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/terminal.md").read_text("utf-8")
    assert "tests/integration/test_terminal_live.py" in page
