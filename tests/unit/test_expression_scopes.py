"""Names of a scope that nodes have, too; words with hyphens; conditions and lists that are none.

R11, R23 and their kinds.
"""

from typing import Any

import pytest

from flowcore.check.check import check
from flowcore.check.diagnostic import InvalidFlowError
from flowcore.graph.load import load_tree
from flowcore.testing import Flows

ECHO = {"uses": "passthrough"}


def _problems(nodes: dict[str, Any], **more: Any) -> list[str]:
    try:
        check(load_tree({"id": "scopes", "nodes": nodes, **more}))
    except InvalidFlowError as error:
        return [f"{one.code}: {one.message} ({one.suggestion})" for one in error.diagnostics]
    return []


def _reader(name: str, text: str, **more: Any) -> dict[str, Any]:
    """A node that reads ``text`` after a node called ``name``, directly and from further on."""
    return {
        name: ECHO,
        "between": {**ECHO, "needs": [name]},
        "near": {**ECHO, "needs": [name], "with": {"v": text}, **more},
        "far": {**ECHO, "needs": ["between"], "with": {"v": text}, **more},
    }


MAP = {"for_each": ["a", "b"]}
LOOP = {"until": "true", "max_iterations": 3}


@pytest.mark.parametrize(
    ("name", "scope"),
    [("item", MAP), ("index", MAP), ("state", LOOP), ("iteration", LOOP)],
)
def test_a_bare_name_that_its_scope_gives_another_meaning_is_refused(
    name: str, scope: dict[str, Any]
) -> None:
    problems = _problems(_reader(name, f"${{{{ {name}.output.v }}}}", **scope))
    assert len(problems) == 2
    for problem in problems:
        assert problem.startswith(f"FC242: '{name}' is a node, and here it is ")
        assert problem.endswith(f'(write nodes["{name}"] for the node, or rename the node)')


@pytest.mark.parametrize("name", ["item", "index", "state", "iteration", "output", "run"])
def test_a_name_is_the_nodes_where_no_scope_gives_it_another_meaning(name: str) -> None:
    assert _problems(_reader(name, f"${{{{ {name}.output.v }}}}")) == []
    other = LOOP if name in {"item", "index"} else MAP
    assert _problems(_reader(name, f"${{{{ {name}.output.v }}}}", **other)) == []


@pytest.mark.parametrize(("name", "scope"), [("index", MAP), ("state", LOOP)])
def test_a_name_of_the_scope_is_that_when_no_node_of_this_name_is_upstream(
    name: str, scope: dict[str, Any]
) -> None:
    nodes = {
        "near": {**ECHO, "with": {"v": f"${{{{ {name} }}}}"}, **scope},
        name: {**ECHO, "needs": ["near"]},
    }
    assert _problems(nodes) == []


def test_what_is_worked_out_before_there_is_an_item_may_read_the_node() -> None:
    nodes = {"index": ECHO, "m": {**ECHO, "needs": ["index"], "for_each": "${{ index.output }}"}}
    assert _problems(nodes) == []


def test_the_end_of_a_loop_and_of_a_run_are_scopes_too() -> None:
    until = {**ECHO, "needs": ["output"], "until": "output > 3", "max_iterations": 2}
    [problem] = _problems({"output": ECHO, "l": until})
    assert problem.startswith("FC242: 'output' is a node, and here it is what the node itself gave")
    last = {"f": {**ECHO, "with": {"v": "${{ run.state }}"}}}
    [problem] = _problems({"run": ECHO}, **{"finally": last})
    assert problem.startswith("FC242: 'run' is a node, and here it is what became of the run")
    last = {"f": {**ECHO, "with": {"v": "${{ nodes['run'].state }} ${{ nodes.f.state }}"}}}
    assert _problems({"run": ECHO}, **{"finally": last}) == []
    undo = {**ECHO, "with": {"v": "${{ output }}"}}
    assert _problems({"a": {**ECHO, "undo": undo}}) == []


