"""DEFINE in Python: what the builder writes, and what it refuses."""

import asyncio
import importlib.util
import inspect
import pickle
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.check.check import check
from flowcore.errors import UsageError
from flowcore.graph.builder import FlowBuilder, Group, NodeFunction, Step, node, parallel
from flowcore.graph.load import load_tree
from flowcore.graph.policy import Retry
from flowcore.plan.compile import compile_plan


@node
def fetch(url: str) -> str:
    """Get a page."""
    return url.upper()


@node(retry=Retry(max_attempts=3, delay=2), timeout="30s", queue="gpu", join="all_done")
async def split(text: str, *, size: int = 2) -> list[str]:
    return [text[:size], text[size:]]


@node
def index(text: str) -> None: ...


@node(name="tell", retry={"max_attempts": 2})
def report() -> None: ...


@node
def notify() -> None: ...


def plain(text: str) -> str:
    return text


def _any(value: Any) -> Any:
    """What a type checker would refuse too."""
    return value


def _needs(flow: FlowBuilder) -> dict[str, list[str]]:
    return {id: tree.get("needs", []) for id, tree in flow.definition()["nodes"].items()}


HERE = __name__


def test_a_decorated_function_is_still_the_function() -> None:
    assert fetch("a") == "A"
    assert fetch.__wrapped__("b") == "B"
    assert fetch.__doc__ == "Get a page."
    assert fetch.__name__ == "fetch"
    assert inspect.signature(fetch) == inspect.signature(fetch.__wrapped__)
    assert asyncio.run(split("abc")) == ["ab", "c"]
    assert split.is_async
    assert not fetch.is_async
    assert split.__flowcore__.queue == "gpu"
    assert isinstance(fetch, NodeFunction)


def test_a_decorated_function_pickles_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules.get(HERE) or SimpleNamespace(fetch=fetch))
    assert pickle.loads(pickle.dumps(fetch)) is fetch


def test_a_chain_with_parallel_branches_becomes_needs() -> None:
    with FlowBuilder("rag") as flow:
        fetch >> split >> parallel(index, report) >> notify
    assert flow.definition() == {
        "id": "rag",
        "version": "1",
        "nodes": {
            "fetch": {"uses": f"{HERE}:fetch"},
            "split": {
                "uses": f"{HERE}:split",
                "retry": {"max_attempts": 3, "delay": 2.0},
                "timeout": "30s",
                "queue": "gpu",
                "join": "all_done",
                "needs": ["fetch"],
            },
            "index": {"uses": f"{HERE}:index", "needs": ["split"]},
            "tell": {"uses": f"{HERE}:report", "retry": {"max_attempts": 2}, "needs": ["split"]},
            "notify": {"uses": f"{HERE}:notify", "needs": ["index", "tell"]},
        },
    }


def test_what_the_builder_writes_checks_and_compiles() -> None:
    with FlowBuilder(
        "rag", inputs={"url": {"type": "string"}}, max_parallel=3, timeout="1m"
    ) as flow:
        fetch.step(url="${{ inputs.url }}") >> split >> [index, report] >> notify
        flow.edge(fetch, notify, when="fetch.output != ''")
    plan = compile_plan(check(load_tree(flow.definition()), resolve=False))
    assert plan.ids == ("fetch", "split", "index", "tell", "notify")
    assert plan.pred == ((), (0,), (1,), (1,), (0, 2, 3))
    assert plan.when == {(0, 4): "fetch.output != ''"}
    assert (plan.max_parallel, plan.timeout) == (3, 60.0)


def _written(chain: str) -> dict[str, list[str]]:
    with FlowBuilder("precedence") as flow:
        for id in "abcd":
            flow.add(id, "passthrough")
        eval(chain, {"parallel": parallel, **{id: Step(id, flow) for id in "abcd"}})
    return _needs(flow)


IN_A_ROW = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


@pytest.mark.parametrize(
    "chain",
    [
        "a >> b >> c >> d",
        "a | b | c | d",
        "a >> b | c >> d",
        "a | b >> c | d",
        "a | b >> c >> d",
        "a >> b >> c | d",
        "(a >> b) >> (c >> d)",
        "a >> (b >> (c | d))",
        "[a] >> b >> [c] >> d",
    ],
)
def test_both_operators_mean_after_whatever_binds_tighter(chain: str) -> None:
    assert _written(chain) == IN_A_ROW


