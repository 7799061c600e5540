"""Tables within the width of a terminal, and times as people say them."""

import random
import re
from datetime import UTC, datetime

import pytest

from flowcore.cli.output import Format, show_rows
from flowcore.cli.tables import fold, table, width_of
from flowcore.cli.terminal import one_line, speaks_unicode
from flowcore.cli.times import Time, iso, show_time
from flowcore.json_text import json_text
from tests.deep import count

WORDS = ("a", "node", "日本語", "👩\u200d🚀", "e\u0301te\u0301", "x" * 50, "naïve", "한국어", "")


def _cell(dice: random.Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(8)))


def _letters(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_a_table_fits_every_width_and_loses_no_letter() -> None:
    dice = random.Random(47)
    for _ in range(count(150, 5000)):
        columns = dice.randrange(1, 8)
        titles = [f"T{at}" for at in range(columns)]
        rows = [[_cell(dice) for _ in titles] for _ in range(dice.randrange(1, 5))]
        width = dice.randrange(12, 130)
        shown = table(titles, rows, width=width)
        assert all(width_of(line) <= width for line in shown.splitlines()), (width, shown)
        for row in rows:
            for cell in row:
                for word in filter(None, cell.split(" ")):
                    if width_of(word) <= 3:
                        assert word in shown
        alone = table(["T"], [[cell] for row in rows for cell in row], width=width)
        everything = "".join(_letters(cell) for row in rows for cell in row)
        assert _letters(alone.partition("\n")[2]) in {everything, everything.replace("T", "")}


def test_columns_stand_below_each_other_whatever_the_script() -> None:
    shown = table(["A", "B"], [["日本", "x"], ["e\u0301", "y"], ["👩\u200d🚀", "z"]])
    places = [width_of(line[: -len(line.split()[-1])]) for line in shown.splitlines()]
    assert len(set(places)) == 1, shown


def test_a_pipe_gets_one_line_for_each_row() -> None:
    assert len(table(["A", "B"], [["x" * 500, "y z " * 200]]).splitlines()) == 2


def test_what_names_a_row_gives_way_last() -> None:
    run = "rag-ingest-01JDW3Z6Q2M5P8"
    shown = table(["RUN", "REASON"], [[run, "why " * 100]], width=60)
    assert run in shown


def test_a_narrow_terminal_gets_a_line_for_each_value() -> None:
    shown = table(
        ["RUN", "STATE", "ABOUT"], [["r" * 30, "failed", "bad"], ["s", "ok", ""]], width=20
    )
    assert shown.splitlines() == [
        *("RUN", f"  {'r' * 18}", f"  {'r' * 12}", "STATE failed", "ABOUT bad", ""),
        *("RUN s", "STATE ok"),
    ]


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_lines_are_never_wider_than_asked_unless_one_sign_is(width: int) -> None:
    for line in fold("日本語 and more", width):
        assert width_of(line) <= max(2, width)


@pytest.mark.parametrize(
    ("apart", "words"),
    [
        (0.0, "now"),
        (-0.9, "now"),
        (-1.0, "1s ago"),
        (-59.9, "59s ago"),
        (-60.0, "1m ago"),
        (-3599.0, "59m ago"),
        (-7200.0, "2h ago"),
        (-86400.0 * 3, "3d ago"),
        (4.2, "in 4s"),
        (7200.0, "in 2h"),
        (86400.0 * 99, "in 99d"),
    ],
)
def test_times_are_told_by_how_long_ago_they_were(apart: float, words: str) -> None:
    assert show_time(1_800_000_000.0 + apart, now=1_800_000_000.0) == words


def test_a_time_far_away_is_told_by_its_date() -> None:
    assert show_time(0.0, now=1_800_000_000.0) == "1970-01-01T00:00:00.000Z"
    assert show_time(None) == ""


def test_a_time_is_iso_8601_as_data_and_relative_in_a_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = iso(datetime.now(UTC).timestamp() - 190)
    assert isinstance(at, Time)
    show_rows(Format.TABLE, [{"at": at}], {"at": "AT"})
    assert capsys.readouterr().out == "AT\n3m ago\n"
    assert json_text({"at": at}) == f'{{"at": "{at}"}}'
    show_rows(Format.JSONL, [{"at": at}], {"at": "AT"})
    assert capsys.readouterr().out == f'{{"at": "{at}"}}\n'


def test_a_cell_is_one_line_of_what_can_be_seen() -> None:
    assert one_line("a\nb\tc\x1b[31m\x9b\u202e👩\u200d🚀") == r"a b c\u001b[31m\u009b\u202e👩‍🚀"


@pytest.mark.parametrize(
    ("env", "encoding", "expected"),
    [
        ({"LANG": "C"}, "utf-8", False),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, "utf-8", False),
        ({"LANG": "en_US.UTF-8"}, "utf-8", True),
        ({"LANG": "en_US.UTF-8"}, "latin-1", False),
        ({"LC_ALL": "de_DE.UTF-8", "LANG": "C"}, "utf-8", True),
        ({}, "utf-8", True),
        ({}, None, False),
    ],
)
def test_a_locale_without_unicode_is_noticed(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], encoding: str | None, expected: bool
) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert speaks_unicode(encoding) is expected
