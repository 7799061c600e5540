"""What the source names by text (bootsteps, commands, classes of Celery's settings) is there."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import flowcore

HOME = Path(flowcore.__file__).parent
PLACE = re.compile(r"(?P<module>flowcore(?:\.\w+)+):(?P<name>\w+)")
MODULE = re.compile(r"flowcore\.(?:agents|assembly|celery|check|cli|engine|stores|nodes)(?:\.\w+)+")


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


TEXTS = sorted({text for path in HOME.rglob("*.py") for text in _texts(path)})
PLACES = [text for text in TEXTS if PLACE.fullmatch(text)]
MODULES = [text for text in TEXTS if MODULE.fullmatch(text)]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_the_source_names_is_there(place: str) -> None:
    module, _, name = place.partition(":")
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_the_source_names_is_there(module: str) -> None:
    assert find_spec(module)


def test_bootsteps_of_workers_are_named_in_full() -> None:
    """A name that is put together from parts would escape these tests."""
    assert len([place for place in PLACES if place.startswith("flowcore.celery.steps.")]) >= 7
    assert not re.findall(r'f"[^"\n]*\{\w+\}[.\w]*:[A-Z]', (HOME / "celery/app.py").read_text())
