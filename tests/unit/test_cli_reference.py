"""docs/reference/cli.md says all that the program can do."""

import re
from pathlib import Path

import pytest

from flowcore.cli.main import ALIASES, COMMANDS, main
from flowcore.cli.outcome import ExitCode

TEXT = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## flowcore (\w+)(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
#: Commands that are words of their own only with a second one.
GROUPS = {
    "import": [["import", "wfformat"], ["import", "canvas"]],
    "schedules": [
        ["schedules", each] for each in ("put", "list", "show", "pause", "resume", "run", "remove")
    ],
    "memory": [["memory", each] for each in ("list", "show", "export", "import", "clear")],
}
SHARED = TEXT.partition("\n## flowcore ")[0]


def test_the_reference_has_a_section_for_every_command_in_order() -> None:
    assert list(SECTIONS) == [name for name, _, _ in COMMANDS]
    assert all(f"`{alias}`" in SECTIONS[name] for alias, name in ALIASES.items())


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_an_example_and_all_its_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"$ flowcore {name}" in SECTIONS[name] or f"$(flowcore {name}" in SECTIONS[name]
    for words in GROUPS.get(name, [[name]]):
        main([*words, "--help"])
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    shared = {"--help", "--quiet", "--output"}
    missing = [option for option in options if option not in SECTIONS[name]]
    assert set(missing) <= shared


def test_every_exit_code_is_explained() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", SHARED, re.MULTILINE)] == list(
        ExitCode
    )
