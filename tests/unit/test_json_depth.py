"""The deepest value that a run may give is written as JSON in every form."""

import json
from typing import Any

import pytest

from flowcore.cli.output import Format, show_object
from flowcore.errors import UnsupportedValueError
from flowcore.json_text import json_text
from flowcore.run.values import DEEPEST, plain_value


def _nested(levels: int, leaf: Any) -> Any:
    value = leaf
    for _ in range(levels // 2):
        value = [{"a": value}]
    return value


@pytest.mark.parametrize("leaf", [1, float("nan"), b"\xff", "\ud800", "é"])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_deepest_output_is_written(leaf: Any, indent: int | None) -> None:
    given = {"outputs": {"a": _nested(DEEPEST - 1, leaf)}, "output": [_nested(DEEPEST - 1, leaf)]}
    text = json_text(given, indent=indent)
    assert json.loads(text)["outputs"].keys() == {"a"}


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_a_command_writes_it_in_every_form(
    form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    show_object(form, {"run": {"outputs": {"a": _nested(DEEPEST - 1, None)}}})
    assert json.loads(capsys.readouterr().out)["run"]


def test_what_is_deeper_is_refused_where_it_is_given() -> None:
    with pytest.raises(UnsupportedValueError, match="nested deeper than 255 levels"):
        plain_value(_nested(600, 1), what="output of node 'a'")
