"""The census example, run by real workers over a tree made here."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.client.flow import Flow

pytestmark = pytest.mark.acceptance

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 60.0

TREE = {
    "app.py": "import os\nimport sys\n\n\ndef main():\n    if os and sys:\n        return 1\n",
    "pkg/__init__.py": '"""A package."""\n',
    "pkg/model.py": "import os\n\nclass A:\n    def m(self):\n        # none\n        return 2\n",
    "pkg/broken.py": "def (:\n",
    "tests/test_app.py": "import os\n",
}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    # Not pytest's tmp_path: a socket's path may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="fc-") as home:
        settings = replace(Settings.from_env(), redis_url=None, broker_url=None, home=Path(home))
        with Session(settings) as opened:
            yield opened


@pytest.mark.integration
def test_the_census_counts_a_tree_and_writes_its_report(session: Session, tmp_path: Path) -> None:
    root, out = tmp_path / "source", tmp_path / "out"
    for name, text in TREE.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    result = Flow.load(EXAMPLES / "census.yaml").run(
        {"root": str(root), "out": str(out)}, session=session, timeout=PATIENCE
    )

    assert result.error is None
    found = result.outputs["aggregate"]
    assert found["sums"] == {
        "files": 4,
        "lines": 14,
        "code": 9,
        "comment": 2,
        "blank": 3,
        "classes": 1,
        "functions": 1,
        "methods": 1,
    }
    assert found["imports"] == {"os": 2, "sys": 1}
    assert found["complex"] == [[3, "main()", "app.py:5"], [1, "A.m()", "pkg/model.py:4"]]
    assert [path for path, _ in found["unparsed"]] == ["pkg/broken.py"]
    assert len(result.nodes) == 11
    assert result.output.startswith(f"Census of {root}\n")
    for kind in ("md", "html"):
        file = out / f"census-report.{kind}"
        assert f"written to {file}" in result.output
        assert "pkg/model.py" in file.read_text("utf-8")


@pytest.mark.integration
def test_the_quickstart_in_yaml_runs_the_functions_beside_it(session: Session) -> None:
    result = Flow.load(EXAMPLES / "quickstart.yaml").run(
        {"text": "to be or not to be"}, session=session, timeout=PATIENCE
    )
    assert result.error is None
    assert result.output == {"to": 2, "be": 2, "or": 1, "not": 1}
