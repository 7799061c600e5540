"""A stub is a node; what is patched is seen; names that there are not are refused."""

import asyncio
import sys
import threading
import types
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pydantic import BaseModel

from flowcore import Context
from flowcore.errors import UsageError
from flowcore.testing import Flows


def one() -> int:
    return 1


def take(number: int, word: str = "w") -> str:
    return f"{number}{word}"


def pieces() -> Iterator[str]:
    yield "a"
    yield "b"


async def later(number: int) -> int:
    return number


def gather(items: Any) -> Any:
    return items


def digits() -> Iterator[int]:
    yield from (1, 2)


class Order(BaseModel):
    id: int


def sell(order: Order) -> int:
    return order.id


@pytest.fixture(autouse=True)
def kit_nodes(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of the user's own that definitions can name."""
    made = types.ModuleType("kit_nodes")
    made.__file__ = __file__
    for function in (one, take, pieces, later, gather, digits, sell):
        monkeypatch.setattr(made, function.__name__, function, raising=False)
    monkeypatch.setitem(sys.modules, "kit_nodes", made)
    return made


ONE = {"nodes": {"n": {"uses": "kit_nodes:one"}}}
TAKE = {"nodes": {"n": {"uses": "kit_nodes:one"}, "t": {"uses": "kit_nodes:take", "needs": ["n"]}}}


def _tokens(flows: Flows, run: str) -> list[Any]:
    return [event.data["text"] for event in flows.events(run) if event.type == "node.token"]


# ── stubs ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stub", "output"),
    [
        (lambda: 7, 7),
        (lambda number: number + 1, 2),
        (lambda ctx: ctx.node_id, "t"),
        (lambda number, ctx: [number, ctx.attempt], [1, 1]),
        (lambda context: context, 1),  # no parameter of the node's own, so what flows in
        (lambda n: n, 1),  # another node's output, by its name
        (lambda upstream: upstream, 1),
        (lambda **all_: sorted(all_), ["number"]),
        (lambda *_, **__: 3, 3),
        (lambda number, /: number, 1),
        (lambda word: word, "w"),  # the default of the node's own function
        (lambda number, more=5: number + more, 6),
    ],
    ids=[
        *("nothing", "its own", "ctx", "both", "one other", "an output by name", "upstream"),
        *("all", "whatever", "by place", "a default of the node", "a default of its own"),
    ],
)
def test_a_stub_gets_what_its_node_gets_as_far_as_it_takes_it(
    flows: Flows, stub: Any, output: Any
) -> None:
    flows.stub("t", calls=stub)
    assert flows.run(TAKE).output == output


def test_a_stub_takes_the_context_by_its_annotation(flows: Flows) -> None:
    def stub(about: Context) -> str:
        about.emit("seen", at=about.node_id)
        return about.flow

    flows.stub("n", calls=stub)
    run = flows.start({"id": "mine", **ONE})
    assert run.result().output == "mine"
    assert [event.node for event in run.events if event.type == "node.emitted"] == ["n"]


def test_a_stub_may_be_async_yield_or_both(flows: Flows) -> None:
    async def slowly(number: int) -> int:
        await asyncio.sleep(0)
        return number * 10

    async def stream() -> AsyncIterator[str]:
        for piece in ("x", "y"):
            yield piece

    flows.stub("t", calls=slowly)
    assert flows.run(TAKE).output == 10
    flows.stub("n", calls=pieces)
    run = flows.start(ONE)
    assert (run.output("n"), _tokens(flows, run.id)) == ("ab", ["a", "b"])
    flows.stub("n", calls=stream)
    run = flows.start(ONE)
    assert (run.output("n"), _tokens(flows, run.id)) == ("xy", ["x", "y"])