@pytest.mark.parametrize(
    "chain",
    [
        "a >> [b, c] >> d",
        "a | (b, c) | d",
        "a >> parallel(b, c) | d",
        "a | parallel(b, c) >> d",
        "a >> parallel(b >> d, c >> d)",
        "[a >> b, a >> c] >> d",
        "parallel(a) >> [b, parallel(c)] >> d",
    ],
)
def test_groups_join_all_of_the_left_to_all_of_the_right(chain: str) -> None:
    assert _written(chain) == DIAMOND


def test_the_bar_is_not_side_by_side() -> None:
    written = _written("a >> b | c")
    assert written["c"] == ["b"], "a >> b | c runs c after b, not beside it"


def test_a_chain_as_a_call_is_the_same_as_with_operators() -> None:
    with FlowBuilder("f") as flow:
        flow.chain(fetch, split, [index, report], notify)
    with FlowBuilder("f") as same:
        fetch >> split >> [index, report] >> notify
    assert flow.definition() == same.definition()
    outside = FlowBuilder("f")
    whole = outside.chain(fetch, parallel(outside.chain(split, index), outside.add("x", "start")))
    outside.chain(whole, notify)
    assert _needs(outside) == {
        "x": ["fetch"],
        "fetch": [],
        "split": ["fetch"],
        "index": ["split"],
        "notify": ["index", "x"],
    }
    with pytest.raises(UsageError, match=r"chain\(\) needs at least one node"):
        outside.chain()


def test_chains_inside_parallel_keep_their_own_order() -> None:
    with FlowBuilder("f") as flow:
        fetch >> parallel(split >> index, report) >> notify
    assert _needs(flow) == {
        "fetch": [],
        "split": ["fetch"],
        "index": ["split"],
        "tell": ["fetch"],
        "notify": ["index", "tell"],
    }


def test_a_bare_function_is_one_node_however_often_it_is_named() -> None:
    with FlowBuilder("f") as flow:
        fetch >> split
        fetch >> index
        flow.edge(split, index)
    assert _needs(flow) == {"fetch": [], "split": ["fetch"], "index": ["fetch", "split"]}


def test_a_step_under_the_functions_own_name_is_what_the_bare_function_means() -> None:
    with FlowBuilder("f") as flow:
        fetch.step(url="x")
        fetch >> index
    assert flow.definition()["nodes"]["fetch"]["with"] == {"url": "x"}
    assert _needs(flow)["index"] == ["fetch"]


def test_one_function_can_be_several_steps() -> None:
    with FlowBuilder("f") as flow:
        both = parallel(fetch.step(id="eu", url="e"), fetch.step(id="us", url="u"))
        both >> index.step(with_={"id": 1, "needs": 2}, text="t")
        flow.add("last", plain, needs=[index, "eu"], retry=Retry(), timeout=3, text="x")
    nodes = flow.definition()["nodes"]
    assert nodes["eu"] == {"uses": f"{HERE}:fetch", "with": {"url": "e"}}
    assert nodes["index"]["with"] == {"id": 1, "needs": 2, "text": "t"}
    assert nodes["index"]["needs"] == ["eu", "us"]
    assert nodes["last"] == {
        "uses": f"{HERE}:plain",
        "with": {"text": "x"},
        "retry": {},
        "timeout": 3,
        "needs": ["index", "eu"],
    }


def test_needs_takes_whatever_operators_take() -> None:
    with FlowBuilder("f") as flow:
        chain = fetch >> split
        flow.add("one", "passthrough", needs=chain)
        flow.add("two", "passthrough", needs=fetch)
        flow.add("three", "passthrough", needs="one")
        flow.add("four", "passthrough", needs=[chain, "two"])
    assert {id: needs for id, needs in _needs(flow).items() if id not in {"fetch", "split"}} == {
        "one": ["split"],
        "two": ["fetch"],
        "three": ["one"],
        "four": ["split", "two"],
    }


def test_an_argument_overrides_the_decorators_policy() -> None:
    with FlowBuilder("f") as flow:
        flow.add(
            "s", split, timeout="1s", queue="cpu", join="any_success", retry={"max_attempts": 1}
        )
    assert flow.definition()["nodes"]["s"] == {
        "uses": f"{HERE}:split",
        "timeout": "1s",
        "queue": "cpu",
        "join": "any_success",
        "retry": {"max_attempts": 1},
    }


