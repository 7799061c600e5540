"""The parts of the benchmark that measure nothing: flows, ideal schedules, arithmetic, options."""

import math
import time
from collections import Counter
from pathlib import Path

import pytest

from flowcore.bench.dags import PATTERNS, STANDARD, Dag, Work, named, pattern
from flowcore.bench.harness import Measured, compiled
from flowcore.bench.ideal import critical_path, ideal_makespan
from flowcore.bench.metg import round_seconds
from flowcore.bench.nodes import calibrate
from flowcore.bench.processes import cpu_seconds, family, forget_peak, peak_bytes, resident_bytes
from flowcore.bench.redis_counters import Usage
from flowcore.bench.stats import LONGEST, Point, exponent, metg, percentile, slope
from flowcore.bench.suite import Options
from flowcore.bench.throughput import figures_of, merged
from flowcore.errors import UsageError


@pytest.mark.parametrize(
    ("name", "nodes", "edges", "longest"),
    [
        ("chain1000", 1000, 999, 1000),
        ("fan1000", 1000, 1996, 3),
        ("fan10000", 10_000, 19_996, 3),
        ("layered20x50", 1000, 19 * 2500, 20),
        ("layered100x100", 10_000, 99 * 10_000, 100),
        ("nshape500", 1000, 499 * 3, 500),
        ("tree1024", 1024, 1023, 11),
        ("chain1", 1, 0, 1),
        ("layered1x7", 7, 0, 1),
    ],
)
def test_a_named_flow_has_its_counts(name: str, nodes: int, edges: int, longest: int) -> None:
    dag = named(name)
    assert (len(dag.needs), dag.edges, critical_path(dag)) == (nodes, edges, longest)


def test_the_standard_flows_have_names_that_are_known() -> None:
    assert [named(name).name for name in STANDARD] == list(STANDARD)


def test_a_fan_opens_and_closes() -> None:
    dag = named("fan10")
    assert [len(before) for before in dag.needs] == [0, *[1] * 8, 8]


def test_a_tree_has_two_children_a_node() -> None:
    children = Counter(source for before in named("tree31").needs for source in before)
    assert set(children.values()) == {2}
    assert len(children) == 15


def test_a_rung_of_the_ladder_leans_on_the_one_before_like_an_n() -> None:
    assert named("nshape3").needs == ((), (), (0,), (0, 1), (2,), (2, 3))


@pytest.mark.parametrize("name", ["ring10", "chain", "layered5", "chain1x2", "", "fan10 "])
def test_a_name_without_a_shape_is_refused_with_the_shapes(name: str) -> None:
    with pytest.raises(UsageError, match="layeredLxW"):
        named(name)


@pytest.mark.parametrize(
    "name", ["chain0", "fan2", "chain100001", "layered1000x1000", "layered0x5"]
)
def test_an_empty_or_huge_flow_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="would have"):
        named(name)


@pytest.mark.parametrize("name", ["chain7", "fan9", "layered3x4", "nshape5", "tree9"])
def test_a_definition_compiles_to_the_same_shape(name: str) -> None:
    dag = named(name)
    plan = compiled(dag, Work.of("pause", seconds=0.005))
    assert len(plan) == len(dag.needs)
    names = {f"v{at}": before for at, before in enumerate(dag.needs)}
    for at, id in enumerate(plan.ids):
        assert {plan.ids[source] for source in plan.pred[at]} == {f"v{s}" for s in names[id]}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_reaches_only_into_the_step_before(name: str) -> None:
    dag = pattern(name, width=8, steps=6)
    level: list[int] = []
    for before in dag.needs:
        level.append(max((level[source] for source in before), default=0) + 1)
        assert {level[source] for source in before} <= {level[-1] - 1}
    assert Counter(level)[6] == 8
    assert critical_path(dag) == 6


def test_patterns_depend_as_task_bench_says() -> None:
    def last(name: str, step: int) -> list[tuple[int, ...]]:
        dag = pattern(name, width=8, steps=step + 1)
        start = 8 * (step - 1)
        return [tuple(at - start for at in before) for before in dag.needs[-8:]]

    assert last("stencil_1d", 1)[:2] == [(0, 1), (0, 1, 2)]
    assert last("stencil_1d", 1)[7] == (6, 7)
    assert last("fft", 1)[3] == (2, 3, 4)
    assert last("fft", 2)[3] == (1, 3, 5)
    assert last("fft", 3)[3] == (3, 7)
    assert last("fft", 4)[3] == (2, 3, 4), "strides start again after log2(width) steps"
    assert pattern("tree", width=4, steps=4).needs == (
        *((), (0,), (0,)),
        *((1,), (1,), (2,), (2,)),
        *((3,), (3,), (4,), (4,)),
    )
    near = last("random_nearest", 1)
    assert all(at in before for at, before in enumerate(near)), "each point keeps its own line"
    assert all(abs(at - source) <= 2 for at, before in enumerate(near) for source in before)


@pytest.mark.parametrize(
    ("name", "slots", "units"),
    [
        ("chain10", 2, 10),
        ("fan12", 2, 1 + 5 + 1),
        ("layered20x50", 2, 20 * 25),
        ("layered3x5", 2, 3 * 3),
        ("layered3x5", 100, 3),
        ("nshape500", 2, 500),
        ("tree15", 2, 1 + 1 + 2 + 4),
    ],
)
def test_the_ideal_of_equal_nodes_is_known(name: str, slots: int, units: int) -> None:
    assert ideal_makespan(named(name), seconds=0.005, slots=slots) == pytest.approx(units * 0.005)


