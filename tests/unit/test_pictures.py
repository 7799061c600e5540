"""SVG pictures: labels that can be read, kinds and states that are marked, a bounded size."""

import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from flowcore.errors import UsageError
from flowcore.nodes.arguments.registry import ARGUMENTS
from flowcore.plan.explain import dot, mermaid, svg
from flowcore.plan.explain.bundles import bundled
from flowcore.plan.explain.kinds import KINDS, kind_of
from flowcore.plan.explain.layout import arrange
from flowcore.plan.explain.lettering import columns, plain, shorten, shorten_middle, wrap
from flowcore.plan.explain.palette import _DARK, _LIGHT, MARKS
from flowcore.plan.plan import Plan
from flowcore.plan.policy import BodyKind, Policy, StructuredSpec
from flowcore.run.status import NodeState
from scripts.pictures import PICTURES, draw
from tests.unit.test_explain import SVG, _plan

ROOT = Path(__file__).parent.parent.parent

Box = tuple[float, float, float, float]


def test_the_pictures_of_the_docs_are_up_to_date() -> None:
    for name in PICTURES:
        words = f"{name} is old: make pictures"
        assert (ROOT / "docs" / "img" / name).read_text("utf-8") == draw(name), words
    first_screen = (ROOT / "README.md").read_text("utf-8").splitlines()[:10]
    assert any("(docs/img/quickstart.svg)" in line for line in first_screen)


@pytest.mark.parametrize("state", NodeState)
def test_every_state_has_colours_in_both_palettes_and_a_mark(state: NodeState) -> None:
    rendered = svg.render(_plan({"a": []}), states={"a": state.value})
    assert f'<g class="node {state.value}" data-node="a">' in rendered
    assert rendered.count(f'd="{MARKS[state]}"') == 2, "at the node, and in the legend"
    assert rendered.count(f".flow .{state.value} .box{{") >= 2
    assert f">{state.value}</text>" in rendered
    assert f"\n{state.value}</title>" in rendered


def test_states_differ_without_their_colours() -> None:
    assert len(set(MARKS.values())) == len(NodeState)


def test_a_flow_that_is_no_run_has_no_marks_of_states() -> None:
    assert "<circle" not in svg.render(_plan({"a": []}))


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [_LIGHT, _DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(palette: object) -> None:
    (page, ink, dim, line, (ground, word)), boxes = _LIGHT if palette is _LIGHT else _DARK
    assert _contrast(ink, page) >= 7
    assert _contrast(dim, page) >= 4.5
    assert _contrast(ground, word) >= 4.5
    assert _contrast(line, page) >= 2
    assert set(boxes) == {"node", *NodeState}
    for state, (rim, fill) in boxes.items():
        assert _contrast(ink, fill) >= 7, state
        assert _contrast(dim, fill) >= 4.5, state
        assert _contrast(rim, page) >= (2 if state in {"node", "pending", "skipped"} else 3), state


BODIES: dict[BodyKind, str] = {
    "map": "for_each",
    "loop": "loop",
    "parallel": "parallel",
    "flow": "sub-flow",
    "epilogue": "closing",
}


def test_every_type_of_node_has_a_kind_that_all_pictures_name() -> None:
    words = {uses: kind_of(Policy(uses=uses)) for uses in (*ARGUMENTS, "celery:shop.pay")}
    assert all(words.values()), words
    for body, word in BODIES.items():
        policy = Policy(
            uses="acme:f", body=StructuredSpec(kind=body, inner=(Policy(uses="acme:f"),))
        )
        assert kind_of(policy) == word
        plan = _plan({"a": []}, policies={"a": policy})
        assert svg.render(plan).count(f">{word}</text>") == 2, "on the box, and in the legend"
        assert KINDS[word] in svg.render(plan)
        assert f"<br/>{word}" in mermaid.render(plan)
        assert f"\\n{word}" in dot.render(plan)
    assert kind_of(Policy(uses="acme:http")) == ""


def _boxes(root: ET.Element) -> list[Box]:
    found = []
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class") == "box":
            x, y, wide, high = (float(rect.get(k, "0")) for k in ("x", "y", "width", "height"))
            found.append((x, y, x + wide, y + high))
    return found


def _labels(root: ET.Element) -> list[Box]:
    return [
        (
            float(span.get("x", "0")) - columns(span.text or "") * 6.0,
            float(span.get("y", "0")) - 9,
            float(span.get("x", "0")),
            float(span.get("y", "0")) + 3,
        )
        for span in root.iter(f"{SVG}tspan")
    ]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(30))
