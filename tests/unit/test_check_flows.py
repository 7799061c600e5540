"""Right definitions become checked flows, in canonical order, whatever their spelling."""

import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.check.check import CheckedFlow, check
from flowcore.check.diagnostic import InvalidFlowError
from flowcore.graph.load import load_text, load_tree

P = {"uses": "passthrough"}


def _check(tree: object) -> CheckedFlow:
    return check(load_tree(tree))


DIAMOND: list[dict[str, Any]] = [
    {
        "nodes": {
            "d": P | {"needs": ["b", "c"]},
            "b": P | {"needs": ["a"]},
            "a": P,
            "c": P | {"needs": ["a"]},
        }
    },
    {
        "nodes": [{"id": key, **P} for key in "dbac"],
        "edges": [
            {"from": "a", "to": "b"},
            {"source": "a", "target": "c"},
            {"from": "b", "target": "d"},
            ["c", "d"],
        ],
    },
    {
        "nodes": {"d": P | {"needs": ["b", "b"]}, "b": P, "a": P, "c": P | {"needs": ["a"]}},
        "edges": [["a", "b"], ["a", "c"], {"from": "c", "source": "c", "to": "d"}, ["b", "d"]],
    },
]


@pytest.mark.parametrize("tree", DIAMOND, ids=["needs", "edges", "both"])
def test_needs_and_edges_are_the_same_thing(tree: dict[str, Any]) -> None:
    flow = _check(tree)
    assert flow.order == ("a", "b", "c", "d")
    assert flow.needs == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    assert flow.when == {}


def test_the_order_is_by_layer_then_by_author() -> None:
    nodes = {"z": P, "deep": P | {"needs": ["y"]}, "y": P | {"needs": ["z"]}, "m": P, "a": P}
    assert _check({"nodes": nodes}).order == ("z", "m", "a", "y", "deep")


def test_conditions_are_kept_by_pair() -> None:
    edges = [{"from": "a", "to": "b", "when": "a.output.ok && inputs.go"}]
    flow = _check({"nodes": {"a": P, "b": P | {"needs": ["a"]}}, "edges": edges})
    assert flow.when == {("a", "b"): "a.output.ok && inputs.go"}
    assert flow.needs["b"] == ("a",)


def test_the_example_of_the_documentation_is_accepted() -> None:
    flow = check(
        load_text(
            """
            # yaml-language-server: $schema=./flowcore.schema.json
            id: rag-ingest
            version: "1"
            inputs: {url: {type: string}}
            nodes:
              fetch:  {uses: acme.web:fetch, with: {url: "${{ inputs.url }}"}, timeout: 30s,
                       retry: {max_attempts: 4, backoff: exponential, delay: 1s, max_delay: 60s,
                               jitter: true, retry_on: [TimeoutError]}}
              split:  {uses: acme.text:split, needs: [fetch]}
              embed:  {uses: acme.ml:embed, needs: [split], queue: gpu}
              index:  {uses: acme.db:index, needs: [embed], join: all_done}
            edges: [{from: fetch, to: index, when: "fetch.output.ok"}, [split, index]]
            config:
              backend: native
              backend_config: {max_parallel: 10, timeout: 300, retry_strategy: exponential}
              execution: {max_parallel_nodes: 10, timeout_seconds: 300, retry_failed_nodes: true,
                          enable_checkpoints: true}
              memory: {type: conversation, max_messages: 100}
              streaming: {enabled: true, buffer_size: 100}
              llm: {model: gpt-4, temperature: 0.7}
              tools: [search, calculator]
              agents: [{role: researcher, goal: find information}]
              process: sequential
            """
        ),
        resolve=False,
    )
    assert flow.definition.config.max_parallel == 10
    assert flow.definition.config.timeout == 300
    assert flow.definition.nodes["fetch"].timeout == 30


