"""The guide to backends runs as it is written."""

import re
from pathlib import Path
from typing import Any

from flowcore.backends import BackendRegistry
from tests.acceptance.conftest import DefaultSession

GUIDE = Path(__file__).parents[2] / "docs/how-to/write-a-backend.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def test_the_backend_of_the_guide_passes_what_it_says_it_can(
    default_session: DefaultSession,
) -> None:
    code, check = BLOCKS
    space: dict[str, Any] = {"__name__": "booked"}
    try:
        exec(compile(code, GUIDE.name, "exec"), space)
        assert BackendRegistry.get_info("booked")["features"] == ["async", "parallel", "resilience"]
        exec(compile(check, GUIDE.name, "exec"), space)
    finally:
        BackendRegistry.unregister("booked")
