"""The number of attempts that is shown is how often a function was begun, whatever kills it."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from flowcore.run.event import EventType
from tests.engine import Engine, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration

WAYS = ["exit 0", "exit 3", "segfault", "kill"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker with two children; no lease runs out, however busy the machine is."""
    home = tmp_path_factory.mktemp("begins")
    with running_valkey() as url, running_engine(url, home, lease="600") as engine:
        engine.workers(slots=2)
        yield engine


class Begins:
    """What functions have noted of their beginnings."""

    def __init__(self, home: Path) -> None:
        self.log = str(home / "log")
        self.mark = str(home / "mark")

    def node(self, uses: str = "begin", *, gives: Any = None, **more: Any) -> dict[str, Any]:
        given = {"log": self.log} | ({} if gives is None else {"value": gives})
        return {"uses": f"begin_nodes:{uses}", "with": given, **more}

    def dying(self, way: str, uses: str = "die_once", **more: Any) -> dict[str, Any]:
        node = self.node(uses, **more)
        node["with"] |= {"mark": self.mark, "way": way}
        return node

    def check(self, engine: Engine) -> dict[str, int]:
        """Compare with the records of all runs; return the numbers by node."""
        noted: dict[tuple[str, str], list[int]] = defaultdict(list)
        for line in Path(self.log).read_text().splitlines():
            run, node, attempt = line.split()
            noted[run, node].append(int(attempt))
        found: dict[str, int] = {}
        for (run, node), attempts in noted.items():
            record = engine.session.runtime.reader.record(run)
            assert record is not None
            assert attempts == list(range(1, len(attempts) + 1)), (run, node)
            assert record.nodes[node].attempts == len(attempts), (run, node)
            found[node] = max(found.get(node, 0), len(attempts))
        return found


@pytest.fixture
def begins(tmp_path: Path) -> Begins:
    return Begins(tmp_path)


def _ended_well(run: Run, output: Any) -> None:
    result = run.wait(60)
    assert result.success, result.error
    assert result.output == output


@pytest.mark.parametrize("way", WAYS)
def test_in_a_unit_the_one_that_dies_and_those_that_ran_unrecorded_begin_twice(
    engine: Engine, begins: Begins, way: str
) -> None:
    nodes = {
        "before": begins.node(),
        "ahead": begins.node(needs=["before"]),
        "dies": begins.dying(way, needs=["ahead"], gives=7),
        "after": begins.node(needs=["dies"], gives="${{ nodes.dies.output }}"),
    }
    _ended_well(engine.start(nodes), 7)
    found = begins.check(engine)
    assert found["dies"] == 2
    assert found["after"] == 1


@pytest.mark.parametrize("way", ["exit 3", "kill"])
def test_in_a_bundle_what_had_not_begun_has_its_first_attempt_elsewhere(
    engine: Engine, begins: Begins, way: str
) -> None:
    nodes: dict[str, Any] = {f"n{at}": begins.node() for at in range(40)}
    nodes["n5"] = begins.dying(way)
    nodes["end"] = begins.node(needs=list(nodes), gives="all")
    run = engine.start(nodes)
    _ended_well(run, "all")
    found = begins.check(engine)
    assert found["n5"] == 2
    assert found["end"] == 1
    lost = [event.node for event in run.events() if event.type is EventType.NODE_LOST]
    assert sorted(name or "" for name in lost) == sorted(
        name for name, count in found.items() if count == 2
    )


@pytest.mark.parametrize("way", WAYS)
def test_with_a_message_of_its_own(engine: Engine, begins: Begins, way: str) -> None:
    nodes = {
        "dies": begins.dying(way, timeout="10m", gives=7),
        "after": begins.node(needs=["dies"], gives=8),
    }
    _ended_well(engine.start(nodes), 8)
    assert begins.check(engine) == {"dies": 2, "after": 1}


def test_in_the_items_of_a_map(engine: Engine, begins: Begins) -> None:
    dying = begins.dying("kill", for_each=list(range(20)), gives="${{ item }}")
    _ended_well(engine.start({"all": dying}), list(range(20)))
    assert 2 in begins.check(engine).values()


def test_in_the_body_of_a_loop(engine: Engine, begins: Begins) -> None:
    body = {
        "id": "body",
        "nodes": {
            "first": begins.node(),
            "dies": begins.dying("exit 3", needs=["first"], gives=3),
        },
    }
    loop = {"uses": "loop", "flow": body, "initial": 0, "until": "iteration >= 1"}
    _ended_well(engine.start({"looped": loop}), 3)
    assert begins.check(engine)["dies"] == 2


@pytest.mark.parametrize("timeout", [{}, {"timeout": "10m"}], ids=["unit", "message"])
def test_a_fallback_that_dies_has_its_node_begin_again(
    engine: Engine, begins: Begins, timeout: dict[str, str]
) -> None:
    """What decides on a failure dies with it: nobody knows that the function has failed."""
    fallback = {"uses": "begin_nodes:die_instead"}
    nodes = {"fails": begins.dying("kill", "fail", fallback=fallback, **timeout)}
    _ended_well(engine.start(nodes), "instead")
    assert begins.check(engine) == {"fails": 2}


def test_a_fallback_that_dies_after_its_node_was_ended_is_no_attempt(
    engine: Engine, begins: Begins
) -> None:
    """The failure is known, so its function does not begin again."""
    fallback = {"uses": "begin_nodes:die_instead"}
    run = engine.start({"spins": begins.dying("kill", "spin", timeout="1s", fallback=fallback)})
    _ended_well(run, "instead")
    assert begins.check(engine) == {"spins": 1}
    assert [event.type for event in run.events()].count(EventType.NODE_LOST) == 1


def test_a_node_that_fails_and_one_that_dies_are_counted_alike(
    engine: Engine, begins: Begins
) -> None:
    retry = {"max_attempts": 2, "delay": "0s"}
    nodes = {
        "fails": begins.dying("never", "fail_once", retry=retry),
        "dies": begins.dying("segfault", needs=["fails"], retry=retry, gives=1),
    }
    _ended_well(engine.start(nodes), 1)
    assert begins.check(engine) == {"fails": 2, "dies": 2}
