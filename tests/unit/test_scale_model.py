"""The scale model obeys the laws that any such system must, at a size that takes a second."""

import importlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.scale_model import simulate
from scripts.scale_parts import (
    Cluster,
    Cores,
    Engine,
    Load,
    Mode,
    Prices,
    Result,
    Server,
    chains,
    fan,
    layered,
)
from scripts.scale_tables import backlog, copies, memory, parameters

PRICES = Prices.load()
BARE = Engine(poll=0.0)  # no janitors, no heartbeats
MODES: tuple[Mode, ...] = ("message", "units")


def steady(engine: Engine, cluster: Cluster, load: Load, *, seed: int = 1) -> Result:
    return simulate(PRICES, engine, cluster, load, warm=0.4, window=0.4, seed=seed)


def test_every_price_is_positive_and_says_where_it_comes_from() -> None:
    assert PRICES.rows
    for name, row in PRICES.rows.items():
        assert getattr(PRICES, name) > 0
        assert row["source"].startswith(("measure: ", "derived: ", "estimate: ", "assumed: "))


def test_a_server_waits_as_queueing_theory_says() -> None:
    # Pollaczek and Khinchine, for constant service: rho * s / (2 * (1 - rho)).
    rng, server, now, waited, count = random.Random(3), Server(), 0.0, 0.0, 100_000
    for _ in range(count):
        now += rng.expovariate(0.7)
        waited += server.serve(now, 1.0) - now - 1.0
    assert waited / count == pytest.approx(0.7 / (2 * 0.3), rel=0.05)
    assert server.busy == count


def test_processes_share_the_cores_of_their_machine() -> None:
    cores = Cores(2)
    ends = [Server(cores).serve(0.0, 1.0) for _ in range(4)]
    assert ends == [1.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("load", [fan(500), Load(layers=[20] * 10), Load(layers=[1] * 100)])
def test_a_run_ends_with_each_node_run_once(mode: Mode, load: Load) -> None:
    result = simulate(PRICES, Engine(mode=mode), Cluster(workers=5), load)
    assert result.nodes == sum(load.layers)
    assert result.messages <= result.nodes


def test_the_same_seed_gives_the_same_result_and_another_does_not() -> None:
    engine, cluster, load = Engine(jitter=0.2), Cluster(workers=10, shards=2), layered(20, 0.01)
    first, again, other = (steady(engine, cluster, load, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("workers", [2, 40])
def test_littles_law_holds_idle_and_saturated(workers: int) -> None:
    cluster = Cluster(workers=workers)
    result = simulate(PRICES, BARE, cluster, chains(cluster.slots * workers), warm=0.3, window=0.5)
    throughput = result.messages / result.seconds
    assert result.in_flight == pytest.approx(throughput * result.residence, rel=0.03)


def test_throughput_stays_below_what_slots_can_do() -> None:
    cluster = Cluster(workers=10)
    result = simulate(PRICES, BARE, cluster, chains(20, 0.05), warm=0.5, window=2.0)
    assert 0.8 * 20 / 0.05 < result.rate < 20 / 0.05


def test_redis_is_busy_with_its_calls_and_with_nothing_else() -> None:
    p = PRICES
    a_node = (
        *(p.broker_push, p.broker_pop, p.broker_record, p.broker_acknowledge, p.broker_events),
        *(p.claim, p.settle, p.ready_node),
    )
    awake = PRICES.changed(redis_wake=1e-12)
    for workers in (5, 100):
        cluster, load = Cluster(workers=workers), chains(2 * workers)
        result = simulate(awake, BARE, cluster, load, warm=0.4, window=0.6)
        # The utilisation law; a node that was begun before the window is paid for in part only.
        edge = result.in_flight / result.seconds * sum(a_node)
        assert result.shards[0] == pytest.approx(result.rate * sum(a_node), abs=edge + 0.01)
        assert (0.99 if workers == 100 else 0) < result.shards[0] <= 1 + 1e-9


def test_shards_that_carry_their_messages_multiply_what_is_possible() -> None:
    one = steady(BARE, Cluster(workers=15), chains(30)).rate
    four = steady(BARE, Cluster(workers=60, shards=4), chains(120)).rate
    assert four / one == pytest.approx(4, rel=0.1)


def test_one_run_gains_nothing_from_shards() -> None:
    cluster = Cluster(workers=40, brokers=1)
    one = simulate(PRICES, BARE, cluster, fan(3_000))
    many = simulate(PRICES, BARE, replace(cluster, shards=8), fan(3_000))
    assert many.rate == pytest.approx(one.rate, rel=0.01)
    assert sum(busy > 0 for busy in many.shards) == 1


def test_idle_workers_cost_what_their_looks_cost() -> None:
    nothing = Load(layers=[1], runs=0, again=True)
    result = steady(Engine(), Cluster(workers=1_000, brokers=1), nothing)
    pause = Engine().poll + PRICES.network
    expected = 1_000 * (PRICES.sweep / pause + PRICES.note / 2)
    assert result.background == pytest.approx(expected, rel=0.05)


def test_looks_shared_by_all_workers_cost_the_same_however_many_there_are() -> None:
    engine, nothing = Engine(polls_per_shard=20.0), Load(layers=[1], runs=0, again=True)
    few, many = (
        simulate(PRICES, engine, Cluster(workers=count, brokers=1), nothing, warm=1.0, window=6.0)
        for count in (100, 1_000)
    )
    notes = PRICES.note / 2
    looks = [few.background - 100 * notes, many.background - 1_000 * notes]
    assert looks == pytest.approx([20 * PRICES.sweep] * 2, rel=0.3)


def test_units_need_fewer_messages_and_do_more() -> None:
    message, units = (
        simulate(PRICES, replace(BARE, mode=mode), Cluster(workers=20), fan(3_000))
        for mode in ("message", "units")
    )
    assert units.messages < message.messages / 20
    assert units.rate > 2 * message.rate


def test_long_nodes_travel_alone_in_units_too() -> None:
    result = simulate(PRICES, replace(BARE, mode="units"), Cluster(workers=20), fan(300, 0.01))
    assert result.messages > 290


def test_a_stall_delays_the_calls_that_come_in_it() -> None:
    load = Load(layers=[1], seconds=9.0, runs=20, again=True, joins=False)
    result = simulate(
        PRICES, Engine(), Cluster(workers=10), load,
        warm=0.5, window=2.0, watch=True, stall=(1.0, 0.5),
    )  # fmt: skip
    slowest = max(wait for _, wait in result.calls)
    assert 0.3 < slowest <= 0.5 + 0.01


def test_a_node_that_waits_gets_another_message_after_four_looks() -> None:
    assert [copies(wait) for wait in (0, 74, 75, 155)] == [1, 1, 2, 3]


@pytest.mark.parametrize("section", [backlog, memory, parameters])
def test_the_page_shows_the_tables_of_today(section: Callable[[Prices], str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
    key = section.__name__
    assert f"<!-- {key} -->\n\n{section(PRICES)}\n\n<!-- /{key} -->" in page


def test_a_figure_drawn_twice_is_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots = importlib.import_module("scripts.scale_plots")
    panels = {"a": {"line": [(1, 2), (10, 20)]}}
    for name in ("one.svg", "two.svg"):
        plots.draw(tmp_path / name, panels, x="x", y="y", log="xy")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
