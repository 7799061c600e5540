"""Commands on a real terminal: nothing from outside passes raw."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.integration.conftest import MakeEngine

NASTY = "\x1b]0;owned\x07 \x1b[2J \x9b31m \u202egnp.exe \x1b[31mred"
RAW = ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\x1b[31mred")


@pytest.fixture(scope="module")
def nasty(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with make_engine(tmp_path_factory.mktemp("nasty")) as engine:
        engine.workers()
        yield engine


#: One interpreter for all commands: to start each would take most of the time.
_SCRIPT = """
import contextlib, json, sys
from flowcore.cli.main import main
for argv in json.loads(sys.argv[1]):
    sys.argv = ["flowcore", *argv]
    print("$", *argv, flush=True)
    with contextlib.suppress(SystemExit):
        main()
"""


def _on_terminal(engine: Engine, *commands: tuple[str, ...]) -> str:
    env = {**engine.session.worker_env([]), "FLOWCORE_HOME": str(engine.home)}
    env = {**env, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                return
            if not data:
                return
            shown.extend(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    command = [sys.executable, "-c", _SCRIPT, json.dumps(commands)]
    process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    process.wait(100)
    reader.join(60)
    os.close(ours)
    return shown.decode("utf-8", "replace")


def _clean(text: str) -> None:
    for part in RAW:
        assert part not in text, ascii(text)


def test_outputs_errors_and_logs_do_not_control_the_terminal(nasty: Engine, tmp_path: Path) -> None:
    echo = {"uses": "engine_nodes:echo", "with": {"value": NASTY}}
    good = nasty.start({"a": echo}, run_id="good")
    assert good.wait(60).success
    with_log = {"kind": "escape", "log": str(tmp_path / "log")}
    bad = nasty.start({"a": {"uses": "odd_nodes:fail", "with": with_log}}, run_id="bad")
    said = nasty.start(
        {"a": {"uses": "odd_nodes:speak", "with": {"log": str(tmp_path / "log")}}}, run_id="said"
    )
    assert not bad.wait(60).success
    assert said.wait(60).success
    shown = _on_terminal(
        nasty,
        *(("watch", "good"), ("status", "good"), ("inspect", "good"), ("watch", "bad")),
        *(("inspect", "good", "-o", "json"), ("inspect", "bad"), ("logs", "said")),
    )
    _clean(shown)
    first = shown.partition("$ status")[0]
    assert r"\u001b]0;owned" in first, "the output of the run"
    assert "$ logs said" in shown
    assert "\x1b[32msucceeded\x1b[0m" in shown, "our own colours stay"
