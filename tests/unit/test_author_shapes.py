"""Maps, loops, choices, sub-flows and ends in Python; and that no spelling loses anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow, node
from flowcore.errors import UsageError

ROOT = Path(__file__).parents[2]


@node
def split(text: str) -> dict[str, list[str]]:
    return {"chunks": text.split()}


@node(queue="gpu")
def embed(chunk: str) -> list[float]:
    return [float(len(chunk))]


@node(retry={"max_attempts": 2}, queue="crawlers")
def crawl(url: str) -> Iterator[str]:
    yield url


def plain() -> list[int]:
    return [1]


@node
def improve(state: float) -> float:
    return state / 2


@node
def ship(order: str = "") -> str:
    return order


@node
def review(order: str = "") -> str:
    return order


@node
def notify(message: str = "") -> None: ...


def test_map_takes_the_list_under_a_key_of_what_the_node_before_gives() -> None:
    with Flow("rag") as flow:
        split >> embed.map("chunks", max_parallel=4)
    tree = flow.definition()["nodes"]
    assert tree["embed"]["for_each"] == "${{ split.output.chunks }}"
    assert (tree["embed"]["max_parallel"], tree["embed"]["needs"]) == (4, ["split"])
    assert flow.plan().policies[1].body is not None


def test_map_takes_a_function_that_gives_the_items_with_its_own_policies() -> None:
    with Flow("f") as flow:
        embed.map(crawl.source(url="${{ inputs.url }}"), max_parallel=2)
        flow.map("more", embed, crawl)
        flow.map("least", improve, plain)
    here = __name__
    tree = flow.definition()["nodes"]
    assert tree["embed"]["for_each"] == {
        "uses": f"{here}:crawl",
        "with": {"url": "${{ inputs.url }}"},
        "retry": {"max_attempts": 2},
        "queue": "crawlers",
    }
    assert tree["more"]["for_each"]["uses"] == f"{here}:crawl"
    assert tree["least"]["for_each"] == {"uses": f"{here}:plain"}
    policy = flow.plan().policies[0]
    assert policy.body is not None
    assert (policy.queue, policy.body.inner[0].queue) == ("crawlers", "gpu")


@pytest.mark.parametrize(
    ("items", "written"),
    [("", "${{ split.output }}"), ("${{ inputs.x }}", "${{ inputs.x }}"), ((1, 2), [1, 2])],
)
def test_map_takes_the_whole_an_expression_or_a_list(items: Any, written: Any) -> None:
    with Flow("f") as flow:
        split >> embed.map(items, id="each")
    assert flow.definition()["nodes"]["each"]["for_each"] == written


def test_map_over_a_key_needs_one_node_before_it() -> None:
    with Flow("f") as flow:
        embed.map("chunks", needs=[split, ship])
    with pytest.raises(UsageError, match="these are: split, ship; write an expression"):
        flow.definition()


def test_loop_says_until_when() -> None:
    with Flow("f") as flow:
        split >> improve.loop("output < 1.0", initial=8.0, max_iterations=9)
    tree = flow.definition()["nodes"]["improve"]
    assert (tree["until"], tree["initial"], tree["max_iterations"]) == ("output < 1.0", 8.0, 9)
    assert flow.check().definition.nodes["improve"].until == "output < 1.0"


def test_when_chooses_and_what_comes_after_comes_after_either() -> None:
    with Flow("f") as flow:
        split >> flow.when("split.output.chunks.size() > 9", review, otherwise=ship) >> notify
    tree = flow.definition()["nodes"]
    assert tree["choose"] == {
        "uses": "condition",
        "needs": ["split"],
        "with": {"cases": {"review": "split.output.chunks.size() > 9"}, "default": "ship"},
    }
    assert tree["notify"]["needs"] == ["review", "ship"]
    plan = flow.plan()
    assert sorted(plan.when.values()) == [
        *('nodes["choose"].output == "review"', 'nodes["choose"].output == "ship"'),
    ]


def test_switch_may_take_every_way_that_holds() -> None:
    with Flow("f") as flow:
        flow.switch([("inputs.a", review), ("inputs.b", ship)], match="all", id="which") >> notify
    given = flow.definition()["nodes"]["which"]["with"]
    assert given == {"cases": {"review": "inputs.a", "ship": "inputs.b"}, "match": "all"}


def test_what_the_decorator_says_holds_until_a_step_says_otherwise() -> None:
    tagged = ship.configured(priority=2, tags=["quick"])
    with Flow("f", tags=["sales", "nightly"]) as flow:
        tagged.step("first")
        tagged.step("second", priority=9, tags="slow", idempotency_key="${{ inputs.order }}")
    tree = flow.definition()
    assert tree["tags"] == ["sales", "nightly"]
    first, second = tree["nodes"]["first"], tree["nodes"]["second"]
    assert (first["priority"], first["tags"]) == (2, ["quick"])
    assert (second["priority"], second["tags"]) == (9, ["slow"])
    assert second["idempotency_key"] == "${{ inputs.order }}"
    assert "with" not in second
    assert flow.plan().tags == ("sales", "nightly")


def test_a_way_begins_with_one_node() -> None:
    with Flow("f") as flow, pytest.raises(UsageError, match="begins with one node"):
        flow.when("true", [review, ship])


def test_a_sub_flow_is_a_flow_a_definition_or_a_name() -> None:
    with Flow("inner") as inner:
        split >> ship
    with Flow("outer") as flow:
        flow.sub_flow("own", inner, text="a b")
        flow.sub_flow("named", "other@2", needs="own", timeout="1m")
    tree = flow.definition()["nodes"]
    assert tree["own"]["flow"] == inner.definition()
    assert (tree["own"]["uses"], tree["own"]["with"]) == ("workflow", {"text": "a b"})
    assert (tree["named"]["flow"], tree["named"]["timeout"]) == ("other@2", "1m")
    flow.check()


def test_what_runs_at_the_end_is_written_into_parts_of_the_flow() -> None:
    with Flow("f") as flow:
        ship.step(undo=review) >> split
        with flow.on_failure:
            notify.step(message="${{ run.error.message }}")
        with flow.finally_:
            notify.step("closed") >> notify.step("gone")
    tree = flow.definition()
    assert tree["nodes"]["ship"]["undo"]["uses"].endswith(":review")
    assert list(tree["on_failure"]) == ["notify"]
    assert tree["finally"]["gone"]["needs"] == ["closed"]
    assert flow.plan().epilogue_condition == "a"


def test_a_node_added_to_the_flow_around_its_end_is_refused() -> None:
    with Flow("f") as flow:
        ship.step()
        with (
            flow.finally_,
            pytest.raises(UsageError, match=r"write flow\.finally_\.add\('late', \.\.\.\)"),
        ):
            flow.add("late", notify)
        with flow.on_failure as failing:
            failing.add("late", notify, message="x")
    assert list(flow.definition()["on_failure"]) == ["late"]


@pytest.mark.parametrize(
    "spelling",
    ["built", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples").rglob("*.yaml"))],
)
def test_a_flow_survives_the_way_from_python_to_yaml_and_back(
    spelling: str, tmp_path: Path
) -> None:
    if spelling == "built":
        with Flow("whole", tags="nightly", inputs={"n": {"type": "integer"}}) as flow:
            improve.step("said", state=1.0, tags="slow", priority=7, output={"type": "number"})
            split >> embed.map("chunks", tolerated_failures="10%") >> improve.loop("output < 1.0")
            split >> flow.when("inputs.n > 1", review, otherwise=ship) >> notify
            embed.map(crawl.source(url="x"), id="pages", chunk_size=2)
            with flow.finally_:
                notify.step("closed", message="$${{ kept }}")
    else:
        flow = Flow.load(ROOT / spelling)
    if spelling != "built" and "flow: ./" in (ROOT / spelling).read_text():
        pytest.skip("names a file beside it")
    file = tmp_path / "flow.yaml"
    file.write_text(flow.to_yaml())
    again = Flow.load(file)
    assert again.definition() == flow.definition()
    assert again.plan().hash == flow.plan().hash == Flow.load(flow.definition()).plan().hash
    assert again.to_yaml() == flow.to_yaml()
