"""``flowcore bench`` as a command: what it asks for, and how it shows a report."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from flowcore.bench.suite import Options
from flowcore.cli.commands import bench as command
from flowcore.cli.main import main

IDLE = {
    "nodes": 1000,
    "nodes_per_s": 3456.7,
    "ratio": 3.89,
    "cpu_s_per_node": 0.00123,
    "redis_commands_per_node": 2.84,
    "redis_bytes_per_node": 1363.0,
    "redis_memory_bytes_per_node": 310.0,
    "message_bytes": 1013,
    "worker_peak_bytes": 220 * 2**20,
    "redis_peak_bytes": None,
}
WORKING = {**IDLE, "nodes_per_s": 187.0, "share_of_ideal": 0.954}
del WORKING["ratio"]
POINT = {
    "nodes": 100,
    "edges": 99,
    "messages_per_node": 0.98,
    "compile_s": 0.001,
    "submit_s": 0.002,
    "run_s": 0.1,
    "cpu_s": 0.05,
}
POWERS = {"compile": 0.98, "submit": 0.7, "run": 1.02}
REPORT: dict[str, Any] = {
    "ceiling_tasks_per_s": 888.0,
    "ceiling_consumed_tasks_per_s": 1200.0,
    "ceiling_cpu_s_per_task": 0.0025,
    "dags": {"chain1000": {**IDLE, "5ms": WORKING, "one-message": {**IDLE, "ratio": 0.72}}},
    "latency": {"grain": {"node_to_node": {"samples": 9, "p50_s": 0.00017, "p99_s": 0.0004}}},
    "streaming": {
        "grain": {
            "first_token": {"samples": 9, "p50_s": 0.0017, "p99_s": 0.004},
            "token": {"samples": 9, "p50_s": 0.0019, "p99_s": 0.004},
            "events": 50_000,
            "events_per_s": 31_234.0,
            "events_lost": 0,
        }
    },
    "small_runs": {
        "grain": {
            "runs": 1000,
            "nodes_per_run": 10,
            "runs_per_s": 71.0,
            "nodes_per_s": 710.0,
            "submitted_runs_per_s": 400.0,
        }
    },
    "metg": {"grain": {"fft": {"metg_s": 0.00367}, "tree": {"metg_s": None}}},
    "memory": {
        "grain": {
            "points": [{"nodes": 10_000, "worker_bytes": None, "redis_bytes": 3 * 2**20}],
            "worker_bytes_per_node": None,
            "redis_bytes_per_node": 312.4,
        }
    },
    "growth": {"grain": {"fan": {"points": [POINT], "exponent": POWERS, "last_exponent": {}}}},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Options of each benchmark, which is not run."""
    found: list[Options] = []

    def measure(options: Options, tell: Callable[[str], None]) -> dict[str, Any]:
        found.append(options)
        tell("chain1000: 3457 nodes/s")
        return REPORT

    monkeypatch.setattr(command, "measure", measure)
    return found


def test_every_section_is_shown(asked: list[Options], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    out, err = capsys.readouterr()
    assert err == "chain1000: 3457 nodes/s\n"
    rows = [line.split() for line in out.splitlines()]
    assert "ceiling: 888 no-op Celery tasks/s (1200 when all are published before), 2.50" in out
    kept = ["1.23", "2.8", "1363", "310", "1013", "220"]
    assert ["chain1000", "noop", "3457", "3.89", *kept] in rows
    assert ["chain1000", "5ms", "187", "95%", *kept] in rows
    assert ["chain1000", "one-message", "noop", "3457", "0.72", *kept] in rows
    assert ["node", "to", "node", "grain", "0.17", "0.40"] in rows
    assert ["1000", "of", "10", "nodes", "grain", "71", "710", "400"] in rows
    assert ["fft", "grain", "3.67"] in rows
    assert ["tree", "grain", "not", "reached"] in rows
    assert ["grain", "10000", "3"] in rows
    assert "312 of Redis for each node more" in out
    assert ["fan", "grain", "100", "10", "20", "1000", "500", "0.98"] in rows
    assert ["fan", "grain", "exponent", "0.98", "0.70", "1.02"] in rows
    assert ["fan", "grain", "last", "exponent"] in rows


def test_json_is_the_report_and_nothing_else(
    asked: list[Options], capsys: pytest.CaptureFixture[str]
) -> None:
    for form in (["--json"], ["-o", "json"], ["--json", "-o", "jsonl"]):
        assert main(["bench", *form, "--quiet"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == REPORT
        assert len(out.splitlines()) == 1 or "jsonl" not in form
        assert err == ""


def test_the_default_is_quick_and_full_is_everything(asked: list[Options]) -> None:
    main(["bench", "-q"])
    main(["bench", "-q", "--full"])
    quick, full = asked
    assert (quick.modes, quick.nodes, quick.repeat) == (("grain",), ("noop", "5ms"), 1)
    assert quick.sections == ("throughput", "latency", "small-runs")
    assert len(quick.dags) == 7
    assert (full.modes, full.repeat, full.full) == (("grain", "one-message"), 3, True)
    assert {*full.sections} - {*quick.sections} == {"streaming", "metg", "memory", "growth"}


def test_options_choose_what_is_measured(asked: list[Options]) -> None:
    words = "--dags chain5,fan9 --modes one-message --nodes 20ms --only latency --slots 4"
    main(["bench", "-q", *words.split(), "--pool", "threads", "--repeat", "2", "--tasks", "7"])
    (options,) = asked
    assert options == Options(
        dags=("chain5", "fan9"),
        modes=("one-message",),
        nodes=("20ms",),
        sections=options.sections,
        slots=4,
        pool="threads",
        repeat=2,
        tasks=7,
    )
    assert options.sections == ("latency",)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--only", "luck"], "no section 'luck'; use throughput, latency"),
        (["--dags", "ring9"], "no flow to measure is called 'ring9'"),
        (["--modes", "pigeon"], "'pigeon'; use grain or one-message"),
        (["--nodes", "often"], "'noop', or sleep for a time such as '5ms', not 'often'"),
        (["--only", ","], "there is nothing to measure"),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_those_that_do(
    words: list[str], reason: str, asked: list[Options], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    assert reason in capsys.readouterr().err
    assert asked == []
