"""Commands on a real terminal: nothing from outside passes raw."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore import Flow, Memory, Run
from flowcore.client.flow import start_run
from tests.deep import count
from tests.engine import Engine
from tests.integration.conftest import MakeEngine
from tests.screens import Terminal

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
    print("$", *(word if word.isprintable() else ascii(word) for word in argv), flush=True)
    with contextlib.suppress(SystemExit):
        main()
"""


def _on_terminal(engine: Engine, *commands: tuple[str, ...], size: tuple[int, int]) -> Terminal:
    """What commands leave on a terminal that refuses all but what flowcore itself uses."""
    env = {**engine.session.worker_env([]), "FLOWCORE_HOME": str(engine.home), "LANG": "C.UTF-8"}
    argv = [sys.executable, "-c", _SCRIPT, json.dumps(commands)]
    terminal = Terminal(argv, env=env, size=size)
    try:
        assert terminal.end(within=110) == 0, terminal.screen.text()
    finally:
        terminal.kill()
    return terminal


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
        size=(100, 40),
    ).raw.decode("utf-8", "replace")
    _clean(shown)
    first = shown.partition("$ status")[0]
    assert r"\u001b]0;owned" in first, "the output of the run"
    assert "$ logs said" in shown
    assert "\x1b[32msucceeded\x1b[0m" in shown, "our own colours stay"


#: What may come from outside: escapes, titles, C1, directions, and text that people write.
ODD = (
    *("\x1b]0;owned\x07", "\x1b[2J", "\x1b[31m", "\x9b31m", "\u202egnp", "\x85", "\r", "\x08"),
    *(
        "\x1bP1$r\x1b\\",
        "\x7f",
        "\u2028",
        "\u2066",
        "\ufeff",
        "日本",
        "👩\u200d🚀",
        "e\u0301",
        "\t",
        "\n",
    ),
)


def _odd(dice: random.Random) -> str:
    parts = [dice.choice(ODD) for _ in range(6)]
    parts += [chr(dice.randrange(0xD800)) for _ in range(6)]
    dice.shuffle(parts)
    return "".join(parts)


def _strange_world(engine: Engine, number: int, directory: Path) -> list[tuple[str, ...]]:
    """Put odd text wherever there is a place for it; return the commands that show it."""
    dice = random.Random(f"world {number}")

    def odd() -> str:
        return _odd(dice)

    good, bad, asks = f"good{number}", f"bad{number}", f"asks{number}"
    echo = {"uses": "engine_nodes:echo", "with": {"value": {odd(): odd()}}}
    plan = Flow.load({"id": "odd", "nodes": {"a": echo}}).plan()
    start_run(engine.session, plan, {odd(): odd()}, id=good, tags=[odd()])
    say = {"uses": "tell_nodes:tell", "with": {"words": [odd() for _ in range(4)]}}
    engine.start({"a": say, "m": {**say, "for_each": [1]}}, run_id=bad)
    approval = {"uses": "approval", "with": {"message": odd()}}
    waits = {"uses": "signal", "with": {"name": odd()}}
    engine.start({"ask": approval, "go": waits}, run_id=asks)
    Memory("odd", f"t{number}", session=engine.session).add("user", odd())
    for run in (good, bad):
        Run.get(run, session=engine.session).wait(60)
    gone = engine.start({"ask": approval}, run_id=f"gone{number}")
    gone.cancel(odd())
    flow = directory / f"flow{number}.yaml"
    flow.write_text(json.dumps({"id": f"f{number}", "description": odd(), "nodes": {"a": odd()}}))
    other = directory / f"other{number}.yaml"
    nodes = {"a": {"uses": "passthrough"}}
    other.write_text(json.dumps({"id": f"f{number}", "description": odd(), "nodes": nodes}))
    views = ("status", "inspect", "logs", "graph")
    return [
        *((view, run) for run in (good, bad, asks, gone.id) for view in views),
        *(("watch", run, "--timeout", "200ms") for run in (good, bad, asks, gone.id)),
        *(("inspect", run, "-o", "json") for run in (good, bad)),
        ("inspect", f"{bad}/m[0]"),
        ("logs", f"{bad}/a", "-o", "jsonl"),
        ("signal", asks, odd()),
        ("approve", asks, odd()),
        ("cancel", asks, "--reason", odd()),
        ("status", asks),
        ("validate", str(flow)),
        ("run", str(flow)),
        ("graph", str(other)),
        ("deploy", str(other)),
        *(("flows",), ("list",), ("list", "--tag", odd()), ("list", "--flow", odd())),
        *(("memory", "list"), ("memory", "show", f"odd/t{number}"), ("memory", "show", odd())),
        *(("status", odd()), ("run", odd()), ("logs", good, "--node", odd()), ("nodes", odd())),
        *(("schedules", "put", odd(), f"f{number}", "--cron", "@daily"), ("schedules", "list")),
        *(("agents", "card", odd()), ("doctor",), (odd(),), ("run", "--" + odd())),
    ]


@pytest.mark.parametrize("number", range(count(1, 60)))
def test_random_text_controls_no_terminal_whatever_the_command(
    nasty: Engine, tmp_path: Path, number: int
) -> None:
    commands = [
        tuple(word.replace("\0", "") for word in words)
        for words in _strange_world(nasty, number, tmp_path)
    ]
    size = random.Random(number).choice([(80, 24), (40, 20), (20, 10), (132, 50)])
    shown = _on_terminal(nasty, *commands, size=size).screen.text()
    assert "\nTraceback (most recent call last)" not in shown
    assert "this is a bug in flowcore" not in shown.replace("\n", "")
    assert shown.count("$") >= len(commands)
