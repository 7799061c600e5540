"""Cases about nodes that start others: maps, loops, branches, choices, sub-flows, ends."""

from flowcore.ports.capability import Capability
from flowcore.testing.conformance.case import NODES, Case, Subject, expect, uses

__all__ = ["NESTING"]

_QUICK = {"max_attempts": 3, "delay": "10ms", "jitter": False}


async def _map_order(it: Subject) -> None:
    nodes = {
        "list": uses("inputs"),
        "each": uses("add", "list", for_each="${{ list.output.items }}", by=10),
        "all": uses("seen", "each"),
    }
    result = await it.run(nodes, {"items": list(range(20))})
    expect(result.output, [at + 10 for at in range(20)], "outputs of the items, in their order")


async def _empty_map(it: Subject) -> None:
    nodes = {
        "none": uses("add", for_each=[]),
        "skipped": uses("add", for_each=[1], **{"if": "false"}),
        "after": uses("seen", "none", "skipped", join="all_done"),
    }
    result = await it.run(nodes)
    expect(result.outputs["none"], [], "output of a map of nothing")
    expect(result.nodes["skipped"].state.value, "skipped", "state of a map that is skipped")
    expect(result.nodes["after"].state.value, "succeeded", "state of what comes after")


async def _map_retry(it: Subject) -> None:
    nodes = {"each": uses("fail_until", for_each=[1, 2], attempt=3, retry=_QUICK)}
    expect((await it.run(nodes)).output, [3, 3], "outputs of items in their third attempts")


async def _map_failures(it: Subject) -> None:
    nodes = {"each": uses("fail", for_each=[1, 2])}
    expect((await it.run(nodes)).success, False, "success of a map whose items fail")
    nodes["each"]["tolerated_failures"] = "100%"
    expect((await it.run(nodes)).output, [None, None], "outputs of items that may fail")


async def _map_of_a_source(it: Subject) -> None:
    source = {"uses": f"{NODES}:say", "with": {"words": "${{ inputs.words }}"}}
    result = await it.run({"each": uses("seen", for_each=source)}, {"words": ["a", "b", "c"]})
    expect(result.output, ["a", "b", "c"], "outputs of the items that a function gave")


async def _loop_until(it: Subject) -> None:
    for wanted in (1, 12):
        loop = uses("add", initial=0, until=f"output >= {wanted}")
        expect((await it.run({"loop": loop})).output, wanted, "output of the last iteration")


async def _loop_exceeded(it: Subject) -> None:
    loop = uses("add", initial=0, until="output > 99", max_iterations=11)
    result = await it.run({"loop": loop})
    expect(result.success, False, "success of a loop that may run no more")
    expect("LoopLimitError" in str(result.error), True, "whether the error names LoopLimitError")


async def _nested(it: Subject) -> None:
    inner = {"nodes": {"a": uses("add"), "b": uses("add", "a", initial=0, max_iterations=2)}}
    nodes = {
        "rows": {"uses": "map", "flow": inner, "for_each": [1, 2], "with": {"upstream": 1}},
        "sub": {"uses": "workflow", "needs": ["rows"], "flow": {"nodes": {"x": uses("seen")}}},
    }
    result = await it.run(nodes)
    expect(result.outputs["rows"], [2, 2], "outputs of loops in sub-flows of a map")
    expect(result.output, [2, 2], "output of a sub-flow")


async def _parallel(it: Subject) -> None:
    branches = {"left": uses("add", by=5), "right": uses("add", by=7)}
    nodes = {"a": uses("add"), "both": {"uses": "parallel", "needs": ["a"], "branches": branches}}
    expect((await it.run(nodes)).output, {"left": 6, "right": 8}, "outputs of the branches")


async def _switch(it: Subject) -> None:
    for n, taken in ((1, "small"), (9, "large")):
        cases = {"large": "inputs.n > 5"}
        nodes = {
            "choose": {"uses": "condition", "with": {"cases": cases, "default": "small"}},
            "small": uses("add", "choose"),
            "large": uses("add", "choose"),
        }
        result = await it.run(nodes, {"n": n})
        done = [name for name in ("small", "large") if name in result.outputs]
        expect(done, [taken], "the node that was chosen")


async def _inner_failure(it: Subject) -> None:
    sub = {"nodes": {"bad": uses("fail")}}
    result = await it.run({"s": {"uses": "workflow", "flow": sub}})
    expect(result.success, False, "success of a run whose sub-flow fails")
    expect("ValueError" in str(result.error), True, "whether the error is the sub-flow's")


async def _ends(it: Subject) -> None:
    mark = it.folder / "ends"

    def said(text: str) -> dict[str, object]:
        return uses("note", path=str(mark), text=text)

    nodes = {"a": {**uses("add"), "undo": said("undo")}, "b": uses("fail", "a")}
    last = {"finally": {"z": said("${{ run.state }}")}}
    await it.run(nodes, on_failure={"f": said("told")}, **last)
    expect(mark.read_text().split(), ["undo", "told", "failed"], "what ran at the end, in order")


NESTING = [
    Case(name=name, capability=Capability.STRUCTURE, check=check)
    for name, check in {
        "map order": _map_order,
        "empty or skipped map": _empty_map,
        "map item retry": _map_retry,
        "map item failures": _map_failures,
        "map of a generator's items": _map_of_a_source,
        "loop until": _loop_until,
        "loop maximum exceeded": _loop_exceeded,
        "nested loop, map and sub-flow": _nested,
        "parallel branches": _parallel,
        "switch": _switch,
        "failure in a sub-flow": _inner_failure,
        "undo, on_failure, finally": _ends,
    }.items()
]
