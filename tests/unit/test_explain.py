"""Pictures of plans: readable, well-formed, and safe whatever `uses` and conditions hold."""

import random
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.plan.explain import dot, mermaid, svg, text
from flowcore.plan.explain.layout import arrange
from flowcore.plan.plan import Plan, layers, successors
from flowcore.plan.policy import Policy

RENDERERS = (text.render, mermaid.render, dot.render, svg.render)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "</text><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "]]>&amp;<!--",
    '"] ; click n0 "javascript:alert(1)" %%{init: {}}%%',
    '"]; n0 -> n1 [URL="javascript:1"]; "',
    '\\N \\" \\',
    "line\nbreak\ttab\rreturn",
    "\x00\x1b[31mred\x1b[0m\x07",
    "\ud800 lone surrogate",
    "\u202eright to left\u2066",
    "ünïcödé → 漢字 🎉",
)  # fmt: skip


def _plan(
    graph: Mapping[str, Sequence[str]],
    *,
    when: Mapping[tuple[str, str], str] | None = None,
    policies: Mapping[str, Policy] | None = None,
    flow: str = "rag",
) -> Plan:
    """Compile by hand; ids stand in topological order already."""
    level: dict[str, int] = {}
    for id, before in graph.items():
        level[id] = max((level[source] + 1 for source in before), default=0)
    ids = sorted(graph, key=level.__getitem__)
    number = {id: at for at, id in enumerate(ids)}
    pred = tuple(tuple(sorted(number[source] for source in graph[id])) for id in ids)
    return Plan(
        hash="",
        flow=flow,
        version="1",
        ids=tuple(ids),
        params=({},) * len(ids),
        policies=tuple((policies or {}).get(id, Policy(uses=f"acme:{id}")) for id in ids),
        policy_of=tuple(range(len(ids))),
        pred=pred,
        succ=successors(pred),
        when={(number[a], number[b]): text for (a, b), text in (when or {}).items()},
        levels=layers(pred),
        inputs={},
    )


DIAMOND = _plan(
    {"fetch": [], "left": ["fetch"], "right": ["fetch"], "join": ["left", "right"]},
    when={("fetch", "right"): "fetch.output > 1"},
    policies={"join": Policy(uses="acme:join", join="all_done", timeout=30.0, queue="gpu")},
)


def test_a_small_plan_is_drawn_with_boxes() -> None:
    assert (
        text.render(DIAMOND)
        == """\
rag  version 1: 4 nodes, 4 edges, 3 layers

     +-------+
     | fetch |
     +-------+
         |
    +----+----+
    v         v
+------+  +-------+
| left |  | right |
+------+  +-------+
    |         |
    +----+----+
         v
     +------+
     | join |
     +------+

fetch  acme:fetch
left   acme:left  <- fetch
right  acme:right  <- fetch
join   acme:join  join=all_done  timeout=30.00 s  queue=gpu  <- left, right

fetch -> right  when fetch.output > 1
"""
    )


def test_a_plan_whose_lines_would_run_into_one_another_is_listed() -> None:
    crossed = _plan(
        {"a": [], "b": [], "c": [], "x": ["a", "b", "c"], "y": ["a", "b", "c"], "z": ["a", "c"]}
    )
    rendered = text.render(crossed)
    assert "layer 1\n  x  acme:x  <- a, b, c\n" in rendered
    assert "+--" not in rendered


def test_layers_that_are_joined_all_to_all_share_one_line() -> None:
    drawn = text.render(_plan({"a": [], "b": [], "x": ["a", "b"], "y": ["a", "b"]}))
    assert "\n  |     |\n  +-----+\n  v     v\n" in drawn


def test_a_plan_too_wide_for_a_terminal_is_listed() -> None:
    wide = _plan({"a": [], **{f"a-rather-long-name-{number}": ["a"] for number in range(9)}})
    assert "layer 1\n  a-rather-long-name-0  acme:" in text.render(wide)


def test_a_large_plan_is_summed_up_by_layer() -> None:
    graph: dict[str, list[str]] = {"start": []}
    graph |= {f"n{number}": ["start"] for number in range(5_000)}
    graph["end"] = [f"n{number}" for number in range(5_000)]
    policies = {f"n{number}": Policy(uses=f"acme:f{number % 5}") for number in range(5_000)}
    assert (
        text.render(_plan(graph, policies=policies))
        == """\
rag  version 1: 5002 nodes, 10000 edges, 3 layers

layer   nodes   edges in   runs
    0       1          0   acme:start x1
    1    5000       5000   acme:f0 x1000, acme:f1 x1000, acme:f2 x1000, 2 more
    2       1       5000   acme:end x1
"""
    )


def test_a_very_deep_plan_is_cut_and_says_so() -> None:
    graph = {f"n{number}": [f"n{number - 1}"] if number else [] for number in range(1_000)}
    assert text.render(_plan(graph)).endswith("  ...   800 more layers\n")


def test_mermaid_names_nodes_by_number() -> None:
    assert (
        mermaid.render(DIAMOND)
        == """\
flowchart LR
    n0["fetch<br/>acme:fetch"]
    n1["left<br/>acme:left"]
    n2["right<br/>acme:right"]
    n3["join<br/>acme:join"]
    n0 --> n1
    n0 -. "fetch.output #62; 1" .-> n2
    n1 --> n3
    n2 --> n3
"""
    )


def test_dot_names_nodes_by_number() -> None:
    rendered = dot.render(DIAMOND)
    assert '    n0 [label="fetch\\nacme:fetch"];' in rendered
    assert '    n0 -> n2 [style=dashed, label="fetch.output > 1"];' in rendered
    assert rendered.startswith('digraph "rag" {\n')


