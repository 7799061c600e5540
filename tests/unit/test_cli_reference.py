"""docs/reference/cli.md says all that the program can do."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.help_cache import stored_help
from flowcore.cli.main import ALIASES, COMMANDS, main
from scripts.cli_help import texts

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


HELP = functools.cache(texts)  # imports every command


def _spoken(name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """A command and those of its second words, each with its help."""
    for words, text in HELP().items():
        if words.partition(" ")[0] == name:
            yield tuple(words.split()), text


def test_the_help_that_is_stored_is_what_the_commands_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for words, text in HELP().items():
        assert stored_help([*words.split(), "--help"]) == text, "python -m scripts.cli_help"
    assert main(["memory", "list", "--help"]) == ExitCode.OK
    assert capsys.readouterr().out == HELP()["memory list"]


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "x.yaml", "--help"], ["nosuch", "--help"], ["run"]]
)
def test_other_help_is_worked_out(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert stored_help(words) is None
    assert stored_help(["run", "--help"]) is not None
    monkeypatch.setenv("COLUMNS", "60")
    assert stored_help(["run", "--help"]) is None


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
