"""The benchmark on real workers, at toy size: its figures are there and agree with each other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from flowcore.bench.dags import PATTERNS, Work, named
from flowcore.bench.harness import BenchHarness, Worker, compiled
from flowcore.bench.latency import latency
from flowcore.bench.many_runs import small_runs
from flowcore.bench.metg import metg_of_patterns
from flowcore.bench.redis_counters import usage
from flowcore.bench.scaling import growth, memory
from flowcore.bench.stream import streaming
from flowcore.client.flow import start_run
from flowcore.errors import RunFailedError, ServiceError
from flowcore.ports.store import RunQuery
from flowcore.run.status import RunState
from tests.engine import poll

pytestmark = pytest.mark.integration

FIGURES = {
    *("nodes", "seconds", "nodes_per_s", "messages_per_node", "message_bytes"),
    *("redis_commands_per_node", "redis_bytes_per_node", "redis_memory_bytes_per_node"),
    *("cpu_s_per_node", "worker_peak_bytes", "redis_peak_bytes"),
}
RATIO = {"ratio", "ceiling_tasks_per_s"}
SHARE = {"share_of_ideal", "ideal_s", "critical_path_s", "pause_s"}


def start(tmp: Path, *words: str, **environ: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if name[:9] != "FLOWCORE_"}
    return subprocess.Popen(
        [sys.executable, "-m", "flowcore.cli", "bench", *words],
        env={**kept, **environ, "TMPDIR": str(tmp)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(tmp: Path) -> list[str]:
    """What was started for a benchmark whose files are in ``tmp``, and is still there."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            home = process.environ().get("FLOWCORE_HOME", "")
            words = " ".join(process.cmdline())
            if process.status() != "zombie" and (home.startswith(str(tmp)) or str(tmp) in words):
                found.append(words)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def stand() -> Iterator[BenchHarness]:
    with BenchHarness(Worker(slots=2)) as stand:
        yield stand


@pytest.mark.slow
def test_the_report_is_whole_and_agrees_with_itself(
    tmp_path: Path, redis_client: "redis.Redis", valkey_server: str
) -> None:
    bench = start(
        tmp_path,
        *("--dags", "chain20,fan12,layered3x4", "--tasks", "100", "--slots", "2", "--repeat", "1"),
        *("--only", "throughput", "--modes", "grain,one-message", "--json"),
        FLOWCORE_REDIS_URL=valkey_server,
        FLOWCORE_QUEUE="of-somebody-else",
    )
    out, err = bench.communicate(timeout=100)
    assert bench.returncode == 0, err
    report = json.loads(out)
    assert "chain20: " in err
    assert report["machine"]["slots"] == 2
    assert report["machine"]["load"] >= 0
    assert report["ceiling_tasks_per_s"] > 0
    assert 0 < report["ceiling_cpu_s_per_task"] < 1
    assert report["ceiling_consumed_tasks_per_s"] > 0
    assert list(report["dags"]) == ["chain20", "fan12", "layered3x4"]
    assert [each["nodes"] for each in report["dags"].values()] == [20, 12, 12]
    for figures in report["dags"].values():
        for mode in (figures, figures["one-message"]):
            _check_figures(mode, FIGURES | RATIO)
            _check_figures(mode["5ms"], FIGURES | SHARE)
            assert mode["ratio"] == pytest.approx(mode["nodes_per_s"] / mode["ceiling_tasks_per_s"])
            assert mode["5ms"]["share_of_ideal"] <= 1.05
    chain = report["dags"]["chain20"]
    assert chain["5ms"]["critical_path_s"] == pytest.approx(20 * chain["5ms"]["pause_s"])
    assert chain["one-message"]["messages_per_node"] == 1
    assert redis_client.dbsize() == 0, "a server of one's own is left alone"
    assert poll(lambda: not left_behind(tmp_path), what="the benchmark's processes to end")
    assert list(tmp_path.iterdir()) == []


def _check_figures(found: dict[str, Any], names: set[str]) -> None:
    assert names <= set(found)
    assert all(found[name] > 0 for name in names if found[name] is not None)
    shares = found["cpu_s_per_node_of"]
    assert sum(shares.values()) == pytest.approx(found["cpu_s_per_node"])
    assert found["nodes_per_s"] == pytest.approx(found["nodes"] / found["seconds"])


