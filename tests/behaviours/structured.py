"""Behaviours of maps, loops, sub-flows, branches, endings, and of what is done to runs."""

from collections.abc import Iterator

from tests.behaviours.core import B, Behaviour, Tree, uses

__all__ = ["structured"]

ONE = uses("one")
SUB: Tree = {"id": "sub", "nodes": {"x": uses("add", x="${{ inputs.n }}", y=1)}}
BAD_SUB: Tree = {"id": "sub", "nodes": {"x": ONE, "y": uses("fail", needs=["x"])}}
ASK: Tree = {"uses": "approval", "with": {"message": "may we?"}}
WAIT: Tree = {"uses": "wait", "with": {"for": "1h"}}


def structured() -> Iterator[Behaviour]:
    """All of them."""
    yield from _maps()
    yield from _loops()
    yield from _flows()
    yield from _endings()
    yield from _answers()
    yield from _moves()


def _maps() -> Iterator[Behaviour]:
    def item(function: str = "echo", **more: object) -> Tree:
        return {"m": {**uses(function), **more}}

    yield B("a map", item(for_each=[1, 2, 3]), output=[1, 2, 3],
            states={"m/m[2]": "succeeded"})  # fmt: skip
    yield B("a map of nothing", item(for_each=[]), output=[])
    yield B("a map of an output", {"a": uses("echo", value=["x", "y"]), "m": {
        **uses("echo"), "for_each": "${{ a.output }}", "needs": ["a"]}}, output=["x", "y"])  # fmt: skip
    yield B("a map of what is no list", item(for_each="${{ inputs.n }}"), input={"n": 5},
            state="failed")  # fmt: skip
    yield B("a map with a place for two", item(for_each=list(range(6)), max_parallel=2),
            output=list(range(6)))  # fmt: skip
    yield B("a map one by one", item(for_each=[3, 1, 2], max_parallel=1), output=[3, 1, 2])
    yield B("a map in chunks", item(for_each=[1, 2, 3, 4, 5], chunk_size=2),
            output=[[1, 2], [3, 4], [5]])  # fmt: skip
    yield B("items and their numbers", {"m": {
        **uses("echo", value="${{ item + index }}"), "for_each": [10, 20]}}, output=[10, 21])  # fmt: skip
    yield B("an item fails", item("fail_item", for_each=[1, 2, 3], max_parallel=1), state="failed",
            error="node 'm[1]': ValueError: item 2")  # fmt: skip
    yield B("an item may fail", item("fail_item", for_each=[1, 2, 3], tolerated_failures=1),
            output=[1, None, 3])  # fmt: skip
    yield B("half of them may fail",
            item("fail_item", for_each=[2, 1, 2, 3], tolerated_failures=0.5),
            output=[None, 1, None, 3])  # fmt: skip
    yield B("too many fail", item("fail_item", for_each=[2, "bad", 3], tolerated_failures=1, max_parallel=1),
            state="failed")  # fmt: skip
    yield B("items are tried again", {"m": {
        **uses("fail_until", attempt="${{ item }}"), "for_each": [1, 2, 3],
        "retry": {"max_attempts": 3, "delay": 0}}}, output=[1, 2, 3],
        attempts={"m": 1, "m/m[0]": 1, "m/m[2]": 3})  # fmt: skip
    yield B("items fall back", {"m": {**uses("fail_item"), "for_each": [1, 2],
            "fallback": [{"value": "none"}]}}, output=[1, "none"])  # fmt: skip
    yield B("items are skipped", {"m": {**uses("echo"), "for_each": [1, 2], "if": "inputs.go"}},
            input={"go": False}, states={"m": "skipped"})  # fmt: skip
    yield B("items say words", item("words_later", for_each=[1, 2]), output=["de", "de"])
    yield B("a map of a generator", {"m": {
        **uses("echo"), "for_each": {"uses": "behaviour_nodes:numbers", "with": {"n": 4}}}},
        output=[0, 1, 2, 3], racy=True)  # fmt: skip
    yield B("a map of a generator that fails", {"m": {
        **uses("echo"), "for_each": {"uses": "behaviour_nodes:numbers_then_fail"}}},
        state="failed", racy=True)  # fmt: skip
    yield B("a map of sub-flows", {"m": {"uses": "workflow", "flow": SUB, "for_each": [1, 2],
            "with": {"n": "${{ item }}"}}}, output=[2, 3])  # fmt: skip
    yield B("a map, then its sum", {"m": {**uses("echo"), "for_each": [1, 2, 3]},
            "t": uses("total", items="${{ m.output }}", needs=["m"])}, output=6)  # fmt: skip