SEED_CONFIGS: list[dict[str, Any]] = [
    {
        "backend": "native",
        "execution": {
            "max_parallel_nodes": 10,
            "timeout_seconds": 300,
            "retry_failed_nodes": True,
            "enable_checkpoints": True,
        },
        "memory": {"type": "conversation", "max_messages": 100},
        "streaming": {"enabled": True, "buffer_size": 100},
    },
    {
        "backend": "langgraph",
        "llm": {"model": "gpt-4", "temperature": 0.7},
        "tools": ["search", "calculator"],
        "memory": "conversation_buffer",
    },
    {
        "backend": "crewai",
        "agents": [
            {"role": "researcher", "goal": "find information"},
            {"role": "writer", "goal": "create content"},
        ],
        "process": "sequential",
    },
    {
        "backend": "native",
        "backend_config": {"max_parallel": 10, "timeout": 300, "retry_strategy": "exponential"},
    },
]


@pytest.mark.parametrize("config", SEED_CONFIGS)
def test_configs_of_the_seed_page_work_as_a_block_and_at_the_top(config: dict[str, Any]) -> None:
    block = _check({"nodes": {"a": P}, "config": config})
    top = _check({"nodes": [{"id": "a", **P}], "edges": [], **config})
    assert block.definition.config == top.definition.config
    assert block.definition.hash == top.definition.hash


@pytest.mark.parametrize("key", ["max_parallel", "max_parallel_nodes"])
def test_either_spelling_of_a_setting_works(key: str) -> None:
    for block in ("backend_config", "execution"):
        flow = _check({"nodes": {"a": P}, "config": {block: {key: 7}}})
        assert flow.definition.config.max_parallel == 7


def test_an_expression_may_read_any_ancestor() -> None:
    flow = _check(
        {
            "nodes": {
                "my-start": P,
                "b": P | {"needs": ["my-start"]},
                "c": P | {"needs": ["b"], "with": {"x": ['${{ nodes["my-start"].output }}']}},
            },
            "edges": [{"from": "b", "to": "c", "when": "nodes['my-start'].output == b.output"}],
        }
    )
    assert flow.order[-1] == "c"


def test_branches_know_the_items_and_states_of_their_own_and_of_what_is_around_them() -> None:
    item, state = {"v": "${{ item }}"}, {"v": "${{ state }}"}
    branches = {
        "m": {"uses": "passthrough", "for_each": "${{ [1] }}", "with": item},
        "l": {"uses": "passthrough", "until": "iteration > 1 && output.v > 1", "with": state},
        "p": {"uses": "parallel", "branches": {"x": {"uses": "passthrough", "with": item}}},
    }
    node = {"uses": "parallel", "for_each": "${{ [2] }}", "branches": branches}
    _check({"nodes": {"p": node}})
    with pytest.raises(InvalidFlowError, match="node 'item' is not defined"):
        _check({"nodes": {"p": {**node, "for_each": None}}})


def test_without_resolving_no_module_is_imported() -> None:
    tree = {"nodes": {"a": {"uses": "not_there:f"}}}
    assert check(load_tree(tree), resolve=False).order == ("a",)
    with pytest.raises(InvalidFlowError, match="there is no module 'not_there'"):
        check(load_tree(tree))


def test_allowed_modules_are_passed_on() -> None:
    tree = {"nodes": {"a": {"uses": "math:sqrt", "with": {"x": 4}}}}
    assert check(load_tree(tree), allowed=frozenset({"math"})).order == ("a",)
    with pytest.raises(InvalidFlowError, match="FC221"):
        check(load_tree(tree))


# ── Size ────────────────────────────────────────────────────────────────────────────────────────


def _chain(count: int) -> dict[str, Any]:
    nodes = {
        f"n{i}": P
        | ({"needs": [f"n{i - 1}"], "with": {"x": f"${{{{ n{i // 2}.output }}}}"}} if i else {})
        for i in range(count)
    }
    return {"nodes": nodes}


def _wheel(count: int) -> dict[str, Any]:
    spokes = [f"n{i}" for i in range(count - 1)]
    return {"nodes": {**dict.fromkeys(spokes, P), "hub": P | {"needs": spokes}}}


