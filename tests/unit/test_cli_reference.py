"""docs/reference/cli.md says all that the program can do."""

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from flowcore.cli.main import ALIASES, COMMANDS, main
from flowcore.cli.outcome import ExitCode

TEXT = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## flowcore (\w+)(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
SHARED = TEXT.partition("\n## flowcore ")[0]
#: Why a command takes no ``-o``; every other one does.
WITHOUT_FORM = {
    "graph": "writes a document; -f is its form",
    "schema": "writes a document",
    "worker": "runs until it is ended; what it says is a log",
    "dev": "runs until it is ended; what it says is a log",
    "memory": "does nothing without a second word",
    "import": "does nothing without a second word",
    "schedules": "does nothing without a second word",
}


def _help(*words: str) -> str:
    with redirect_stdout(io.StringIO()) as shown:
        assert main([*words, "--help"]) == ExitCode.OK
    return shown.getvalue()


def _spoken(name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """A command and those of its second words, each with its help."""
    text = _help(name)
    yield (name,), text
    for more in re.findall(r"^  (\w+)  ", text.partition("\nCommands:\n")[2], re.MULTILINE):
        yield (name, more), _help(name, more)


def test_the_reference_has_a_section_for_every_command_in_order() -> None:
    assert list(SECTIONS) == [name for name, _, _ in COMMANDS]
    assert all(f"`{alias}`" in SECTIONS[name] for alias, name in ALIASES.items())


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_an_example_and_all_its_options(name: str) -> None:
    assert f"$ flowcore {name}" in SECTIONS[name] or f"$(flowcore {name}" in SECTIONS[name]
    for words, text in _spoken(name):
        assert re.search(rf"^  Example: .*flowcore {' '.join(words)}\b", text, re.MULTILINE), words
        assert words[-1] in SECTIONS[name]
        options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE)
        missing = [option for option in options if option not in SECTIONS[name]]
        assert set(missing) <= {"--help", "--quiet", "--output"}, words


def test_every_command_whose_output_is_data_takes_a_form() -> None:
    formed = re.compile(r"^  -o, --output <table\|json\|jsonl>", re.MULTILINE)
    without = [
        " ".join(words)
        for name, _, _ in COMMANDS
        for words, text in _spoken(name)
        if not formed.search(text)
    ]
    assert sorted(without) == sorted(WITHOUT_FORM)


def test_every_exit_code_is_explained() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", SHARED, re.MULTILINE)] == list(
        ExitCode
    )
