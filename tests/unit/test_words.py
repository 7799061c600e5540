"""The words of the code: docstrings are sentences about the thing."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
