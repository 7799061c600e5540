"""What a node leaves behind has a size: larger values are refused, longer words are cut."""

import pytest

from flowcore.engine.values.event_limits import MOST_MESSAGE, MOST_TRACEBACK, Limits, shorten
from flowcore.engine.values.failure import describe
from flowcore.errors import PayloadTooLargeError, UnsupportedValueError

LIMITS = Limits(event=50)


def _failing(depth: int, message: str) -> None:
    """Two functions that call each other: Python's own shortening of repeats is no help."""
    if depth:
        _going_on(depth - 1, message)
    raise ValueError(message)


def _going_on(depth: int, message: str) -> None:
    _failing(depth, message)


def test_an_event_above_the_limit_names_the_node_and_the_size() -> None:
    LIMITS.pack_event("x" * 48, node="a")
    with pytest.raises(
        PayloadTooLargeError, match=r"node 'a' is 51 bytes; the limit is 50 .*EVENT"
    ):
        LIMITS.pack_event("x" * 49, node="a")


def test_an_event_that_is_no_plain_data_says_so() -> None:
    with pytest.raises(UnsupportedValueError, match="is a set"):
        LIMITS.pack_event({"a": {1}}, node="a")


@pytest.mark.parametrize("most", [3, 10, 1000])
def test_text_loses_its_middle_and_says_how_much(most: int) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(2000))
    short = shorten(text, most)
    head, _, rest = short.partition("\n[… ")
    count, _, tail = rest.partition(" characters cut …]\n")
    assert (text.startswith(head), text.endswith(tail)) == (True, True)
    assert len(head) + len(tail) == most
    assert int(count.replace(",", "")) == 2000 - most
    assert shorten(text, 2000) == text


def test_a_failure_of_a_million_characters_is_recorded_in_a_few() -> None:
    with pytest.raises(ValueError, match=r"^x") as caught:
        _failing(0, "x" * 1_000_000)
    failure = describe(caught.value, node="a", attempt=1, worker="w")
    assert len(failure.message) < MOST_MESSAGE + 100
    assert "[… 990,000 characters cut …]" in failure.message
    assert failure.traceback is not None
    assert "in _failing" in failure.traceback
    assert "characters cut" in failure.traceback
    assert len(failure.traceback) < 2 * MOST_MESSAGE


def test_a_deep_traceback_keeps_its_first_and_its_last_frames() -> None:
    with pytest.raises(ValueError, match=r"^no luck$") as caught:
        _failing(300, "no luck")
    failure = describe(caught.value, node="a", attempt=1, worker="w")
    assert failure.traceback is not None
    assert len(failure.traceback) < MOST_TRACEBACK + 100
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert "characters cut" in failure.traceback
    assert failure.traceback.endswith("raise ValueError(message)\nValueError: no luck\n")
