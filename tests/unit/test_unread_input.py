"""A new input of a rerun that no node would read is refused, and only where that is certain."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flowcore import Context, Flow
from flowcore.client.unused_input import refuse_unread
from flowcore.errors import UsageError

HERE = f"{Path(__file__).stem}:"


def plain(x: int) -> int:
    return x


def by_name(x: int, n: int = 0) -> int:
    return x + n


def with_context(x: int, ctx: Context) -> int:
    return x


def anything(x: int, **more: Any) -> int:
    return x


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(sys.modules, Path(__file__).stem, raising=False)


def _refuses(second: Mapping[str, Any], given: Any, *, begin: str = "b", done: str = "abc") -> bool:
    nodes = {
        "a": {"uses": HERE + "plain", "with": {"x": "${{ inputs.n }}"}},
        "b": {"needs": ["a"], **second},
        "c": {"uses": "end", "needs": ["b"]},
    }
    plan = Flow.load({"id": "f", "nodes": nodes}).plan()
    try:
        refuse_unread(plan, begin, given, set(done))
    except UsageError as error:
        return "would change nothing" in str(error) and "leave --from out" in str(error)
    return False


TAKEN = {"x": "${{ a.output }}"}


@pytest.mark.parametrize(
    ("second", "given", "refused"),
    [
        ({"uses": HERE + "plain", "with": TAKEN}, {"n": 5}, True),
        ({"uses": HERE + "plain"}, {"n": 5}, True),
        ({"uses": HERE + "plain"}, {"x": 5}, False),
        ({"uses": HERE + "by_name", "with": TAKEN}, {"n": 5}, False),
        ({"uses": HERE + "by_name", "with": TAKEN}, {"m": 5}, True),
        ({"uses": HERE + "by_name", "with": {**TAKEN, "n": 1}}, {"n": 5}, True),
        ({"uses": HERE + "with_context", "with": TAKEN}, {"n": 5}, False),
        ({"uses": HERE + "plain", "with": {"x": "${{ inputs.n }}"}}, {"n": 5}, False),
        ({"uses": HERE + "plain", "with": TAKEN, "if": "inputs.n > 1"}, {"n": 5}, False),
        ({"uses": HERE + "plain", "with": TAKEN, "for_each": [1]}, {"n": 5}, False),
        ({"uses": HERE + "plain", "with": TAKEN}, 5, True),
        ({"uses": HERE + "by_name", "with": TAKEN}, 5, False),
        ({"uses": "passthrough"}, {"n": 5}, True),
        ({"uses": "sleep", "with": {"seconds": "${{ inputs.n }}"}}, {"n": 5}, False),
        ({"uses": "no_such_module:f", "with": TAKEN}, {"n": 5}, False),
        ({"uses": HERE + "plain", "with": TAKEN}, None, False),
    ],
)
def test_an_input_is_refused_where_no_node_that_runs_again_reads_it(
    second: Mapping[str, Any], given: Any, refused: bool
) -> None:
    assert _refuses(second, given) is refused


def test_what_runs_again_since_it_had_not_succeeded_may_read_it() -> None:
    second = {"uses": HERE + "plain", "with": TAKEN}
    assert not _refuses(second, {"n": 5}, begin="a")
    assert _refuses(second, {"n": 5}, begin="c")
    assert not _refuses(second, {"n": 5}, begin="c", done="b")


def test_an_input_that_is_not_declared_is_refused_in_its_own_words() -> None:
    nodes = {"a": {"uses": "start"}, "b": {"uses": "end", "needs": ["a"]}}
    plan = Flow.load({"id": "f", "inputs": {"n": {}}, "nodes": nodes}).plan()
    refuse_unread(plan, "b", {"typo": 1}, {"a", "b"})
    with pytest.raises(UsageError, match="would change nothing"):
        refuse_unread(plan, "b", {"n": 1}, {"a", "b"})
