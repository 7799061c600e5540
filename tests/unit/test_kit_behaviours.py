"""Every behaviour of ``tests/behaviours`` is on the test kit what is written of it.

That workers do the same is in ``tests/integration/test_kit_equals_workers.py``.
"""

from pathlib import Path

import pytest

from tests.behaviours.catalogue import BEHAVIOURS
from tests.behaviours.core import differences
from tests.behaviours.drivers import on_kit
from tests.engine import MODULES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("duplicate", [False, True], ids=["once", "each message twice"])
def test_each_behaviour_is_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duplicate: bool
) -> None:
    monkeypatch.syspath_prepend(str(MODULES))
    wrong: dict[str, list[str]] = {}
    for at, behaviour in enumerate(BEHAVIOURS):
        seen = on_kit(behaviour, tmp_path / str(at), duplicate=duplicate)
        if found := differences(behaviour, seen):
            wrong[behaviour.name] = found
    assert not wrong, "\n".join(f"{name}: {told}" for name, told in wrong.items())


def test_names_of_behaviours_are_their_own() -> None:
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(names) == len(set(names)) >= 200


@pytest.mark.parametrize("page", ["docs/how-to/testing.md", "CHANGELOG.md"])
def test_pages_count_them_right(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    assert f"{len(BEHAVIOURS)} behaviours" in text