def test_a_stub_has_the_policies_of_its_node(flows: Flows) -> None:
    def failing(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ConnectionError("down")
        return ctx.attempt

    retried = {"nodes": {"n": {**ONE["nodes"]["n"], "retry": {"max_attempts": 3, "delay": "1h"}}}}
    flows.stub("n", calls=failing)
    result = flows.run(retried)
    assert (result.output, result.nodes["n"].attempts, flows.calls("n")) == (3, 3, 3)
    flows.stub("n", "text")
    typed = {"nodes": {"n": {**ONE["nodes"]["n"], "output": {"type": "integer"}}}}
    assert "OutputError" in str(flows.run(typed).error)
    flows.stub("n", {1, 2, object()})
    assert "UnsupportedValueError" in str(flows.run(ONE).error)


def test_what_is_given_to_a_node_is_checked_though_a_stub_takes_none_of_it(flows: Flows) -> None:
    flows.stub("t", "stubbed")
    wrong = {"nodes": {"t": {"uses": "kit_nodes:take", "with": {"number": 1, "wurd": "x"}}}}
    assert "'wurd', which kit_nodes:take does not take" in str(flows.run(wrong).error)
    unbound = {"nodes": {"t": {"uses": "kit_nodes:gather", "with": {}}, "u": ONE["nodes"]["n"]}}
    flows.stub("t", calls=lambda a, b: a)
    assert "BindingError" in str(flows.run(unbound).error)


def test_a_stub_gets_what_the_annotations_of_its_node_make_of_it(flows: Flows) -> None:
    flows.stub("s", calls=lambda order: [type(order), order.id][1] + 1)
    flow: dict[str, Any] = {
        "nodes": {"s": {"uses": "kit_nodes:sell", "with": {"order": {"id": "7"}}}}
    }
    assert flows.run(flow).output == 8
    flow["nodes"]["s"]["with"] = {"order": {"id": "${{ inputs.id }}"}}
    flows.stub("s", "whatever")
    assert "order.id: input should be a valid integer" in str(flows.run(flow, {"id": "x"}).error)

    def typed(n: Order) -> int:
        return n.id

    flows.stub("t", calls=typed)
    flows.stub("n", {"id": 3})
    untyped = {"nodes": {"n": ONE["nodes"]["n"], "t": {"uses": "kit_nodes:gather", "needs": ["n"]}}}
    assert flows.run(untyped).output == 3


def test_a_stub_of_a_mock_records_its_calls(flows: Flows) -> None:
    spy = mock.Mock(return_value="m")
    flows.stub("t", calls=spy)
    assert flows.run(TAKE).output == "m"
    spy.assert_called_once_with(number=1)


def test_a_stub_stands_for_a_function_whose_module_is_not_here(flows: Flows) -> None:
    flow = {"nodes": {"n": {"uses": "kit_absent.ml:embed", "with": {"text": "t"}}}}
    assert "there is no module 'kit_absent'" in str(flows.run(flow).error)
    flows.stub("n", calls=lambda text: text * 2)
    assert flows.run(flow).output == "tt"
    misspelt = {"nodes": {"n": {"uses": "kit_nodes:oen"}}}
    assert "did you mean 'one'" in str(flows.run(misspelt).error)
    refused = {"nodes": {"n": {"uses": "os:system"}}}
    assert "is not allowed" in str(flows.run(refused).error)


def test_built_in_nodes_items_and_the_source_of_a_map_have_stubs(flows: Flows) -> None:
    flow = {
        "nodes": {
            "ask": {"uses": "approval"},
            "m": {"uses": "kit_nodes:later", "for_each": {"uses": "kit_nodes:gather"}},
        }
    }
    flows.stub("ask", {"approved": True})
    flows.stub("m[1]", 100)
    flows.stub("m.for_each", calls=lambda: iter([1, 2, 3]))
    assert flows.run(flow).outputs == {"ask": {"approved": True}, "m": [1, 100, 3]}
    assert (flows.calls("m"), flows.calls("m[1]"), flows.calls("m.for_each")) == (3, 1, 1)


@pytest.mark.parametrize("function", ["one", "pieces", "later", "take"])
def test_faults_and_counts_hold_for_functions_of_every_kind(flows: Flows, function: str) -> None:
    given = {"with": {"number": 1}} if function in {"later", "take"} else {}
    retry = {"retry": {"max_attempts": 2, "delay": 0}}
    flow = {"nodes": {"n": {"uses": f"kit_nodes:{function}", **given, **retry}}}
    flows.fail("n", ConnectionError, times=1)
    result = flows.run(flow)
    assert (result.success, result.nodes["n"].attempts, flows.calls("n")) == (True, 2, 2)


# ── names ───────────────────────────────────────────────────────────────────────────────────────

NESTED: dict[str, Any] = {
    "nodes": {
        "sub": {"uses": "workflow", "flow": {"id": "i", "nodes": {"inner": ONE["nodes"]["n"]}}},
        "both": {"uses": "parallel", "branches": {"left": ONE["nodes"]["n"]}},
    },
    "finally": {"close": ONE["nodes"]["n"]},
}


@pytest.mark.parametrize("say", ["stub", "fail", "delay", "calls"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("inne", "did you mean 'inner'"),
        ("lefd", "did you mean 'left'"),
        ("clos", "did you mean 'close'"),
        ("elsewhere", "nothing of that name ran"),
        ("sub", "runs nodes of its own and calls no function; name one of those: inner"),
        ("both", "runs nodes of its own and calls no function; name one of those: left"),
    ],
)
def test_names_of_no_node_are_refused_with_the_nearest_one(say: str, name: str, told: str) -> None:
    def tell(flows: Flows) -> None:
        more = (1,) if say == "delay" else ()
        getattr(flows, say)(name, *more)

    def after() -> None:
        with Flows() as flows:
            flows.run(NESTED)
            tell(flows)

    def before() -> None:
        with Flows() as flows:
            tell(flows)  # nothing has run yet: nobody knows
            flows.run(NESTED)
            tell(flows)

    for order in (after, before):
        with pytest.raises(UsageError, match=told):
            order()


def test_a_node_that_has_not_run_was_called_never(flows: Flows) -> None:
    run = flows.start({"nodes": {"w": {"uses": "wait", "with": {"for": "1h"}}, **NESTED["nodes"]}})
    assert flows.calls("inner") == 1
    run.cancel()
    late = {"nodes": {"sub": {**NESTED["nodes"]["sub"], "if": "1 == 2"}}}
    flows = Flows()
    assert flows.run(late).success
    assert flows.calls("inner") == 0


def test_a_test_that_fails_hears_of_its_own_failure_only() -> None:
    def fails() -> float:
        with Flows() as flows:
            flows.stub("nosuch")
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        fails()


def test_what_is_no_function_and_no_error_is_refused_at_once(flows: Flows) -> None:
    with pytest.raises(UsageError, match=r"calls= takes a function, got 5; .* stub\('n', value\)"):
        flows.stub("n", calls=5)  # type: ignore[arg-type]
    for odd in ("text", int, 5):
        with pytest.raises(UsageError, match="fails with an exception"):
            flows.fail("n", odd)  # type: ignore[arg-type]
    run = flows.start(TAKE)
    with pytest.raises(UsageError, match="has no node 'tt'; did you mean 't'"):
        run.output("tt")


def test_a_node_may_run_flows_itself_on_this_kit_and_on_another(flows: Flows) -> None:
    inner: dict[str, Any] = {"nodes": {"x": {"uses": "kit_nodes:one"}}}
    for other in (flows, Flows()):
        flows.stub("n", calls=partial(lambda kit: kit.run(inner).output + 1, other))
        assert flows.run(ONE).output == 2


def test_modules_beside_the_file_of_a_flow_are_found_as_on_workers(
    flows: Flows, tmp_path: Path
) -> None:
    (tmp_path / "kit_beside.py").write_text("def f(x: int = 1) -> int: return x + 1\n")
    file = tmp_path / "flow.yaml"
    file.write_text("id: b\nnodes: {a: {uses: 'kit_beside:f'}}\n")
    before = list(sys.path)
    assert flows.run(file).output == 2
    flows.deploy(file)
    assert flows.run({"nodes": {"s": {"uses": "workflow", "flow": "b"}}}).output == 2
    assert sys.path == before
    sys.modules.pop("kit_beside")


# ── patches ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 1, 0, 1)])
def test_a_patch_is_seen_whatever_ran_before_and_no_longer_than_it_lasts(
    kit_nodes: types.ModuleType, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
) -> None:
    kept = Flows()

    def plain() -> None:
        assert kept.run(ONE).output == Flows().run(ONE).output == 1

    def five() -> int:
        return 5

    def patched() -> None:
        with mock.patch("kit_nodes.one", new=five):
            assert kept.run(ONE).output == Flows().run(ONE).output == 5

    def set_() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(kit_nodes, "one", lambda: 6)
            assert kept.run(ONE).output == Flows().run(ONE).output == 6

    for at in order:
        (plain, patched, set_)[at]()
    plain()


@mock.patch("kit_nodes.one", return_value=8)
def test_a_mock_may_be_called_and_tells_how(patched: mock.Mock, flows: Flows) -> None:
    assert flows.run(ONE).output == 8
    patched.assert_called_once_with()


def test_a_mock_with_the_signature_of_its_function_gets_its_arguments(flows: Flows) -> None:
    with mock.patch("kit_nodes.take", autospec=True, return_value="x") as patched:
        assert flows.run(TAKE).output == "x"
    patched.assert_called_once_with(number=1)
    with mock.patch("kit_nodes.later", autospec=True, return_value=9) as patched:
        flow = {"nodes": {"n": {"uses": "kit_nodes:later", "with": {"number": 2}}}}
        assert flows.run(flow).output == 9
    patched.assert_awaited_once_with(number=2)


def test_a_patch_between_two_attempts_and_in_items_is_seen(
    flows: Flows, kit_nodes: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows.fail("n")
    again = {"max_attempts": 2, "delay": "1h", "max_delay": "1h"}
    run = flows.start({"nodes": {"n": {**ONE["nodes"]["n"], "retry": again}}})
    monkeypatch.setattr(kit_nodes, "one", lambda: 2)
    flows.run_out()
    assert run.output("n") == 2
    many = {"nodes": {"m": {"uses": "kit_nodes:later", "for_each": [1, 2]}}}
    assert flows.run(many).output == [1, 2]
    monkeypatch.setattr(kit_nodes, "later", lambda number: number * 3)
    assert flows.run(many).output == [3, 6]


def test_a_patched_fallback_is_seen(flows: Flows) -> None:
    flow = {"nodes": {"n": {**ONE["nodes"]["n"], "fallback": {"uses": "kit_nodes:gather"}}}}
    flow["nodes"]["n"]["with"] = {}
    with mock.patch("kit_nodes.gather", new=lambda error: error["type"]):
        flows.fail("n", KeyError("k"))
        assert flows.run(flow).output == "KeyError"


def test_what_is_no_mock_is_judged_by_where_it_comes_from(flows: Flows) -> None:
    with mock.patch("kit_nodes.one", new=__import__("os").getcwd):
        assert "is not allowed" in str(flows.run(ONE).error)


# ── nothing stays ───────────────────────────────────────────────────────────────────────────────


def test_no_thread_is_left_when_a_call_is_over() -> None:
    before = set(threading.enumerate())
    flows = Flows()
    flow = {
        "nodes": {
            "a": {"uses": "kit_nodes:later", "with": {"number": 1}, "timeout": "9s"},
            "p": {"uses": "kit_nodes:pieces", "timeout": "9s"},
            "m": {"uses": "kit_nodes:later", "for_each": {"uses": "kit_nodes:digits"}},
        }
    }
    assert flows.run(flow).success
    assert set(threading.enumerate()) <= before


async def test_flows_run_inside_an_event_loop_and_nodes_may_start_one(flows: Flows) -> None:
    def own_loop() -> int:
        return asyncio.run(later(4))

    flows.stub("n", calls=own_loop)
    assert flows.run(ONE).output == 4
    run = flows.start({"nodes": {"ask": {"uses": "approval"}}})
    await run.aapprove("ask")
    assert run.result().output == {"approved": True}
    run = flows.start({"nodes": {"ask": {"uses": "approval"}}})
    run.cancel()
    run.resume()
    run.approve()
    assert run.result().success