def test_svg_shows_every_node_edge_and_condition() -> None:
    root = ET.fromstring(svg.render(DIAMOND))
    assert root.get("viewBox")
    nodes = [g for g in root.iter(f"{SVG}g") if "node" in g.get("class", "").split()]
    assert [node.get("data-node") for node in nodes] == ["fetch", "left", "right", "join"]
    edges = [p for p in root.iter(f"{SVG}path") if "edge" in p.get("class", "").split()]
    assert {(edge.get("data-from"), edge.get("data-to")) for edge in edges} == {
        ("fetch", "left"), ("fetch", "right"), ("left", "join"), ("right", "join"),
    }  # fmt: skip
    assert [edge.findtext(f"{SVG}title") for edge in edges if len(edge)] == ["fetch.output > 1"]


def test_svg_carries_states_as_classes_and_both_palettes() -> None:
    rendered = svg.render(DIAMOND, states={"left": "running", "fetch": "succeeded"})
    assert '<g class="node running" data-node="left">' in rendered
    assert '<g class="node succeeded" data-node="fetch">' in rendered
    assert '<g class="node pending" data-node="join">' in rendered
    assert "@media (prefers-color-scheme:dark)" in rendered
    assert "<style" not in svg.render(DIAMOND, style=False)


def test_svg_needs_nothing_from_outside() -> None:
    rendered = svg.render(DIAMOND)
    assert "<script" not in rendered
    assert "href" not in rendered
    assert "url(" not in rendered
    assert re.findall(r"https?://[^\"' ]+", rendered) == ["http://www.w3.org/2000/svg"]


def _hostile(words: str) -> Plan:
    return _plan(
        {"a": [], "b": ["a"]},
        when={("a", "b"): words},
        policies={"a": Policy(uses=words), "b": Policy(uses=f"x:{words}", queue=words)},
        flow=words,
    )


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_svg_stays_one_harmless_document(words: str) -> None:
    rendered = svg.render(_hostile(words), states={"a": words})
    root = ET.fromstring(rendered)
    allowed = {"svg", "title", "style", "rect", "g", "text", "tspan", "path", "circle"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    assert not [k for element in root.iter() for k in element.attrib if k.startswith("on")]
    rendered.encode()


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_mermaid_labels_hold_only_plain_characters(words: str) -> None:
    lines = mermaid.render(_hostile(words)).splitlines()
    assert len(lines) == 4
    plain = r"[A-Za-z0-9 _.:,/+=\-()?!#;]*"
    assert re.fullmatch(rf'    n0\["a<br/>{plain}"\]', lines[1])
    assert re.fullmatch(rf'    n0 -\. "{plain}" \.-> n1', lines[3])


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_dot_strings_stay_closed(words: str) -> None:
    lines = dot.render(_hostile(words)).splitlines()
    assert len(lines) == 7
    string = r'"(?:[^"\\]|\\.)*"'
    assert re.fullmatch(rf"    n0 \[label={string}\];", lines[3])
    assert re.fullmatch(rf"    n0 -> n1 \[style=dashed, label={string}\];", lines[5])


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_text_is_printable_ascii(words: str) -> None:
    rendered = text.render(_hostile(words))
    assert rendered.isascii()
    assert all(line.isprintable() for line in rendered.split("\n"))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(0, 24))
    words = st.text(
        st.characters(codec="utf-8") | st.sampled_from('<>&"\\\n\x1b\ud800'), max_size=12
    )
    name = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
    ids = draw(st.lists(name, min_size=size, max_size=size, unique=True))
    graph = {
        id: draw(st.lists(st.sampled_from(ids[:at]), max_size=3, unique=True)) if at else []
        for at, id in enumerate(ids)
    }
    edges = [(source, target) for target, before in graph.items() for source in before]
    return _plan(
        graph,
        when={edge: draw(words) for edge in edges[:3]},
        policies={id: Policy(uses=draw(words) or "x") for id in ids[:3]},
    )


@pytest.mark.parametrize("render", RENDERERS, ids=lambda render: render.__module__.split(".")[-1])
@given(plan=plans())
def test_renderers_never_crash(render: Callable[[Plan], str], plan: Plan) -> None:
    rendered = render(plan)
    assert rendered == render(plan), "the same plan gives the same picture"
    assert rendered.endswith("\n")
    rendered.encode()


@given(plan=plans())
def test_svg_is_always_well_formed(plan: Plan) -> None:
    ET.fromstring(svg.render(plan))


@given(plan=plans())
def test_a_layout_never_puts_two_points_on_one_place(plan: Plan) -> None:
    layout = arrange(plan)
    assert sorted(p for column in layout.columns for p in column) == list(
        range(len(layout.position))
    )
    for column in layout.columns:
        places = [layout.position[point] for point in column]
        assert all(b - a > 1 - 1e-6 for a, b in pairwise(places))
    assert len(layout.paths) == sum(map(len, plan.pred))


def _grid(size: int, nearest: int) -> Plan:
    rng = random.Random(1)
    return _plan({
        f"n{at}": [f"n{s}" for s in rng.sample(range(max(0, at - nearest), at), min(at, 3))]
        for at in range(size)
    })  # fmt: skip


@pytest.mark.parametrize("nearest", [40, 1_000])
def test_a_thousand_nodes_are_laid_out_well_under_a_second(nearest: int) -> None:
    plan = _grid(1_000, nearest)
    start = time.process_time()
    svg.render(plan)
    used = time.process_time() - start
    assert used < 1.0, f"{used:.2f} s"
