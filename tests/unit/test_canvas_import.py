"""A Celery canvas as a flow: what is kept, and what is refused with its reason."""

from typing import Any

import pytest
from celery import Celery, chain, chord, group

from flowcore.check.check import check
from flowcore.cli.commands.importers import queue_of
from flowcore.graph.load import load_tree
from flowcore.importers.canvas import CanvasError, from_canvas


@pytest.fixture(scope="module")
def app() -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_allow_error_cb_on_chord_header = True
    app.conf.task_routes = {"shop.slow": {"queue": "patient"}}
    return app


def _sig(app: Celery, name: str, *args: Any, **options: Any) -> Any:
    return app.signature(f"shop.{name}", args=args, **options)


def test_a_chain_of_groups_keeps_who_gets_what(app: Celery) -> None:
    canvas = chain(
        _sig(app, "one", 1),
        group(_sig(app, "two", 2), _sig(app, "three", immutable=True)),
        _sig(app, "sum"),
    )
    nodes = from_canvas(canvas)["nodes"]
    assert nodes["two"]["with"] == {"args": ["${{ one.output }}", 2]}
    assert nodes["three"] == {
        "uses": "celery:shop.three",
        "with": {"args": []},
        "needs": ["one"],
    }
    assert nodes["sum"]["with"] == {"args": ["${{ [two.output, three.output] }}"]}
    assert nodes["sum"]["needs"] == ["two", "three"]


def test_tasks_go_to_the_queues_that_their_app_routes_them_to(app: Celery) -> None:
    canvas = chain(
        _sig(app, "one"), _sig(app, "slow"), _sig(app, "slow").set(queue="other"), app=app
    )
    nodes = from_canvas(canvas, queue_of=queue_of(app))["nodes"]
    assert [node.get("queue") for node in nodes.values()] == [None, "patient", "other"]
    assert queue_of(None)("shop.slow") is None


def test_what_is_linked_to_a_whole_comes_after_it(app: Celery) -> None:
    canvas = chain(_sig(app, "one"), _sig(app, "two"))
    canvas.link(_sig(app, "three"))
    assert from_canvas(canvas)["nodes"]["three"]["needs"] == ["two"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"expires": 9}, "a flow has no 'expires', but timeout"),
        ({"time_limit": 9}, "a flow has no 'time_limit', but timeout"),
        ({"eta": "2030-01-01"}, "a flow has no 'eta', but a wait node with 'until'"),
        ({"priority": 3}, "a flow has no 'priority', but a priority of each node"),
    ],
)
def test_options_that_a_flow_has_not_are_refused_on_tasks_and_on_wholes(
    app: Celery, options: dict[str, Any], problem: str
) -> None:
    one = _sig(app, "one")
    for canvas, name in [
        (one.clone().set(**options), "shop.one"),
        (group(one, one).set(**options), "celery.group"),
        (chain(one, one).set(**options), "celery.chain"),
        (chain(one, group(one, one.clone().set(**options))), "shop.one"),
    ]:
        with pytest.raises(CanvasError) as caught:
            from_canvas(canvas)
        assert caught.value.problems == (f"{name}: {problem}",)


def test_errors_that_somebody_handles_are_refused_wherever_that_is_said(app: Celery) -> None:
    one, oops = _sig(app, "one"), _sig(app, "oops")
    problem = "a flow has no 'link_error', but on_failure"
    for canvas, name in [
        (chain(one.clone(), one.clone()).on_error(oops), "celery.chain"),
        (chord([one.clone()], one.clone()).on_error(oops), "shop.one"),
    ]:
        with pytest.raises(CanvasError) as caught:
            from_canvas(canvas)
        assert caught.value.problems == (f"{name}: {problem}",)


def test_a_group_in_a_group_is_part_of_it_as_celery_has_it(app: Celery) -> None:
    inner = group(_sig(app, "one"), _sig(app, "two"))
    canvas = chain(group(inner, _sig(app, "three")), _sig(app, "sum"))
    nodes = from_canvas(canvas)["nodes"]
    assert nodes["sum"]["with"] == {"args": ["${{ [one.output, two.output, three.output] }}"]}