def _loops() -> Iterator[Behaviour]:
    yield B("a loop until", {"l": {**uses("step"), "initial": 0, "until": "output >= 4"}}, output=4)
    yield B("a loop of three", {"l": {**uses("step"), "initial": 0, "max_iterations": 3}}, output=3)
    yield B("a loop that does not come to it",
            {"l": {**uses("step"), "initial": 0, "until": "output > 9", "max_iterations": 2}},
            state="failed", error="node 'l': LoopLimitError")  # fmt: skip
    yield B("an iteration fails", {"l": {**uses("fail"), "initial": 0, "max_iterations": 3}},
            state="failed", error="node 'l[0]': ValueError: no luck")  # fmt: skip
    yield B("an iteration is tried again", {"l": {
        **uses("fail_until", attempt=2), "initial": 0, "max_iterations": 2,
        "retry": {"max_attempts": 2, "delay": 0}}}, attempts={"l/l[0]": 2})  # fmt: skip
    yield B("an iteration's number", {"l": {
        **uses("echo", value="${{ iteration }}"), "max_iterations": 3, "initial": 0}},
        output=2)  # fmt: skip
    yield B("an 'until' that fails",
            {"l": {**uses("step"), "initial": 0, "until": "output.x == 1"}}, state="failed")  # fmt: skip


def _flows() -> Iterator[Behaviour]:
    sub = {"uses": "workflow", "flow": SUB, "with": {"n": 1}}
    yield B("a sub-flow", {"s": sub, "t": uses("only", needs=["s"])}, output=2)
    yield B("a sub-flow that fails", {"s": {"uses": "workflow", "flow": BAD_SUB}}, state="failed",
            error="node 's/y': ValueError: no luck", states={"s/y": "failed"})  # fmt: skip
    yield B("a sub-flow that may fail", {
        "s": {"uses": "workflow", "flow": BAD_SUB, "fallback": [{"value": 0}]}}, output=0)  # fmt: skip
    yield B("a sub-flow that is tried again", {"s": {"uses": "workflow", "flow": BAD_SUB,
            "retry": {"max_attempts": 2, "delay": 0}}}, state="failed", attempts={"s": 2})  # fmt: skip
    yield B("a sub-flow by name", {"s": {"uses": "workflow", "flow": "behaviours-sub",
            "with": {"n": 4}}}, deploys=({**SUB, "id": "behaviours-sub"},), output=5)  # fmt: skip
    yield B("a sub-flow in a sub-flow", {"s": {"uses": "workflow", "flow": {
        "id": "mid", "nodes": {"t": sub}}}}, output=2, states={"s/t/x": "succeeded"})  # fmt: skip
    yield B("branches", {"p": {"uses": "parallel", "branches": {
        "l": ONE, "r": uses("echo", value=2)}}}, output={"l": 1, "r": 2})  # fmt: skip
    yield B("a branch fails", {"p": {"uses": "parallel", "branches": {
        "r": uses("fail")}}}, state="failed")  # fmt: skip