def test_a_configured_function_is_another_node_of_the_same_function() -> None:
    patient = fetch.configured(name="patient", timeout="9s", cache="10m", circuit_breaker=5)
    assert patient("x") == fetch("x")
    sturdy = patient.configured(fallback=[plain, {"value": ""}], circuit_breaker={"failures": 2})
    with FlowBuilder("f") as flow:
        fetch >> patient >> sturdy.step("sturdy")
    nodes = flow.definition()["nodes"]
    uses = f"{__name__}:fetch"
    shared = {"uses": uses, "timeout": "9s", "cache": "10m"}
    assert nodes["fetch"] == {"uses": uses}
    assert nodes["patient"] == {**shared, "circuit_breaker": 5, "needs": ["fetch"]}
    chain = [{"uses": f"{__name__}:plain"}, {"value": ""}]
    more = {"circuit_breaker": {"failures": 2}, "fallback": chain, "needs": ["patient"]}
    assert nodes["sturdy"] == {**shared, **more}
    plan = compile_plan(check(load_tree(flow.definition()), resolve=False))
    assert type(plan).from_bytes(plan.to_bytes()) == plan


def test_a_condition_makes_a_need_an_edge() -> None:
    with FlowBuilder("f") as flow:
        fetch >> split
        flow.edge(fetch, split, when="fetch.output == 'x'")
        flow.edge("fetch", "split")
    tree = flow.definition()
    assert "needs" not in tree["nodes"]["split"]
    assert tree["edges"] == [{"from": "fetch", "to": "split", "when": "fetch.output == 'x'"}]


def test_changing_the_definition_does_not_change_the_flow() -> None:
    given: dict[str, Any] = {"deep": [1]}
    with FlowBuilder("f", config={"tools": ["a"]}, description="words") as flow:
        fetch.step(url=given)
    flow.definition()["nodes"]["fetch"]["with"]["url"]["deep"].append(2)
    tree = flow.definition()
    assert tree["nodes"]["fetch"]["with"] == {"url": {"deep": [1]}}
    assert tree["config"] == {"tools": ["a"]}
    assert tree["description"] == "words"


def test_short_forms_of_the_config_go_where_they_belong() -> None:
    flow = FlowBuilder(
        "f", config={"execution": {"fail_fast": False}}, max_parallel=2, timeout="5m"
    )
    assert flow.definition()["config"] == {
        "execution": {"fail_fast": False, "max_parallel_nodes": 2, "timeout_seconds": "5m"}
    }
    with pytest.raises(UsageError, match="'max_parallel' is given twice"):
        FlowBuilder("f", config={"backend_config": {"max_parallel": 1}}, max_parallel=2)


@pytest.mark.parametrize(
    "chain",
    [
        "fetch >> split",
        "fetch | split",
        "parallel(fetch, split)",
        "fetch.step()",
        "[fetch] >> split",
    ],
)
def test_operators_outside_of_a_flow_say_where_to_put_them(chain: str) -> None:
    with pytest.raises(UsageError, match=r"outside of a flow; put the chain inside 'with Flow"):
        eval(chain)


def test_a_flow_is_closed_even_when_its_block_fails() -> None:
    with pytest.raises(RuntimeError), FlowBuilder("f"):
        raise RuntimeError
    with pytest.raises(UsageError, match="outside of a flow"):
        fetch >> split


