"""The tree of errors: every class is drawn, and survives the way between processes."""

import importlib
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

import flowcore
from flowcore import errors
from flowcore.engine.values.failure import describe
from flowcore.errors import FlowcoreError, RunError, RunFailedError, RunNotFoundError


def _all_errors(kind: type[FlowcoreError] = FlowcoreError) -> set[type[FlowcoreError]]:
    found = {kind}
    for child in kind.__subclasses__():
        found |= _all_errors(child)
    return {one for one in found if one.__module__.startswith("flowcore")}


def _import_everything() -> None:
    for module in pkgutil.walk_packages(flowcore.__path__, "flowcore."):
        if not module.name.endswith(("__main__", "assembly.worker", "bench.app")):
            importlib.import_module(module.name)


def test_every_error_is_drawn_in_the_tree_or_is_a_kind_of_one_that_is() -> None:
    _import_everything()
    drawn = errors.__doc__ or ""
    missing = [
        kind.__name__
        for kind in _all_errors()
        if not any(base.__name__ in drawn for base in kind.__mro__[:2])
    ]
    assert missing == []


def test_every_code_in_the_tree_is_the_classs_own() -> None:
    _import_everything()
    by_name = {kind.__name__: kind for kind in _all_errors()}
    for line in (errors.__doc__ or "").splitlines():
        words = line.strip(" │├└─").split()
        if words and words[0] in by_name and len(words) > 1:
            assert by_name[words[0]].code == words[1], words[0]


def test_every_code_of_a_class_is_in_the_reference() -> None:
    _import_everything()
    page = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text("utf-8")
    missing = {
        f"{kind.code} {kind.__name__}"
        for kind in _all_errors()
        if not kind.code.endswith("00")  # families: an error has a code of its own in one of them
        and not re.search(rf"\b{kind.code}\b", page)
    }
    assert missing == set()


@pytest.mark.parametrize(
    "error", [RunFailedError("it failed", run_id="r1"), RunNotFoundError("r1")]
)
def test_an_error_about_a_run_survives_pickling(error: RunError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.run_id) == (str(error), "r1")


def test_an_error_whose_text_raises_is_described_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise LookupError

    failure = describe(MuteError(), node="n", attempt=1, worker="w")
    assert failure.message == "(its text cannot be shown: LookupError)"


def test_no_error_class_is_defined_twice_with_one_name() -> None:
    _import_everything()
    names = [kind.__name__ for kind in _all_errors()]
    assert len(names) == len(set(names))