def _endings() -> Iterator[Behaviour]:
    tell = uses("echo", value="${{ run.state }}")
    for name, node, state in (("good", ONE, "succeeded"), ("bad", uses("fail"), "failed")):
        yield B(f"a {name} end", {"a": node}, state=state,
                **{"finally": {"f": tell}, "on_failure": {"o": ONE}})  # fmt: skip
        yield B(f"an end that fails after a {name} one", {"a": node}, state="failed",
                **{"finally": {"f": uses("fail", message="at the end")}})  # fmt: skip
    booked = {**ONE, "undo": uses("undo")}
    yield B("what was done is undone", {
        "a": booked, "b": {**booked, "needs": ["a"]}, "c": uses("fail", needs=["b"]),
    }, state="failed", states={"finally/undo a": "succeeded", "finally/undo b": "succeeded"})  # fmt: skip
    yield B("nothing is undone of what succeeds", {"a": booked, "b": {**booked, "needs": ["a"]}})
    yield B("undoing fails", {
        "a": {**ONE, "undo": uses("fail", message="stays")}, "c": uses("fail", needs=["a"]),
    }, state="failed", error="node 'c'")  # fmt: skip
    yield B("items are undone", {
        "m": {**uses("fail_item"), "for_each": [1, 3, 2], "max_parallel": 1, "undo": uses("undo")},
    }, state="failed")  # fmt: skip


def _answers() -> Iterator[Behaviour]:
    gate = {"g": ASK, "b": {**ONE, "needs": ["g"]}}
    yield B(
        "approved", gate, do=(("approve", "g"),), outputs={"g": {"approved": True}}, steps=(None,)
    )
    yield B("rejected", gate, do=(("reject", "g"),), state="failed", steps=(None,))
    yield B("the only one that waits", gate, do=(("approve",),), steps=(None,))
    yield B("the first answer counts", {"g": ASK, "h": ASK}, state="running",
            do=(("approve", "g"), ("reject", "g")), steps=(None, "UsageError"))  # fmt: skip
    yield B("no such approval", gate, state="running", steps=("UsageError", "UsageError"),
            do=(("approve", "b"), ("approve", "nosuch")))  # fmt: skip
    items = {"m": {**ASK, "for_each": [1, 2]}}
    yield B("items are approved", items, steps=(None, None),
            do=(("approve", "m/m[0]"), ("approve", "m[1]")),
            output=[{"approved": True}, {"approved": True}])  # fmt: skip
    yield B("an item is rejected", items, do=(("reject", "m/1"),), steps=(None,), state="failed")
    inner = {"s": {"uses": "workflow", "flow": {"id": "in", "nodes": {"g": ASK}}}}
    yield B("a node inside is approved", inner, do=(("approve", "s/g"),), steps=(None,))
    late = {"w": {"uses": "approval", "with": {"message": "?", "timeout": "100ms"}}}
    yield B("nobody answers", late, state="failed", error="node 'w': NodeTimeoutError")
    signal = {"s": {"uses": "signal", "with": {"name": "go"}}}
    yield B("a signal", signal, do=(("signal", "go", {"n": 1}),), output={"n": 1}, steps=(None,))
    yield B("a signal that nobody waits for", signal, do=(("signal", "stop"),), state="running",
            steps=("UsageError",))  # fmt: skip
    two = {"g": ASK, "s": {"uses": "signal", "with": {"name": "go"}, "needs": ["g"]},
           "t": {"uses": "signal", "with": {"name": "go"}, "needs": ["s"]}}  # fmt: skip
    yield B("signals that come early are kept in order", two, steps=(None, None, None),
            do=(("signal", "go", {"n": 1}), ("signal", "go", {"n": 2}), ("approve",)),
            outputs={"s": {"n": 1}, "t": {"n": 2}})  # fmt: skip
    yield B("a signal after the end", {"a": ONE}, do=(("signal", "go"),), steps=("UsageError",))
    yield B("a signal to items", {"m": {**signal["s"], "for_each": [1, 2]}},
            do=(("signal", "go", {"n": 1}),), steps=(None,), loose=True)  # fmt: skip


