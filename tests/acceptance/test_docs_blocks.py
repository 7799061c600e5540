"""Each fenced block of README and docs: run here or elsewhere, checked here, or it says why not.

In: the pages. Out: each block of Python compiles, and imports and names only what there is; one
that needs nothing of its reader's is run. Each definition in YAML is valid. Each line that is typed
parses against the tree of commands. Not here: types of fragments (scripts/documented_types), lines
of the README and the how-to page of workers as processes (test_docs_as_written).

A page says why a block is not checked in a comment above it: ``<!-- not run: REASON -->``.
"""

import ast
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from flowcore.cli.arguments import read_flow
from flowcore.cli.main import _group, _Stub
from scripts.documented_types import whole

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- not run: (.+?) -->\n\Z", re.DOTALL)
_CHECKED = {"python", "yaml", "console"}

#: Blocks of Python that are not run here, though they need nothing of the reader's.
_RUN_ELSEWHERE = {
    "docs/how-to/testing.md": "tests/integration/test_testing_docs.py runs all of it with pytest",
    "docs/how-to/write-a-backend.md": "tests/acceptance/test_docs_backend.py runs both blocks",
}
#: Programs of lines in console blocks that are not flowcore's, and who runs these lines.
_PROGRAMS = {
    "celery": "tests/acceptance/test_docs_as_written.py parses or runs lines of workers",
    "pip": "tests/acceptance/test_wheel.py installs the wheel",
    "python": "a file of these examples, or of the reader's",
    "make": "a target of the Makefile, which is looked up here",
    "rabbitmqctl": "RabbitMQ's own; tests/integration/test_rabbitmq.py sets its policies",
    "curl": "needs Flower; tests/integration/test_flower.py asks the same address",
    "redis-cli": "Redis's own",
    "echo": "the shell's; tests/acceptance/test_quickstart.py runs it",
    "rm": "the shell's; tests/acceptance/test_quickstart.py runs it",
    "export": "the shell's",
    "cd": "the shell's",
}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    reason: str
    """The page's words for not running it; empty, if there are none."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            before = text[: found.start()]
            marked = _MARK.search(before)
            yield Block(
                page=page.relative_to(ROOT).as_posix(),
                line=before.count("\n") + 1,
                language=found[2],
                text=textwrap.dedent(found[3]),
                reason=marked[1] if marked else "",
            )


BLOCKS = list(_blocks())


def _those(language: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language == language]
    assert found, language
    return pytest.mark.parametrize("block", found, ids=str)


def test_every_fence_is_seen_and_has_a_known_language() -> None:
    fences = sum(
        len(re.findall(r"^ *```\w+", page.read_text("utf-8"), re.MULTILINE))
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    )
    assert len(BLOCKS) == fences
    assert {block.language for block in BLOCKS} <= {*_CHECKED, "ini", "toml", "json", "text"}


def test_no_reason_is_stale() -> None:
    pages = {block.page for block in BLOCKS if block.language == "python"}
    assert set(_RUN_ELSEWHERE) <= pages
    used = {words[0] for block in BLOCKS if block.language == "console" for words in _typed(block)}
    assert set(_PROGRAMS) <= used


# Python ------------------------------------------------------------------------------------------


@_those("python")
def test_python_names_what_there_is(block: Block) -> None:
    module = whole(block.text)  # raises where it names what nobody knows
    compile(module, str(block), "exec")
    for statement in ast.walk(ast.parse(module)):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            text = ast.unparse(statement)
            if "stand_ins" not in text:
                exec(text, {})


def _runs_alone(block: Block) -> bool:
    """It needs no name of its reader's program, and awaits nothing."""
    module = whole(block.text)
    alone = "from stand_ins" not in module and "async def reader()" not in module
    return alone and block.page not in _RUN_ELSEWHERE


_ALONE = [
    block
    for block in BLOCKS
    if block.language == "python" and not block.reason and _runs_alone(block)
]


@pytest.mark.parametrize("block", _ALONE, ids=str)
def test_python_that_needs_nothing_of_its_readers_runs(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    exec(compile(whole(block.text), str(block), "exec"), vars(module))


# YAML --------------------------------------------------------------------------------------------


@_those("yaml")
def test_a_definition_is_valid(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = block.text
    if "nodes" not in yaml.safe_load(text):  # nodes alone, to be put where they are needed
        text = "nodes:\n" + textwrap.indent(text, "  ")
    (tmp_path / "flow.yaml").write_text(text)
    (tmp_path / "report.yaml").write_text("nodes: {a: {uses: passthrough}}")
    monkeypatch.chdir(tmp_path)
    assert read_flow("flow.yaml").plan(resolve=False).flow


# Lines that are typed ----------------------------------------------------------------------------


def _typed(block: Block) -> Iterator[list[str]]:
    """The commands of a block, word by word: what follows ``$``, without remarks."""
    lines = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    for shown in lines or block.text.splitlines():
        # A variable that takes what a command says: the command is what counts.
        line = re.sub(r"^\w+=\$\((.*)\)$", r"\1", shown)
        words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        words.commenters = "#"
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("&|;<>"):
                if command:
                    yield command
                command = []
                if set(word) <= {"<", ">"}:
                    break
            else:
                command.append(word)


def _parse(command: Any, name: str, words: list[str], parent: Any = None) -> None:
    """Parse as the command line does, down to the command that would be invoked."""
    loaded = command.load() if isinstance(command, _Stub) else command
    context = loaded.make_context(name, list(words), parent=parent)
    with context:
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest:
            return
        assert hasattr(loaded, "commands"), f"{name} takes no {rest}"
        found, inner, rest = loaded.resolve_command(context, rest)
        _parse(inner, str(found), rest, context)


@_those("console")
def test_what_is_typed_is_a_command(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()  # some options want their file to be there
    monkeypatch.chdir(tmp_path)
    commands = list(_typed(block))
    assert commands
    for program, *words in commands:
        if program == "flowcore":
            _parse(_group(), "flowcore", words)
            continue
        assert program in _PROGRAMS, f"{block}: who runs {program}?"
        if program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert words[0] in targets, f"{block}: make {words[0]}"


@pytest.mark.parametrize(
    "line", ["flowcore list --stat x", "flowcore lst", "flowcore schedules put a b --each 1m"]
)
def test_a_line_that_is_no_command_would_be_found(line: str) -> None:
    block = Block(page="x", line=1, language="console", text=f"$ {line}\n", reason="")
    ((_, *words),) = _typed(block)
    with pytest.raises(Exception, match="No such"):
        _parse(_group(), "flowcore", words)
