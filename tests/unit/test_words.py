"""The words of the code: docstrings are sentences about the thing."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flowcore", "worker")
QUESTIONS = frozenset({"what", "whether", "how", "where"})
MOST = 0.02
"""The share of docstrings that may begin with a question."""


def docstrings() -> Iterator[tuple[str, str]]:
    """The place and the text of each docstring of the library."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(
                    node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                ) and (text := ast.get_docstring(node)):
                    name = getattr(node, "name", "the module")
                    yield f"{path.relative_to(ROOT)}: {name}: {text.splitlines()[0]}", text


def is_question(text: str) -> bool:
    """Whether a docstring begins with the word of a question."""
    return text.split(maxsplit=1)[0].strip("`'\".,:").lower().removesuffix("'s") in QUESTIONS


def test_docstrings_are_sentences_about_the_thing() -> None:
    found = list(docstrings())
    questions = [place for place, text in found if is_question(text)]
    assert len(found) > 3_000, "the docstrings were found"
    assert len(questions) < MOST * len(found), "\n".join(questions)


def named_in_the_glossary() -> list[str]:
    """The dotted names of the glossary."""
    text = (ROOT / "docs" / "reference" / "glossary.md").read_text()
    return re.findall(r"`(flowcore(?:\.\w+)+)`", text)


@pytest.mark.parametrize("name", named_in_the_glossary())
def test_a_name_of_the_glossary_exists(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_every_word_of_the_glossary_names_its_place_in_the_code() -> None:
    text = (ROOT / "docs" / "reference" / "glossary.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30, "the rows were found"
    assert [row for row in rows if not re.search(r"\| `flowcore[^|]*` \|$", row)] == []
