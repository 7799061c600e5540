"""What the package and the docs say of built-in backends is what the suite has found."""

import json
from importlib.resources import files

import pytest

from flowcore.backends import BackendRegistry
from flowcore.testing.conformance import CASES
from scripts.conformance_matrix import BEGIN, END, PAGE

DATA = json.loads(files("flowcore.backends").joinpath("conformance.json").read_text("utf-8"))


def test_every_built_in_backend_was_held_against_every_case() -> None:
    assert list(DATA) == BackendRegistry.list_backends()
    for found in DATA.values():
        assert list(found["cases"]) == [case.name for case in CASES]
        assert set(found["features"]) == {case.capability for case in CASES}


@pytest.mark.parametrize("name", DATA)
def test_get_info_names_what_was_passed(name: str) -> None:
    passed = [feature for feature, found in DATA[name]["features"].items() if found == "passed"]
    assert BackendRegistry.get_info(name)["features"] == passed


def test_the_matrix_in_the_docs_has_every_case_and_no_empty_cell() -> None:
    drawn = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [line.strip("|").split("|") for line in drawn.splitlines() if line.startswith("|")]
    assert all(cell.strip() for row in rows for cell in row)
    first = [row[0].strip() for row in rows]
    for case in CASES:
        assert f"{case.name} ({case.capability})" in first
    for found in DATA.values():
        assert "failed" not in found["cases"].values()


def test_a_backend_of_somebody_elses_says_itself_what_it_can() -> None:
    class Own:
        features = ("async", "rewind")

    BackendRegistry.register("native", Own)
    try:
        assert BackendRegistry.get_info("native")["features"] == ["async", "rewind"]
    finally:
        BackendRegistry.unregister("native")