def _moves() -> Iterator[Behaviour]:
    waiting = {"a": ONE, "w": {**WAIT, "needs": ["a"]}, "b": {**ONE, "needs": ["w"]}}
    yield B("cancelled", waiting, do=(("cancel",),), state="cancelled", steps=(None,),
            states={"a": "succeeded", "b": "cancelled"}, error="the run was cancelled")  # fmt: skip
    yield B("cancelled with its children", {"m": {**WAIT, "for_each": [1, 2]}}, do=(("cancel",),),
            state="cancelled", states={"m/m[0]": "cancelled"}, steps=(None,))  # fmt: skip
    yield B("cancelled twice", waiting, do=(("cancel",), ("cancel",)), state="cancelled",
            steps=(None, None))  # fmt: skip
    yield B("cancelled with an end", waiting, do=(("cancel",),), state="cancelled", steps=(None,),
            **{"finally": {"f": ONE}})  # fmt: skip
    gate = {"g": ASK, "b": {**ONE, "needs": ["g"]}}
    yield B("paused", gate, do=(("pause",), ("approve", "g")), state="paused", steps=(None, None))
    yield B("paused and resumed", gate, do=(("pause",), ("approve", "g"), ("resume",)), output=1,
            steps=(None, None, None))  # fmt: skip
    yield B("paused with its children", {"m": {**ASK, "for_each": [1]}}, state="succeeded",
            do=(("pause",), ("approve", "m[0]"), ("resume",)), steps=(None, None, None))  # fmt: skip
    yield B("paused after the end", {"a": ONE}, do=(("pause",),), steps=("RunStateError",))
    yield B("resumed though it succeeded", {"a": ONE}, do=(("resume",),), steps=("RunStateError",))
    yield B("resumed though it runs", gate, do=(("resume",),), state="running",
            steps=("RunStateError",))  # fmt: skip
    broken = {"a": ONE, "f": uses("fail_while", path="${{ inputs.file }}", needs=["a"])}
    yield B("resumed where it failed", broken, input="dir", do=(("remove", "file"), ("resume",)),
            output="went", steps=(None, None), attempts={"a": 1})  # fmt: skip
    yield B(
        "resumed in vain", broken, input="dir", do=(("resume",),), state="failed", steps=(None,)
    )
    yield B("a map is resumed", {"m": {**uses("fail_while", path="${{ inputs.file }}"),
            "for_each": [1, 2], "max_parallel": 1}}, input="dir", do=(("remove", "file"), ("resume",)),
            output=["went", "went"], steps=(None, None))  # fmt: skip
    yield B("a sub-flow is resumed", {"s": {"uses": "workflow", "flow": {"id": "in", "nodes": broken},
            "with": {"file": "${{ inputs.file }}"}}}, input="dir",
            do=(("remove", "file"), ("resume",)), output="went", steps=(None, None))  # fmt: skip
    yield B("resumed after it was cancelled", {"g": ASK}, steps=(None, None, None),
            do=(("cancel",), ("resume",), ("approve", "g")))  # fmt: skip
    yield B("run again", {"a": uses("whole")}, input={"x": 1}, do=(("rerun",),), steps=(None,),
            output={"x": 1})  # fmt: skip
    chain = {"a": uses("whole"), "b": uses("whole", needs=["a"])}
    yield B("run again from a node", chain, input={"x": 1}, do=(("rerun", "b", {"y": 2}),),
            outputs={"a": {"x": 1}, "b": {"x": 1, "y": 2}}, steps=(None,))  # fmt: skip
    yield B("run again from no node", chain, do=(("rerun", "nosuch"),), steps=("UsageError",))
    yield B("run again before its end", gate, do=(("rerun", "b"),), state="running",
            steps=("RunStateError",))  # fmt: skip
    yield B("no dead letter", {"a": uses("fail")}, do=(("requeue",),), state="failed",
            steps=("RunStateError",))  # fmt: skip
    yield B("the run of a schedule", {"a": ONE}, deploys=({**SUB, "id": "behaviours-timed"},),
            do=(("schedule", "timed", "behaviours-timed", {"n": 8}),), output=9, steps=(None,))  # fmt: skip
    yield B("a schedule of no flow", {"a": ONE}, steps=("UsageError",),
            do=(("schedule", "timed-not", "behaviours-nosuch", {}),))  # fmt: skip
    yield B("a schedule whose input is none", {"a": ONE}, steps=("UsageError",),
            deploys=({**SUB, "id": "behaviours-typed", "inputs": {"n": {"type": "integer"}}},),
            do=(("schedule", "timed-odd", "behaviours-typed", {"n": "x"}),))  # fmt: skip
