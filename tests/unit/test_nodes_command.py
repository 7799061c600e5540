"""``flowcore nodes TYPE`` shows the arguments that the models have."""

import json

import pytest

from flowcore.cli.main import main
from flowcore.nodes.arguments.conversation import OPERATIONS
from flowcore.nodes.arguments.registry import ARGUMENTS


@pytest.mark.parametrize("uses", sorted(ARGUMENTS))
def test_a_type_shows_each_of_its_arguments(uses: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", uses]) == 0
    text = capsys.readouterr().out
    assert main(["nodes", uses, "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)["arguments"]
    models = OPERATIONS.values() if uses == "memory" else [ARGUMENTS[uses]]
    named = {name for model in models for name in model.names()}
    assert {row["name"] for row in shown} - {"…"} == named
    assert all(f"\n  {name} " in text for name in named)
    needed = {name for model in models for name in model.needed()}
    assert {row["name"] for row in shown if row["needed"]} == needed