def test_no_schedule_beats_work_or_critical_path() -> None:
    for name in ("nshape9", "tree40", "layered7x3", "fan17"):
        dag = named(name)
        ideal = ideal_makespan(dag, seconds=1.0, slots=3)
        least = max(critical_path(dag), math.ceil(len(dag.needs) / 3))
        assert least <= ideal <= 2 * least


def test_a_percentile_lies_between_its_neighbours() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert percentile(values, 0.5) == 3.0
    assert percentile(values, 0.0) == 1.0
    assert percentile(values, 1.0) == 5.0
    assert percentile(values, 0.9) == pytest.approx(4.6)
    assert percentile([7.0], 0.99) == 7.0


def test_slopes_and_exponents_are_those_of_the_curve() -> None:
    assert slope([(1, 5), (2, 7), (3, 9)]) == pytest.approx(2)
    assert slope([(1, 5), (1, 7)]) == 0
    assert exponent([(x, 3 * x**2) for x in (10, 100, 1000)]) == pytest.approx(2)
    assert exponent([(x, 0.5 * x) for x in (10, 100)]) == pytest.approx(1)


def engine_that_costs(overhead: float) -> tuple[list[float], object]:
    asked: list[float] = []

    def measure(kernel: float) -> Point:
        asked.append(kernel)
        return Point(kernel_s=kernel, granularity_s=kernel + overhead)

    return asked, measure


@pytest.mark.parametrize("overhead", [0.0001, 0.001, 0.0015, 0.01])
def test_metg_of_a_constant_overhead_is_twice_the_overhead(overhead: float) -> None:
    asked, measure = engine_that_costs(overhead)
    figure, points = metg(measure)  # type: ignore[arg-type]
    assert figure == pytest.approx(2 * overhead, rel=0.02)
    assert [point.kernel_s for point in points] == sorted(asked)
    assert len(asked) <= 10


def test_metg_is_none_where_no_kernel_is_efficient() -> None:
    figure, points = metg(lambda kernel: Point(kernel_s=kernel, granularity_s=3 * kernel))
    assert figure is None
    assert points[-1].kernel_s <= LONGEST


def test_metg_is_bounded_where_every_kernel_is_efficient() -> None:
    figure, points = metg(lambda kernel: Point(kernel_s=kernel, granularity_s=1.1 * kernel))
    assert figure == points[0].granularity_s
    assert points[0].kernel_s < 50e-6


def test_the_peak_is_what_all_cores_give_together() -> None:
    assert 1e-9 < calibrate(0.01) < 1e-5
    assert 1e-9 < round_seconds(2) < 1e-5


def test_figures_are_differences_by_node() -> None:
    run = Measured(
        nodes=100,
        seconds=0.5,
        before=Usage(commands=1000, traffic=5000, memory=0, messages=7),
        after=Usage(commands=3000, traffic=55_000, memory=0, messages=57),
        cpu={"worker": 0.1, "pool": 0.05, "server": 0.03, "client": 0.02},
        kept=20_000,
        worker_peak=1,
        server_peak=2,
    )
    figures = figures_of(run)
    assert figures["nodes_per_s"] == 200
    assert figures["redis_commands_per_node"] == 20
    assert figures["redis_bytes_per_node"] == 500
    assert figures["messages_per_node"] == 0.5
    assert figures["cpu_s_per_node"] == pytest.approx(0.002)
    assert figures["cpu_s_per_node_of"]["pool"] == pytest.approx(0.0005)
    assert figures["redis_memory_bytes_per_node"] == 200


def test_figures_of_working_nodes_stand_inside_those_of_idle_ones() -> None:
    report = merged({"a": {"nodes_per_s": 1}}, {"5ms": {"a": {"seconds": 2}, "b": {"seconds": 3}}})
    assert report == {
        "a": {"nodes_per_s": 1, "5ms": {"seconds": 2}},
        "b": {"5ms": {"seconds": 3}},
    }


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"dags": ("ring3",)}, "ring3"),
        ({"modes": ("telepathy",)}, "grain or one-message"),
        ({"nodes": ("fast",)}, "'noop'"),
        ({"nodes": ("0ms",)}, "'noop'"),
        ({"dags": ()}, "nothing to measure"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    given: dict[str, tuple[str, ...]], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        Options(**given)  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel has no /proc")
def test_a_process_is_weighed_with_its_family() -> None:
    import os
    import subprocess
    import sys

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        pids = family(os.getpid())
        child.communicate(b"\n")
    assert pids[0] == os.getpid()
    assert child.pid in pids
    here = resident_bytes([os.getpid()])
    assert here is not None
    ballast = bytearray(64 * 2**20)
    grown = peak_bytes([os.getpid()])
    assert grown is not None
    assert grown >= here + len(ballast) // 2
    used = cpu_seconds([os.getpid()])
    assert used == pytest.approx(time.process_time(), abs=0.1)
    del ballast
    forget_peak([os.getpid()])
    after = peak_bytes([os.getpid()])
    assert after is not None
    assert after < grown
    assert peak_bytes([2**22 + 1]) is None


def test_a_dag_says_what_its_nodes_do() -> None:
    dag = Dag(name="two", needs=((), (0,)))
    assert dag.definition(Work.of("spin", rounds=3), id="other") == {
        "id": "other",
        "nodes": {
            "v0": {"uses": "flowcore.bench.nodes:spin", "with": {"rounds": 3}},
            "v1": {"uses": "flowcore.bench.nodes:spin", "with": {"rounds": 3}, "needs": ["v0"]},
        },
    }