def test_nodes_by_key_is_the_node_in_every_scope() -> None:
    nodes = {
        "index": {**ECHO, "with": {"v": 7}},
        "state": {**ECHO, "with": {"v": 8}},
        "run": {**ECHO, "with": {"v": 9}},
        "per": {
            **ECHO,
            "needs": ["index", "state"],
            "for_each": ["a", "b"],
            "with": {"node": "${{ nodes['index'].output.v }}", "item": "${{ item }}"},
        },
        "loop": {
            **ECHO,
            "needs": ["state"],
            "initial": 0,
            "until": "nodes['state'].output.v == 8 && iteration >= 1",
            "max_iterations": 5,
            "with": {"node": "${{ nodes.state.output.v }}", "n": "${{ iteration }}"},
        },
    }
    last = {"f": {**ECHO, "with": {"v": "${{ nodes.run.output.v }}"}}}
    run = Flows().start({"id": "s", "nodes": nodes, "finally": last})
    outputs = run.result().outputs
    assert outputs["per"] == [{"node": 7, "item": "a"}, {"node": 7, "item": "b"}]
    assert outputs["loop"] == {"node": 8, "n": 1}
    assert run.result().success


# ── words that mean something else than they look ───────────────────────────────────────────────


def _of_b(**fields: Any) -> list[str]:
    return _problems({"my-node": ECHO, "b": {**ECHO, "needs": ["my-node"], **fields}})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "my-node.output['k']",
            "'my-node' is read as my minus node (write nodes[\"my-node\"])",
        ),
        (
            "nodes['my-node'].output.my-key",
            "'my-key' is read as my minus key (write [\"my-key\"] in place of .my-key)",
        ),
        (
            "inputs.x-y-z + 1",
            "'x-y-z' is read as x minus y minus z (write [\"x-y-z\"] in place of .x-y-z)",
        ),
        ("True", "node 'True' is not defined (write true)"),
        ("None", "node 'None' is not defined (write null)"),
    ],
)
def test_a_word_that_is_no_name_is_one_problem_with_its_way_out(text: str, problem: str) -> None:
    assert _of_b(**{"with": {"v": f"${{{{ {text} }}}}"}}) == [f"FC203: {problem}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 + 1", "this is int"),
        ("-1", "this is int"),
        ("size('a')", "this is int"),
        ("'x' + 'y'", "this is string"),
        ("inputs.n - 1", "this is what '-' gives"),
        ("true ? 1 : 2", "this is int"),
        ("null", "this is null"),
        ("[true]", "this is list"),
        ("timestamp(inputs.t).getHours()", "this is int"),
    ],
)
def test_a_condition_that_cannot_be_true_or_false_is_refused(text: str, problem: str) -> None:
    wanted = f"FC228: a condition is true or false, and {problem} (compare it with something)"
    assert _of_b(**{"if": text}) == [wanted]
    assert _of_b(until=text, max_iterations=2) == [wanted]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("${{ [1] }}${{ [2] }}", "a text"),
        ("all: ${{ [1] }}", "a text"),
        ("$${{ [1] }}", "a text"),
        ("${{ 'a' }}", "string"),
        ("${{ {'a': 1} }}", "map"),
        ("${{ inputs.n * 2 }}", "what '*' gives"),
    ],
)
def test_a_for_each_that_cannot_be_a_list_is_refused(text: str, kind: str) -> None:
    [problem] = _of_b(for_each=text)
    assert problem.startswith(f"FC228: 'for_each' needs a list, and this is {kind}")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("inputs.a = 1", "unexpected character '=' (write ==)"),
        ("inputs.a & true", "unexpected character '&' (write &&)"),
        ("inputs.a and true", "unexpected 'and' (write &&)"),
        ("not inputs.a", "unexpected 'inputs' (write !)"),
        ("len(inputs.a) > 1", "there is no function 'len' (write size(…))"),
    ],
)
def test_what_other_languages_write_is_answered_with_what_cel_writes(text: str, meant: str) -> None:
    assert _of_b(**{"if": text}) == [f"FC212: cannot read the expression: {meant} (None)"]


def test_an_operator_on_a_whole_node_is_refused_whatever_the_other_side_is() -> None:
    [problem] = _of_b(**{"if": "nodes['my-node'] - inputs.n > 2"})
    assert problem == "FC228: there is no '-' of map (None)"
