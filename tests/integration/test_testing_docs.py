"""The examples of docs/how-to/testing.md, run as they are written."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"

_BLOCK = re.compile(r"(?:^`([\w.]+)`\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_every_example_of_the_page_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = _BLOCK.findall(PAGE.read_text())
    tests = 0
    for number, (name, language, text) in enumerate(blocks):
        assert language in {"yaml", "python"}
        pytester.path.joinpath(name or f"test_example_{number}.py").write_text(text)
        tests += len(re.findall(r"^def test_", text, re.MULTILINE))
    assert tests >= 8
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    result.assert_outcomes(passed=tests)