def test_ctrl_c_takes_server_and_worker_down(tmp_path: Path) -> None:
    with start(tmp_path, "--dags", "chain1000", "--only", "throughput") as bench:
        poll(lambda: any("celery" in words for words in left_behind(tmp_path)), what="a worker")
        bench.send_signal(signal.SIGINT)
        out, err = bench.communicate(timeout=60)
    assert (bench.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert poll(lambda: not left_behind(tmp_path), what="the benchmark's processes to end")


def test_latencies_are_positive_and_in_order(stand: BenchHarness) -> None:
    found = latency(stand, runs=5, chain=10, tell=lambda _: None)
    assert {name: each["samples"] for name, each in found.items()} == {
        "submit_to_first_node": 5,
        "submit_to_result": 5,
        "node_to_node": 9,
    }
    assert all(0 < each["p50_s"] <= each["p99_s"] for each in found.values())
    assert found["submit_to_first_node"]["p50_s"] < found["submit_to_result"]["p50_s"]


def test_tokens_are_timed_and_counted(stand: BenchHarness) -> None:
    found = streaming(stand, runs=3, tokens=5, events=2000, tell=lambda _: None)
    assert (found["first_token"]["samples"], found["token"]["samples"]) == (3, 5)
    assert 0 < found["first_token"]["p50_s"] <= found["first_token"]["p99_s"]
    assert found["events_per_s"] > 0


def test_many_small_runs_all_succeed_and_are_counted(stand: BenchHarness) -> None:
    found = small_runs(stand, runs=8, nodes=5, tell=lambda _: None)
    assert (found["runs"], found["nodes_per_run"]) == (8, 5)
    assert found["runs_per_s"] == pytest.approx(8 / found["seconds"])
    assert found["nodes_per_s"] == pytest.approx(5 * found["runs_per_s"])
    assert 0 < found["run_p50_s"] <= found["run_p99_s"]


def test_growth_follows_flows_from_compiling_to_their_end(stand: BenchHarness) -> None:
    found = growth(stand, sizes=[20, 40], tell=lambda _: None)
    assert [point["edges"] for point in found["layered"]["points"]] == [100, 300]
    for shape in found.values():
        assert [point["nodes"] for point in shape["points"]] == [20, 40]
        assert all(point[step] > 0 for point in shape["points"] for step in ("run_s", "submit_s"))
        assert all(0 < point["messages_per_node"] <= 1 for point in shape["points"])
        assert shape["exponent"] == shape["last_exponent"], "there are only two points"


def test_memory_is_read_after_each_run(stand: BenchHarness) -> None:
    found = memory(stand, runs=3, nodes=1000, tell=lambda _: None)
    assert [point["nodes"] for point in found["points"]] == [1000, 2000, 3000]
    first, *_, last = found["points"]
    assert last["redis_bytes"] > first["redis_bytes"], "runs are kept"
    assert found["redis_bytes_per_node"] > 0


@pytest.mark.slow
def test_metg_has_a_curve_for_each_pattern(stand: BenchHarness) -> None:
    found = metg_of_patterns(stand, steps=3, repeat=1, tell=lambda _: None)
    assert list(found) == list(PATTERNS)
    for figures in found.values():
        kernels = [point["kernel_s"] for point in figures["points"]]
        assert kernels == sorted(kernels)
        for point in figures["points"]:
            assert point["efficiency"] == pytest.approx(point["kernel_s"] / point["granularity_s"])


def test_both_ceilings_run_every_task(stand: BenchHarness) -> None:
    before = usage(stand.redis).messages
    assert stand.ceiling(50) > 0
    assert stand.ceiling_consumed(50) > 0
    assert usage(stand.redis).messages - before == 100
    assert stand.redis.llen(stand.queue) == 0


def test_a_large_flow_is_warmed_up_with_a_part_of_it(stand: BenchHarness) -> None:
    assert stand.warm_up(compiled(named("fan3000"), Work())) < 5000
    reader = stand.session.runtime.reader
    (run,) = (row for row in reader.list_runs(RunQuery(limit=1000)) if row.flow == "fan3000")
    assert run.state is RunState.CANCELLED
    assert 1000 <= len(reader.outputs(run.id)) < 3000
    assert stand.redis.llen(stand.queue) == 0


def test_messages_are_weighed_without_running_anything(stand: BenchHarness) -> None:
    plan = compiled(named("layered1x4"), Work(), id="weighed")
    before = usage(stand.redis).messages
    assert 500 < stand.first_message(plan) < 5000
    assert usage(stand.redis).messages > before
    reader = stand.session.runtime.reader
    (run,) = (row for row in reader.list_runs(RunQuery(limit=1000)) if row.flow == "weighed")
    assert (run.state, run.started) == (RunState.CANCELLED, None)


def test_a_run_that_fails_ends_the_benchmark_with_its_reason(stand: BenchHarness) -> None:
    plan = compiled(named("chain2"), Work.of("pause", seconds="soon"))
    run = start_run(stand.session, plan)
    with pytest.raises(RunFailedError, match="ArgumentError"):
        stand.finish(run, nodes=2)


def test_a_worker_that_dies_ends_the_benchmark() -> None:
    with BenchHarness(Worker(slots=1, mode="one-message")) as stand:
        stand.check()
        worker = psutil.Process(stand.worker_pids()[0])
        worker.kill()
        plan = compiled(named("chain5"), Work.of("pause", seconds=1.0))
        with pytest.raises(ServiceError, match="worker of the benchmark has died"):
            stand.finish(start_run(stand.session, plan), nodes=5)
