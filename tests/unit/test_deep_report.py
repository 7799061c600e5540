"""The page that `make deep` leaves: sizes and seeds from the tests' text, outcomes from pytest."""

import ast
import subprocess
from pathlib import Path

import pytest

from scripts.deep_report import ROOT, campaigns, main, page, sizes_and_seeds

SOURCE = """
import random
from hypothesis import given, settings
from tests.deep import count

SEED = 20_261_130
MANY, LESS = count(500, 10_000), 3
pytestmark = [pytest.mark.timeout(count(300, 3600))]

def _texts(many):
    dice = random.Random(SEED)

@pytest.fixture
def scene():
    return count(1, 77)

def test_first(scene):
    for _ in range(count(2, 2_000)):
        _texts(MANY)
    killer.join(count(120, 900))

@settings(max_examples=count(60, 3000))
@given(x=1)
def test_second(number):
    random.Random(number)

def test_third():
    text.count("x")
"""

XML = """<testsuites><testsuite name="pytest" timestamp="{at}">
<testcase classname="tests.unit.test_made" name="test_first[a]" time="1.5" />
<testcase classname="tests.unit.test_made" name="test_first[b]" time="2.25">{inside}</testcase>
<testcase classname="tests.unit.test_made" name="test_second" time="0.1"><skipped/></testcase>
<testcase classname="tests.unit.test_made" name="test_third" time="0" />
</testsuite></testsuites>"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "tests/unit/test_made.py"
    made.parent.mkdir(parents=True)
    made.write_text(SOURCE)
    return tmp_path


def _report(path: Path, inside: str = "", at: str = "2026-11-30T20:49:55.8+00:00") -> Path:
    path.write_text(XML.format(inside=inside, at=at))
    return path


def test_sizes_and_seeds_are_those_that_a_test_reaches_without_its_patience() -> None:
    assert sizes_and_seeds(SOURCE, "test_first") == (["2,000", "77", "10,000"], ["20,261,130"])
    assert sizes_and_seeds(SOURCE, "test_second") == (["3,000"], ["Hypothesis", "`number`"])
    assert sizes_and_seeds(SOURCE, "test_third") == ([], [])


def test_the_page_has_a_row_for_each_test_and_says_what_failed(root: Path) -> None:
    report = _report(root / "a.xml", "<failure>no</failure>")
    text = page([report], commit="abc1234", root=root)
    assert "Commit `abc1234`, 2026-11-30 20:49 UTC: 4 cases, 1 failed, 1 skipped, 4 s." in text
    first, second, _, last = text.splitlines()[-4:]
    assert last == "The other tests of these files have one size: 1 cases, passed."
    assert first == (
        "| first (`tests/unit/test_made.py`) | 2 | 2,000, 77, 10,000 | 20,261,130 | 3.8 "
        "| 1 of 2 failed |"
    )
    assert second.endswith("| 1 | 3,000 | Hypothesis, `number` | 0.1 | 1 of 1 skipped |")


@pytest.mark.parametrize("word", ["failure", "error"])
def test_of_two_reports_of_a_case_the_later_counts(root: Path, word: str) -> None:
    bad = _report(root / "a.xml", f"<{word}>no</{word}>")
    good = _report(root / "b.xml", at="2026-11-30T21:00:00+00:00")
    assert [one.outcome for one in campaigns([bad])] == [
        "1 of 2 failed",
        "1 of 1 skipped",
        "passed",
    ]
    assert [one.outcome for one in campaigns([bad, good])] == ["passed", "1 of 1 skipped", "passed"]
    assert campaigns([good, bad])[0].outcome == "1 of 2 failed"
    assert "20:49" in page([good, bad], commit="x", root=root), "the first of them was begun then"


def test_the_command_writes_the_page(root: Path) -> None:
    made = root / "page.md"
    assert main([str(_report(root / "a.xml")), "--commit", "abc", "--page", str(made)]) == 0
    assert made.read_text().startswith("# Deep campaigns")
    assert main([str(root / "a.xml"), "--page", str(made)]) == 0


def test_make_deep_leaves_the_page_whatever_fails() -> None:
    argv = ["make", "--dry-run", "--always-make", "deep"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    _, _, last = done.stdout.rpartition("FLOWCORE_DEEP=1")
    assert "-m deep" in last
    assert "--junitxml build/deep.xml" in last
    assert "scripts.deep_report build/deep.xml" in last
    assert "exit $code" in last


def test_each_module_of_campaigns_shows_a_size() -> None:
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        source = file.read_text("utf-8")
        if "from tests.deep import count" not in source or file.name == Path(__file__).name:
            continue
        parts = ast.parse(source).body
        tests = [part.name for part in parts if getattr(part, "name", "").startswith("test_")]  # type: ignore[attr-defined]
        assert any(sizes_and_seeds(source, test)[0] for test in tests), file