def test_conditions_lie_over_no_box_and_over_no_other_condition(seed: int) -> None:
    rng = random.Random(seed)
    graph = {
        f"n{at}": [f"n{s}" for s in rng.sample(range(at), min(at, rng.randint(0, 3)))]
        for at in range(rng.randint(2, 20))
    }
    words = ["inputs.a == 1", "x" * 70, "漢字 == 漢字 && true", "size(inputs.lines) > 3 || " * 4]
    when = {(source, id): rng.choice(words)
            for id, before in graph.items() for source in before if rng.random() < 0.7}  # fmt: skip
    root = ET.fromstring(svg.render(_plan(graph, when=when)))
    boxes, labels = _boxes(root), _labels(root)
    high, wide = float(root.get("height", "0")), float(root.get("width", "0"))
    assert len(boxes) == len(graph)
    for at, label in enumerate(labels):
        assert not any(_overlap(label, box) for box in boxes), label
        assert not any(_overlap(label, other) for other in labels[:at]), label
        assert label[0] >= 0
        assert label[1] >= 0
        assert label[2] <= wide
        assert label[3] <= high
    titles = [text.findtext(f"{SVG}title") for text in root.iter(f"{SVG}text")
              if text.get("class") == "when"]  # fmt: skip
    said = "\n".join(filter(None, titles)).split("\n")
    assert sorted(said) == sorted(when.values()), "each is there as a whole, when one points at it"


def test_text_is_cut_and_wrapped_by_its_width() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"
    assert columns(shorten("漢" * 30, 20)) <= 20
    assert shorten_middle("abc", 3) == "abc"
    assert shorten_middle("NFCORE.HIC.MAP_STATS_16", 10) == "NFCO…TS_16"
    assert all(columns(shorten_middle("漢a" * 30, most)) <= most for most in range(4, 40))
    assert wrap("a b c", most=3, lines=3) == ["a b", "c"]
    assert wrap("x" * 7, most=3, lines=2) == ["xxx", "xx…"]
    assert wrap("x" * 7, most=3, lines=3) == ["xxx", "xxx", "x"]
    assert wrap("", most=3, lines=3) == []
    assert wrap("漢字漢", most=3, lines=3) == ["漢", "字", "漢"]
    assert (
        plain("a\u00a0b\u3000c\u202ed\x1b👩\u200d💻</svg>")
        == "a b c\ufffdd\ufffd👩\u200d💻&lt;/svg&gt;"
    )


def _layered(layers: int, size: int) -> Plan:
    return _plan({
        f"l{layer}n{at}": [f"l{layer - 1}n{to}" for to in range(size)] if layer else []
        for layer in range(layers) for at in range(size)
    })  # fmt: skip


def test_a_bundle_joins_what_its_edges_joined() -> None:
    rng = random.Random(3)
    graph: dict[str, list[str]] = {f"s{at}": [] for at in range(60)}
    graph |= {f"t{at}": [f"s{to}" for to in range(rng.choice([20, 40, 60]))] for at in range(60)}
    plan = _plan(graph, when={("s0", "t1"): "true"})
    bundles, rest = bundled(plan)
    joined = [(s, t) for bundle in bundles for s in bundle.sources for t in bundle.targets]
    edges = [(source, target) for source, succ in enumerate(plan.succ) for target in succ]
    assert sorted([*joined, *rest]) == edges
    assert len(bundles) > 1
    assert (plan.ids.index("s0"), plan.ids.index("t1")) in rest, "a condition is shown"
    root = ET.fromstring(svg.render(plan))
    assert len([p for p in root.iter(f"{SVG}path") if "bundle" in p.get("class", "")]) == sum(
        map(len, bundles)
    )


def test_a_hundred_layers_of_a_hundred_nodes_are_some_megabytes() -> None:
    rendered = svg.render(_layered(100, 100))
    assert len(rendered) < 8_000_000
    assert rendered.count('class="edge bundle"') == 99 * 200
    assert rendered.count('class="node ') == 10_000


def test_a_picture_with_too_many_lines_is_refused_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(svg, "MOST_LINES", 40)
    plan = _plan({f"n{at}": [f"n{to}" for to in range(at)] for at in range(10)})
    with pytest.raises(UsageError, match=r"has 45 lines, .* --all; '-f ascii' .* '-f dot' is for"):
        svg.render(plan)
    rendered = svg.render(plan, complete=True)
    assert len(re.findall('class="edge"', rendered)) == 45


def test_what_runs_when_all_others_have_settled_stands_last() -> None:
    closing = Policy(
        uses="finally", body=StructuredSpec(kind="epilogue", inner=(Policy(uses="acme:f"),))
    )
    plan = _plan({"a": [], "finally": []}, policies={"finally": closing})
    assert arrange(plan).columns == ((0,), (1,))