def test_an_inner_flow_hides_the_outer_one_while_it_is_open() -> None:
    with FlowBuilder("outer") as outer:
        with FlowBuilder("inner") as inner:
            fetch >> split
        fetch >> index
    assert set(inner.definition()["nodes"]) == {"fetch", "split"}
    assert set(outer.definition()["nodes"]) == {"fetch", "index"}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            lambda flow: flow.add("fetch", fetch) and flow.add("fetch", fetch),
            "has a node 'fetch' already",
        ),
        (lambda flow: flow.add("split", fetch) and fetch >> split, "has a node 'split' already"),
        (lambda flow: fetch >> fetch, "cannot run after itself; .* fetch.step\\(id='fetch2'\\)"),
        (lambda flow: fetch >> _any(plain), "'plain' is a plain function; decorate it with @node"),
        (lambda flow: fetch >> _any("split"), "'>>' joins nodes, not str"),
        (lambda flow: fetch >> _any(3), "'>>' joins nodes, not int"),
        (lambda flow: fetch >> _any({"a": 1}), "'>>' joins nodes, not dict"),
        (lambda flow: fetch >> [], "a list beside '>>' needs at least one node"),
        (lambda flow: parallel(), "parallel\\(\\) needs at least one node"),
        (lambda flow: flow.edge(fetch, "nowhere"), "has no node 'nowhere'; add it"),
        (
            lambda flow: flow.edge(fetch, FlowBuilder("g").add("x", "start")),
            "is not a node of flow 'f'",
        ),
        (
            lambda flow: flow.add("a", "passthrough", needs=_any(plain)),
            "plain at .* is not a node of flow 'f'",
        ),
        (lambda flow: fetch.step(url=split), "argument 'url' of node 'fetch' is a node; .* output"),
        (lambda flow: flow.add("a", lambda: 1), "a lambda has no name .* 'def'"),
        (
            lambda flow: flow.add("a", SimpleNamespace(work=1).__repr__),
            "top level of (a|its) module",
        ),
        (lambda flow: flow.add("a", _any(object())), "this is an object of the class 'object'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_name_the_way_out(mistake: Any, message: str) -> None:
    with FlowBuilder("f") as flow, pytest.raises(UsageError, match=message):
        mistake(flow)


def test_a_second_condition_on_one_edge_is_refused() -> None:
    with FlowBuilder("f") as flow:
        fetch >> split
        flow.edge(fetch, split, when="true")
        with pytest.raises(UsageError, match="has a condition already"):
            flow.edge(fetch, split, when="false")


def test_a_nested_function_is_refused_with_the_way_out() -> None:
    def inner() -> None: ...

    with (
        FlowBuilder("f") as flow,
        pytest.raises(UsageError, match=r"'inner' is defined inside .* move it to the top level"),
    ):
        flow.add("a", inner)


def test_a_name_that_means_something_else_by_now_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("acme_shadow")
    monkeypatch.setitem(sys.modules, "acme_shadow", module)
    exec("def step(): return 1", module.__dict__)
    first = module.step
    exec("def step(): return 2", module.__dict__)
    with FlowBuilder("f") as flow:
        with pytest.raises(UsageError, match="acme_shadow:step, which is something else by now"):
            flow.add("a", first)
        assert flow.add("b", module.step).id == "b"


class TestMain:
    """The address of a function in the program's main module."""

    @pytest.fixture
    def main(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec("def work(): ...", module.__dict__)
        return module

    def _uses(self, main: ModuleType) -> Any:
        flow = FlowBuilder("f")
        flow.add("a", main.work)
        return flow.definition()["nodes"]["a"]["uses"]

    def test_python_dash_m_gives_the_modules_name(self, main: ModuleType) -> None:
        main.__spec__ = importlib.util.spec_from_loader("acme.flows", loader=None)
        assert self._uses(main) == "acme.flows:work"

    def test_a_script_is_named_after_its_file(
        self, main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        main.__file__ = str(tmp_path / "flows.py")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        assert self._uses(main) == "flows:work"

    def test_a_script_elsewhere_is_refused(self, main: ModuleType, tmp_path: Path) -> None:
        main.__file__ = str(tmp_path / "flows.py")
        with pytest.raises(UsageError, match=r"flows.py, which runs as a script .*'python -m'"):
            self._uses(main)

    def test_a_script_that_is_no_identifier_is_refused(
        self, main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        main.__file__ = str(tmp_path / "my-flows.py")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        with pytest.raises(UsageError, match=r"my-flows.py, which runs as a script"):
            self._uses(main)

    def test_an_interactive_session_is_refused(self, main: ModuleType) -> None:
        with pytest.raises(UsageError, match="interactive session"):
            self._uses(main)


def test_threads_build_their_own_flows() -> None:
    barrier = threading.Barrier(4)
    built: dict[int, set[str]] = {}

    def build(number: int) -> None:
        with FlowBuilder(f"f{number}") as flow:
            barrier.wait()
            fetch.step(id=f"x{number}") >> split.step(id=f"y{number}")
            barrier.wait()
        built[number] = set(flow.definition()["nodes"])

    threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == {number: {f"x{number}", f"y{number}"} for number in range(4)}


async def _build(number: int) -> set[str]:
    with FlowBuilder(f"f{number}") as flow:
        await asyncio.sleep(0)
        fetch.step(id=f"x{number}") >> split.step(id=f"y{number}")
        await asyncio.sleep(0)
    return set(flow.definition()["nodes"])


def test_asyncio_tasks_build_their_own_flows() -> None:
    async def main() -> list[set[str]]:
        return await asyncio.gather(*(_build(number) for number in range(4)))

    assert asyncio.run(main()) == [{f"x{number}", f"y{number}"} for number in range(4)]


@given(
    st.lists(
        st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), min_size=1, max_size=5
    )
)
def test_a_chain_of_groups_joins_each_to_the_next_only(layers: list[list[int]]) -> None:
    flow = FlowBuilder("f")
    groups = [
        parallel(*(flow.add(f"n{at}_{number}", "passthrough") for number in layer))
        for at, layer in enumerate(layers)
    ]
    chain: Group = groups[0]
    for group in groups[1:]:
        chain = chain >> group
    needs = _needs(flow)
    for at, layer in enumerate(layers):
        before = [f"n{at - 1}_{number}" for number in layers[at - 1]] if at else []
        assert all(needs[f"n{at}_{number}"] == before for number in layer)
