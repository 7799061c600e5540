"""The records of decisions: numbers, status, dates and their index."""

import datetime as dt
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs/decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
_HEAD = re.compile(
    r"# (?P<number>\d+)\. (?P<title>\S.*)\n\n"
    r"Status: (?:proposed|accepted|replaced), (?P<date>\d{4}-\d\d-\d\d)\."
)


def _head(path: Path) -> re.Match[str]:
    found = _HEAD.match(path.read_text("utf-8"))
    assert found is not None, f"{path.name}: a number and a title, then status and date"
    return found


def test_numbers_have_no_gap() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", RECORDS, ids=[path.stem for path in RECORDS])
def test_a_decision_has_its_number_a_status_and_a_date(path: Path) -> None:
    head = _head(path)
    assert int(head["number"]) == int(path.name[:4])
    assert dt.date.fromisoformat(head["date"]) >= dt.date(2026, 11, 23), "the first commit's day"


def test_a_replaced_decision_names_the_one_that_replaces_it() -> None:
    for path in RECORDS:
        status = path.read_text("utf-8").split("\n\n", 2)[1]
        if status.startswith("Status: replaced"):
            assert re.search(r"\]\(\d{4}-[\w-]+\.md\)", status), path.name


def test_the_index_lists_every_decision_with_its_title_and_date() -> None:
    index = (FOLDER / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| \[(.+?)\]\((.+?)\) \| (.+?) \|$", index, re.MULTILINE)
    heads = [(_head(path), path.name) for path in RECORDS]
    assert rows == [(head["number"], head["title"], name, head["date"]) for head, name in heads]
