"""Nodes get what their annotations say, in every form and way of running; in process."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from flowcore.check.check import check
from flowcore.errors import DefinitionError
from flowcore.graph.load import load_text, load_tree
from flowcore.testing import Flows
from tests import typed_matrix
from tests.policy_matrix import WAYS
from tests.unit.test_policy_matrix import _seen

MODULES = Path(__file__).parents[1] / "integration" / "modules"


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(MODULES))
    return importlib.import_module("typed_nodes")


@pytest.mark.parametrize("way", WAYS)
def test_every_form_gets_its_parameters_checked_in_every_way_of_running(way: str) -> None:
    flows = Flows()
    result = flows.run(typed_matrix.definition(way))
    outputs: Any = result.outputs
    assert typed_matrix.wrong(lambda id: _seen(flows, result.run_id, outputs, id), way) == []


def _run(nodes: dict[str, Any], **more: Any) -> Any:
    return Flows().run({"id": "f", "nodes": nodes, **more})


def test_a_model_that_one_node_returns_is_one_for_the_next() -> None:
    tree = {
        "make": {"uses": "typed_nodes:make"},
        "use": {"uses": "typed_nodes:use", "needs": ["make"]},
    }
    assert _run(tree).output == 7


def test_a_literal_and_a_number_as_text_are_read_or_refused() -> None:
    tree = {"p": {"uses": "typed_nodes:pick", "with": {"mode": "a", "n": "5"}}}
    assert _run(tree).output == ["a", 5, "int"]
    tree["p"]["with"] = {"mode": "zzz", "n": "5"}
    assert _run(tree).error == (
        "node 'p': ArgumentError: node 'p' gives typed_nodes:pick what its annotations refuse: "
        "mode: input should be 'a' or 'b' (give another value, or change the annotation)"
    )


def test_items_states_chunks_sources_and_what_flows_in_are_read() -> None:
    lines = [{"sku": "a", "count": "2"}, {"sku": "b"}]
    tree: dict[str, Any] = {
        "items": {"uses": "typed_nodes:count_of", "for_each": lines},
        "chunks": {"uses": "typed_nodes:counts_of", "for_each": lines, "chunk_size": 2},
        "loop": {"uses": "typed_nodes:make", "max_iterations": 2, "initial": "3"},
        "made": {
            "uses": "passthrough",
            "for_each": {"uses": "typed_nodes:numbers", "with": {"most": "3"}},
        },
    }
    outputs = _run(tree).outputs
    assert outputs["items"] == [2, 1]
    assert outputs["chunks"] == [[2, 1]]
    assert outputs["made"] == [0, 1, 2]


def test_a_fallback_a_tool_and_what_undoes_a_node_are_read() -> None:
    tree: dict[str, Any] = {
        "f": {
            "uses": "typed_nodes:pick",
            "with": {"mode": "x", "n": "5"},
            "fallback": {"uses": "typed_nodes:instead"},
        },
        "t": {"uses": "tool", "with": {"name": "pick", "args": {"mode": "b", "n": "6"}}},
    }
    outputs = _run(tree, config={"tools": ["typed_nodes:pick"]}).outputs
    assert outputs["f"] == ["ArgumentError", 5]
    assert outputs["t"] == ["b", 6, "int"]
    tree = {
        "a": {"uses": "typed_nodes:make", "undo": {"uses": "typed_nodes:undo"}},
        "b": {"uses": "typed_nodes:pick", "needs": ["a"], "with": {"mode": "x", "n": 1}},
    }
    flows = Flows()
    run = flows.run({"id": "f", "nodes": tree}).run_id
    (undone,) = flows.record(f"{run}/finally").nodes.values()
    assert undone.state.value == "succeeded"


def test_a_tool_is_refused_what_its_annotations_refuse() -> None:
    tree = {
        "t": {"uses": "tool", "with": {"name": "pick", "args": {"mode": "${{ 'zz' }}", "n": 1}}}
    }
    result = _run(tree, config={"tools": ["typed_nodes:pick"]})
    assert (
        "tool 'pick' of node 't' is given what its annotations refuse: mode: input" in result.error
    )


# ── literals, before anything runs ──────────────────────────────────────────────────────────────


def _problems(tree: dict[str, Any], **more: Any) -> list[str]:
    try:
        check(load_tree({"id": "f", "nodes": {"p": tree}, **more}))
    except DefinitionError as error:
        return list(error.problems)
    return []


GOOD = {"mode": "a", "n": "5"}


@pytest.mark.parametrize(
    ("uses", "given", "said"),
    [
        ("pick", GOOD, None),
        ("pick", {**GOOD, "mode": "zzz"}, "'mode' of typed_nodes:pick: input should be 'a' or 'b'"),
        (
            "pick",
            {**GOOD, "n": 1.5},
            "'n' of typed_nodes:pick: input should be a valid integer, got",
        ),
        ("pick", {**GOOD, "n": "${{ 1 + 1 }}"}, None),
        ("pick", {**GOOD, "n": "1${{ 1 }}"}, None),
        (
            "use",
            {"order": {"id": "x"}},
            "'order' of typed_nodes:use at id: input should be a valid",
        ),
        (
            "use",
            {"order": {"id": 1, "lines": [{"sku": "a", "count": "x"}]}},
            "at lines.0.count: inp",
        ),
        ("use", {"order": {}}, "'order' of typed_nodes:use at id: field required"),
        (
            "use",
            {"order": {"id": "${{ 1 }}", "due": "soon"}},
            "use at due: input should be a valid date",
        ),
        ("use", {"order": {"id": "${{ 1 }}", "due": "${{ 's' }}oon"}}, None),
        ("use", {"order": "${{ p }}"}, None),
        ("use", {"order": None}, "'order' of typed_nodes:use: input should be a valid dictionary"),
    ],
)
def test_literals_are_checked_with_the_definition(
    uses: str, given: dict[str, Any], said: str | None
) -> None:
    found = [
        one for one in _problems({"uses": f"typed_nodes:{uses}", "with": given}) if "FC205" in one
    ]
    assert len(found) == (said is not None)
    assert all(said is None or said in one for one in found)


def test_a_literal_argument_of_a_tool_is_checked_too() -> None:
    tree = {"uses": "tool", "with": {"name": "pick", "args": {**GOOD, "mode": "zz"}}}
    (found,) = _problems(tree, config={"tools": ["typed_nodes:pick"]})
    assert "'mode' of typed_nodes:pick: input should be 'a' or 'b'" in found
    assert "[nodes.p.with.args.mode]" in found


def test_a_wrong_literal_is_shown_with_its_line_and_the_annotation() -> None:
    text = "nodes:\n  p:\n    uses: typed_nodes:pick\n    with:\n      mode: zzz\n      n: '5'\n"
    with pytest.raises(DefinitionError) as raised:
        check(load_text(text))
    told = str(raised.value)
    assert ":5:13: error FC205: 'mode' of typed_nodes:pick: input should be 'a' or 'b'" in told
    assert "it is annotated Literal['a', 'b']" in told
