"""The test kit equals a run: every behaviour of ``tests/behaviours`` on both, and as it is written.

The kit's side alone is in ``tests/unit/test_kit_behaviours.py``.
"""

from pathlib import Path

import pytest

from tests.behaviours.catalogue import BEHAVIOURS
from tests.behaviours.core import apart, differences
from tests.behaviours.drivers import SECRET, on_kit, on_workers
from tests.engine import MODULES
from tests.integration.conftest import MakeEngine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_each_behaviour_is_the_same_on_the_kit_and_on_workers(
    make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(MODULES))
    found: dict[str, list[str]] = {}
    (home := tmp_path / "engine").mkdir()
    with make_engine(home, heartbeat="0.25", secret_word=SECRET) as engine:
        for _ in range(2):
            engine.workers(slots=3, include="behaviour_tasks")
        for behaviour, workers in on_workers(list(BEHAVIOURS), engine.session, tmp_path / "real"):
            kit = on_kit(behaviour, tmp_path / "kit" / str(len(found)))
            found[behaviour.name] = [
                *differences(behaviour, workers),
                *apart(behaviour, kit, workers),
            ]
    wrong = {name: told for name, told in found.items() if told}
    assert not wrong, "\n".join(f"{name}: {told}" for name, told in wrong.items())
    assert len(found) == len(BEHAVIOURS) >= 200
