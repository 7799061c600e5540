"""docs/reference/constructs.md names tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/reference/constructs.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[^`:]+)(?:::(\w+))?`", TABLE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=["::".join(one) for one in NAMED])
def test_the_test_that_shows_a_construct_is_there(file: str, test: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert not test or re.search(rf"^def {test}\(", text, re.MULTILINE)