@pytest.mark.parametrize(
    "key", ["exchange", "routing_key", "headers", "serializer", "retry_policy"]
)
def test_options_that_nobody_knows_are_refused_too(app: Celery, key: str) -> None:
    with pytest.raises(CanvasError, match=f"shop.one: a flow has no '{key}'"):
        from_canvas(_sig(app, "one").set(**{key: "special"}))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"queue": "q"}, "celery.chain: a flow has no 'queue', but a queue of each task"),
        ({"countdown": 3}, "celery.chain: a flow has no 'countdown', but a countdown of its first"),
    ],
)
def test_options_of_a_whole_that_are_those_of_tasks_are_refused(
    app: Celery, options: dict[str, Any], problem: str
) -> None:
    canvas = chain(_sig(app, "one"), _sig(app, "two")).set(**options)
    with pytest.raises(CanvasError, match=problem):
        from_canvas(canvas)


@pytest.mark.parametrize("countdown", [-1, 0, -0.5, None])
def test_what_should_have_begun_already_is_not_waited_for(app: Celery, countdown: Any) -> None:
    tree = from_canvas(_sig(app, "one").set(countdown=countdown))
    assert [node["uses"] for node in tree["nodes"].values()] == ["celery:shop.one"]


@pytest.mark.parametrize("countdown", [3, 0.5])
def test_a_countdown_is_waited_for(app: Celery, countdown: float) -> None:
    tree = from_canvas(_sig(app, "one").set(countdown=countdown))
    assert tree["nodes"]["one-wait"]["with"] == {"for": countdown}
    assert check(load_tree(tree)).order


@pytest.mark.parametrize("countdown", [1e300, float("inf"), "soon", [1]])
def test_a_countdown_that_is_no_time_is_refused_by_task(app: Celery, countdown: Any) -> None:
    with pytest.raises(CanvasError, match=r"shop\.one: its countdown is not a time to wait"):
        from_canvas(_sig(app, "one").set(countdown=countdown))


#: Parts without tasks, as headers that are made while a program runs often are: Celery passes over
#: them, a chord's body gets an empty list, and items are none.
EMPTY: dict[str, tuple[Any, dict[str, tuple[list[str], Any]]]] = {
    "group last": (
        lambda app: chain(_sig(app, "one", 1), group([])),
        {"one": ([], [1])},
    ),
    "group within": (
        lambda app: chain(_sig(app, "one", 1), group([]), _sig(app, "two", 2)),
        {"one": ([], [1]), "two": (["one"], ["${{ one.output }}", 2])},
    ),
    "group in a group": (
        lambda app: group(group([]), _sig(app, "one", 1)),
        {"one": ([], [1])},
    ),
    "header": (
        lambda app: chord([], _sig(app, "one", 2)),
        {"one": ([], ["${{ [] }}", 2])},
    ),
    "header of empty groups": (
        lambda app: chord([group([]), group(group([]))], _sig(app, "one", 2)),
        {"one": ([], ["${{ [] }}", 2])},
    ),
    "header from a generator": (
        lambda app: chord((_sig(app, "one", at) for at in range(0)), _sig(app, "two")),
        {"two": ([], ["${{ [] }}"])},
    ),
    "header after a task": (
        lambda app: chain(_sig(app, "one", 1), chord([], _sig(app, "two", 2))),
        {"one": ([], [1]), "two": (["one"], ["${{ [] }}", 2])},
    ),
    "link": (
        lambda app: _sig(app, "one", 1).set(link=[group([])]),
        {"one": ([], [1])},
    ),
    "items": (
        lambda app: {"task": "celery.map", "kwargs": {"task": dict(_sig(app, "one")), "it": []}},
        {"one": ([], ["${{ item }}"])},
    ),
}


@pytest.mark.parametrize("case", EMPTY)
def test_empty_parts_of_a_canvas_are_what_they_are_for_celery(app: Celery, case: str) -> None:
    make, told = EMPTY[case]
    tree = from_canvas(make(app))
    nodes = tree["nodes"]
    found = {id: (one.get("needs", []), one["with"]["args"]) for id, one in nodes.items()}
    assert found == told
    check(load_tree(tree), resolve=False)


@pytest.mark.parametrize(
    "empty",
    [group([]), group(group([])), {"task": "celery.chain", "kwargs": {"tasks": []}}],
    ids=["group", "nested", "chain"],
)
def test_a_canvas_that_is_empty_as_a_whole_is_refused(empty: Any) -> None:
    with pytest.raises(CanvasError, match=r"without tasks: was the list .* empty\?"):
        from_canvas(empty)
