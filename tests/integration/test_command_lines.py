"""Random command lines: each ends with a sentence and a documented exit code, never a traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flowcore.assembly.embedded import EmbeddedServer
from tests.commands.judging import judged
from tests.commands.lines import Line, lines
from tests.commands.place import furnish
from tests.commands.shell import Shell, running_shell
from tests.commands.tree import commands
from tests.commands.values import World
from tests.deep import count
from tests.integration.conftest import MakeEngine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(count(300, 3600))]

SEED = 11


@pytest.fixture(scope="module")
def world(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("lines")
    home = root / "engine"
    home.mkdir()
    with make_engine(home) as engine:
        engine.workers()
        world = furnish(root, engine, engine.session.runtime.redis_url)
        # Commands join the embedded server, and need not start and stop one each.
        with EmbeddedServer.join(home=root / "home" / "flowcore"):
            yield world


@pytest.fixture(scope="module")
def shell(world: World) -> Iterator[Shell]:
    with running_shell() as shell:
        yield shell


def _report(world: World, line: Line, found: list[str]) -> str:
    said = (world.root / "err").read_text("utf-8", "replace")[-300:]
    return f"{line}\n    {'; '.join(found)}\n    {said}"


def test_random_command_lines_end_with_a_sentence_and_a_documented_code(
    world: World, shell: Shell
) -> None:
    wrong = [
        _report(world, line, found)
        for line in lines(SEED, count(100, 5000), world)
        if (found := judged(line, shell.run(line)))
    ]
    assert not wrong, f"{len(wrong)} lines:\n" + "\n".join(wrong)


def test_a_real_process_ends_as_its_fork_does(world: World, shell: Shell) -> None:
    """What the campaign saves, starting Python, changes nothing of how a line ends."""
    tried = 0
    for line in lines(SEED + 1, 200, world):
        if line.gone or line.signal != 2 or line.argv[:1] in (["worker"], ["dev"], ["bench"]):
            continue
        ended = shell.run(line)
        if ended["told"] or "/dev/full" in line.streams or None in line.streams:
            continue
        real = subprocess.run(
            [sys.executable, "-m", "flowcore.cli", *line.argv],
            env={**line.env, "PATH": os.environ["PATH"]},
            cwd=line.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=200,
        )
        assert b"Traceback" not in real.stderr or "--debug" in line.argv, str(line)
        if line.argv and line.argv[0] in _CHANGING:
            continue
        assert real.returncode == ended["code"], str(line)
        tried += 1
        if tried == count(3, 60):
            break
    assert tried == count(3, 60)


#: What they came to the first time changes what they come to the second time.
_CHANGING = {"cancel", "resume", "pause", "approve", "signal", "schedules", "memory", "flows"}


def test_every_command_has_its_turn(world: World) -> None:
    names = {tuple(command.path) for command in commands()}
    assert len(names) > 40
    drawn = [line.argv for line in lines(SEED, 4 * len(names), world)]
    for name in names:
        assert any(tuple(argv[: len(name)]) == name for argv in drawn), name