@pytest.mark.parametrize("shape", [_chain, _wheel])
def test_time_grows_with_the_size_of_a_flow(shape: Any) -> None:
    seconds = []
    for count in (2_000, 16_000):
        document = load_tree(shape(count))
        began = time.process_time()
        check(document)
        seconds.append(time.process_time() - began)
    assert seconds[1] < seconds[0] * 8 * 3 + 0.5


def test_a_flow_may_have_a_hundred_thousand_nodes_and_no_more() -> None:
    assert len(_check({"nodes": {f"n{i}": P for i in range(100_000)}}).order) == 100_000
    with pytest.raises(InvalidFlowError, match="100,001 nodes; a flow may have 100,000"):
        _check({"nodes": {f"n{i}": P for i in range(100_001)}})


def test_a_thousand_misspelt_names_are_reported_in_time() -> None:
    nodes = {f"node_{i}": P | {"needs": [f"nodee_{i}"]} for i in range(5_000)}
    began = time.process_time()
    with pytest.raises(InvalidFlowError) as error:
        _check({"nodes": nodes})
    assert len(error.value.diagnostics) == 5_000
    assert time.process_time() - began < 10


# ── Random definitions ──────────────────────────────────────────────────────────────────────────

KEYS = st.sampled_from(
    [
        "id",
        "version",
        "inputs",
        "nodes",
        "edges",
        "config",
        "uses",
        "with",
        "needs",
        "retry",
        "timeout",
        "queue",
        "join",
        "when",
        "from",
        "to",
        "source",
        "target",
        "backend",
        "execution",
        "memory",
        "max_parallel",
        "a",
        "b",
        "c",
    ]
)
SCALARS = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "passthrough",
        "start",
        "x:y",
        "30s",
        "${{ a.output }}",
        "${{",
        "",
        0,
        1,
        -1,
        2.5,
        True,
        None,
    ]
)
TREES = st.recursive(
    SCALARS | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)
NODES = st.dictionaries(
    st.sampled_from("abcde"),
    st.fixed_dictionaries(
        {"uses": st.just("passthrough")},
        optional={
            "needs": st.lists(st.sampled_from("abcdex"), max_size=3),
            "with": st.just({"v": "${{ a.output }}"}) | TREES,
            "retry": TREES,
            "join": SCALARS,
        },
    )
    | TREES,
    max_size=5,
)
FLOWS = TREES | st.fixed_dictionaries(
    {"nodes": NODES},
    optional={
        "edges": st.lists(
            st.lists(st.sampled_from("abcdex"), min_size=2, max_size=2) | TREES, max_size=3
        ),
        "config": TREES,
        "execution": TREES,
        "memory": TREES,
    },
)


def _try(tree: object) -> CheckedFlow | InvalidFlowError:
    try:
        return _check(tree)
    except InvalidFlowError as error:
        return error


@given(FLOWS)
@settings(max_examples=600, deadline=None)
def test_any_tree_gives_a_flow_or_its_problems(tree: object) -> None:
    found = _try(tree)
    if isinstance(found, InvalidFlowError):
        assert len(found.problems) == len(found.diagnostics) > 0
        assert not [text for text in found.problems if "Input should" in text]
        return
    places = {key: index for index, key in enumerate(found.order)}
    assert all(places[need] < places[key] for key in found.order for need in found.needs[key])


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_any_acyclic_graph_is_ordered_and_one_back_edge_is_a_cycle(seed: int, count: int) -> None:
    rng = random.Random(seed)
    names = [f"n{i}" for i in range(count)]
    edges = [
        [names[a], names[b]]
        for b in range(1, count)
        for a in rng.sample(range(b), min(b, rng.randrange(3)))
    ]
    shuffled = rng.sample(names, count)
    tree: dict[str, Any] = {"nodes": dict.fromkeys(shuffled, P), "edges": edges}
    flow = _check(tree)
    level: dict[str, int] = {}
    for key in flow.order:
        level[key] = 1 + max((level[need] for need in flow.needs[key]), default=-1)
    assert list(flow.order) == sorted(shuffled, key=level.__getitem__)
    if edges:
        tree["edges"] = [*edges, edges[0][::-1]]
        with pytest.raises(InvalidFlowError, match="FC208"):
            _check(tree)
