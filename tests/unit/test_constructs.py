"""docs/reference/constructs.md names tests that there are, and leaves no construct out."""

import re
from pathlib import Path

import pytest

from flowcore.graph.flow import FlowDefinition, NodeDefinition
from flowcore.nodes.types.builtin import BUILTIN

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/reference/constructs.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[^`:]+)(?:::(\w+))?`", TABLE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=["::".join(one) for one in NAMED])
def test_the_test_that_shows_a_construct_is_there(file: str, test: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert not test or re.search(rf"^def {test}\(", text, re.MULTILINE)


def test_no_node_type_and_no_key_is_left_out() -> None:
    rows = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`([a-z_]+)`", " ".join(rows)))
    fields = {**FlowDefinition.model_fields, **NodeDefinition.model_fields}
    keys = {field.alias or name for name, field in fields.items()}
    assert sorted((keys | BUILTIN.keys()) - named) == []
