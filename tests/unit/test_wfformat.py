"""WfFormat documents become flows of sleeps, or a list of everything that is wrong with them."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.check.check import check
from flowcore.errors import DefinitionError, UsageError
from flowcore.graph.dump import to_yaml
from flowcore.graph.load import load_text, load_tree
from flowcore.importers.wfformat import WfFormatError, convert, critical_path_of, read

Tasks = Mapping[str, tuple[Sequence[str], float | None]]

DIAMOND: Tasks = {
    "split": ((), 10.0),
    "left": (("split",), 20.0),
    "right": (("split",), 5.0),
    "merge": (("left", "right"), 30.0),
}


def modern(tasks: Tasks, name: str = "diamond") -> dict[str, Any]:
    """A document of schema 1.5."""
    return {
        "name": name,
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": [
                    {
                        "id": key,
                        "name": key,
                        "parents": list(parents),
                        "children": [one for one, (of, _) in tasks.items() if key in of],
                    }
                    for key, (parents, _) in tasks.items()
                ]
            },
            "execution": {
                "makespanInSeconds": 1,
                "tasks": [
                    {"id": key, "runtimeInSeconds": seconds}
                    for key, (_, seconds) in tasks.items()
                    if seconds is not None
                ],
            },
        },
    }


def old(tasks: Tasks, *, where: str, runtime: str, **more: str) -> dict[str, Any]:
    """A document of a schema before 1.5, whose tasks name their parents by name."""
    listed = [
        {"name": key, "parents": list(parents), runtime: seconds, "files": [], "cores": 1}
        for key, (parents, seconds) in tasks.items()
    ]
    for number, task in enumerate(listed):
        task.update({key: f"{value}{number}" for key, value in more.items()})
    return {"name": "old", "schemaVersion": "1.4", "workflow": {where: listed}}


def sleeps(tree: Mapping[str, Any]) -> dict[str, tuple[list[str], float]]:
    return {
        key: (node.get("needs", []), node["with"]["seconds"]) for key, node in tree["nodes"].items()
    }


def problems(document: Any, **options: Any) -> str:
    with pytest.raises(WfFormatError) as caught:
        convert(document, **options)
    assert caught.value.code == "FC240"
    return str(caught.value)


def test_tasks_become_sleeps_that_need_their_parents() -> None:
    tree = convert(modern(DIAMOND))
    assert sleeps(tree) == {
        "split": ([], 10.0),
        "left": (["split"], 20.0),
        "right": (["split"], 5.0),
        "merge": (["left", "right"], 30.0),
    }
    assert tree["id"] == "diamond"
    assert tree["description"].startswith("Imported from WfFormat 1.5: workflow 'diamond', 4 tasks")
    assert check(load_tree(tree)).definition.id == "diamond"


def test_the_longest_path_is_scaled_to_the_seconds_that_are_asked_for() -> None:
    tree = convert(modern(DIAMOND), critical_path=3)
    assert [seconds for _, seconds in sleeps(tree).values()] == [0.5, 1.0, 0.25, 1.5]
    assert "the longest path takes 3.00 s instead of 1 m 00 s" in tree["description"]


def test_a_scaled_path_has_its_length_whatever_the_numbers() -> None:
    tasks = {f"t{n}": ((f"t{n - 1}",) if n else (), 1 / 3 + n / 7) for n in range(50)}
    flow = sleeps(convert(modern(tasks), critical_path=2.5))
    longest = critical_path_of(
        {key: seconds for key, (_, seconds) in flow.items()},
        {key: needs for key, (needs, _) in flow.items()},
    )
    assert longest == pytest.approx(2.5, rel=1e-8)


@pytest.mark.parametrize(
    ("where", "runtime"),
    [("tasks", "runtimeInSeconds"), ("tasks", "runtime"), ("jobs", "runtime")],
)
def test_older_layouts_give_the_same_flow(where: str, runtime: str) -> None:
    assert sleeps(convert(old(DIAMOND, where=where, runtime=runtime))) == sleeps(
        convert(modern(DIAMOND))
    )


def test_parents_of_older_layouts_are_found_by_name_beside_their_id() -> None:
    tree = convert(old(DIAMOND, where="tasks", runtime="runtime", id="ID00"))
    assert sleeps(tree)["ID003"] == (["ID001", "ID002"], 30.0)


def test_an_edge_that_only_the_parent_names_counts() -> None:
    document = modern(DIAMOND)
    for task in document["workflow"]["specification"]["tasks"]:
        del task["parents"]
    assert sleeps(convert(document)) == sleeps(convert(modern(DIAMOND)))


def test_a_missing_runtime_is_no_time_and_is_told() -> None:
    tree = convert(modern({"a": ((), None), "b": (("a",), 4.0)}), critical_path=2)
    assert sleeps(tree) == {"a": ([], 0.0), "b": (["a"], 2.0)}
    assert "Without a runtime, and so taking 0 s: 1 (a)." in tree["description"]


def test_ids_become_what_a_flow_allows_and_stay_apart() -> None:
    names = ["a b", "a_b", "a/b", "yes", "inputs", "-dash", "日本", "x" * 200, "x" * 201, "ok.1-2"]
    tree = convert(modern(dict.fromkeys(names, ((), 1.0)), name="my flow/1"))
    ids = list(tree["nodes"])
    assert ids[:7] == ["a_b_2", "a_b", "a_b_3", "yes_2", "inputs_2", "dash", "_"]
    assert ids[-1] == "ok.1-2"
    assert len(set(ids)) == len(names)
    assert tree["id"] == "my_flow_1"
    assert list(convert(modern(dict.fromkeys(names, ((), 1.0))))["nodes"]) == ids
    check(load_tree(tree))


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"workflow": []},
        {"workflow": {}},
        {"workflow": {"specification": {}}},
        {"workflow": {"tasks": {}}},
        {"workflow": {"specification": {"tasks": [{"id": "a"}]}, "execution": {"tasks": {}}}},
    ],
)
def test_another_kind_of_document_is_called_no_wfformat(document: Any) -> None:
    assert "not WfFormat" in problems(document)


def test_a_workflow_without_tasks_is_refused() -> None:
    assert "needs at least one node" in problems(modern({}))


def test_every_problem_is_told_at_once() -> None:
    document = modern({"a": (("ghost",), 1.0), "b": (("phantom",), -1.0), "c": ((), float("inf"))})
    text = problems(document)
    assert "task 'a': its parent 'ghost' is not in the workflow" in text
    assert "task 'b': its parent 'phantom' is not in the workflow" in text
    assert "task 'b': -1.0 is not a runtime in seconds" in text
    assert "task 'c': inf is not a runtime in seconds" in text


def test_two_tasks_with_one_id_are_refused() -> None:
    document = modern({"a": ((), 1.0)})
    document["workflow"]["specification"]["tasks"] *= 2
    assert "two tasks have the id 'a'" in problems(document)


def test_two_records_of_one_execution_are_refused() -> None:
    document = modern({"a": ((), 1.0)})
    document["workflow"]["execution"]["tasks"] *= 2
    assert "two records of task 'a'" in problems(document)


def test_a_name_that_several_tasks_share_is_no_parent() -> None:
    document = modern({"1": ((), 1.0), "2": ((), 1.0), "3": (("same",), 1.0)})
    for task in document["workflow"]["specification"]["tasks"][:2]:
        task["name"] = "same"
    assert "'same' is the name of 2 tasks; use an id" in problems(document)


def test_a_cycle_is_shown_as_a_path() -> None:
    tasks: Tasks = {
        "start": ((), 1.0),
        "a": (("start", "c"), 1.0),
        "b": (("a",), 1.0),
        "c": (("b",), 1.0),
        "after": (("c",), 1.0),
    }
    assert problems(modern(tasks)) in {
        "a cycle: a -> b -> c -> a",
        "a cycle: b -> c -> a -> b",
        "a cycle: c -> a -> b -> c",
    }
    assert problems(modern({"a": (("a",), 1.0)})) == "a cycle: a -> a"


def test_tasks_of_the_wrong_shape_are_named() -> None:
    document = {"workflow": {"tasks": ["a", {}, {"id": "b", "parents": "a"}]}}
    text = problems(document)
    assert "task 1 is not an object" in text
    assert "task 2 has neither 'id' nor 'name'" in text
    assert "task 'b': 'parents' is not a list of ids" in text


def test_a_path_of_no_length_cannot_be_scaled() -> None:
    document = modern({"a": ((), 0.0), "b": (("a",), None)})
    assert "cannot be scaled" in problems(document, critical_path=1)
    assert sleeps(convert(document)) == {"a": ([], 0.0), "b": (["a"], 0.0)}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_critical_path_is_a_positive_number(seconds: float) -> None:
    with pytest.raises(UsageError, match="positive number"):
        convert(modern(DIAMOND), critical_path=seconds)


def test_a_file_is_read_or_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    with pytest.raises(WfFormatError, match=r"w\.json: cannot read the file"):
        read(file)
    file.write_text("nonsense")
    with pytest.raises(WfFormatError, match=r"w\.json: not JSON"):
        read(file)
    file.write_text("[]")
    with pytest.raises(WfFormatError, match=r"w\.json: not WfFormat"):
        read(file)
    file.write_text(json.dumps(modern(DIAMOND)))
    assert read(file) == modern(DIAMOND)


def test_the_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(WfFormatError(["one", "two"])))
    assert isinstance(error, DefinitionError)
    assert error.problems == ("one", "two")


# ── YAML ────────────────────────────────────────────────────────────────────────────────────────

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["1e5", "08", "0x1", ".5", "+1", "null", "~", "yes", "=", "<<", "- a", "#"])
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


def test_a_converted_flow_survives_being_written_and_read() -> None:
    tree = convert(modern(DIAMOND), critical_path=0.001)
    assert load_text(to_yaml(tree), name="flow.yaml").tree == tree


@given(tree=_TREES)
def test_what_is_written_as_yaml_is_read_as_it_was(tree: Any) -> None:
    assert load_text(to_yaml(tree), name="flow.yaml").tree == tree


def test_what_occurs_twice_is_written_twice() -> None:
    shared = ["a"]
    assert to_yaml({"x": shared, "y": shared}) == "x: [a]\ny: [a]\n"
