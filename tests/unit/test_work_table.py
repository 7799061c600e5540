"""What a child writes of its work is what its parent reads, or nothing."""

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flowcore.engine.attempts.work_table import MOST_NODES, RunningWork, WorkRecord, WorkTable
from flowcore.engine.worker.liveness import (
    CpuWatch,
    Excess,
    ProcessUsage,
    excess,
    is_heard,
    parse_stat,
    read_usage,
)


def _record(table: WorkTable, index: int = 0) -> WorkRecord:
    record = table.take(index)
    assert record is not None
    return record


def _read(table: WorkTable, index: int = 0) -> RunningWork:
    work = table.read(index)
    assert work is not None
    return work


def test_a_record_that_nobody_has_taken_and_one_of_an_idle_child_read_as_nothing() -> None:
    table = WorkTable(2)
    record = _record(table)
    assert table.read(0) is None
    assert table.read(1) is None
    record.open("run", plan="plan")
    record.begin(0)
    record.close()
    assert table.read(0) is None
    assert table.take(2) is None
    assert table.take(-1) is None


def test_what_is_written_is_read() -> None:
    table = WorkTable(2)
    record = _record(table, 1)
    record.open("röd/1", plan="p" * 40, unit="u3", past=(1, 2, True))
    record.begin(3, started=7.0)
    record.begin(9, 4, started=8.0)
    record.ask(9.0)
    record.beat(1.5)
    work = _read(table, 1)
    assert (work.run, work.plan, work.unit) == ("röd/1", "p" * 40, "u3")
    assert (work.lost, work.before, work.node, work.attempt) == (1, 2, 9, 4)
    assert work.deferred
    assert (work.started, work.heartbeat, work.asked) == (8.0, 1.5, 9.0)
    assert work.pid == os.getpid()
    assert work.ran == (3,)
    assert work.deadline is None


def test_what_is_recorded_is_no_longer_among_what_has_run() -> None:
    table = WorkTable(1)
    record = _record(table)
    record.open("run", plan="plan")
    for node in range(500):
        record.begin(node)
    assert _read(table).ran == tuple(range(499))
    record.flushed()
    assert _read(table).ran == ()
    assert _read(table).node == 499
    record.begin(500)
    assert _read(table).ran == (499,)


def test_a_record_never_writes_into_the_next_one() -> None:
    table = WorkTable(2)
    other = _record(table, 1)
    other.open("other", plan="plan")
    other.begin(1)
    record = _record(table)
    record.open("run", plan="plan")
    for node in range(3 * MOST_NODES):
        record.begin(node)
    assert _read(table).node == 3 * MOST_NODES - 1
    assert _read(table, 1).run == "other"


def test_a_request_to_end_and_a_limit_are_not_those_of_the_next_message() -> None:
    table = WorkTable(1)
    record = _record(table)
    record.open("one", plan="plan")
    record.begin(0)
    record.arm(5)
    record.ask(1.0)
    record.close()
    record.open("two", plan="plan")
    record.begin(0)
    assert _read(table).asked is None
    assert _read(table).deadline is None


def test_places_under_limits_are_read_as_they_are_held() -> None:
    table = WorkTable(1)
    record = _record(table)
    record.open("run", plan="plan")
    record.begin(0)
    assert _read(table).places == ()
    record.hold([("gpü", "run|0|1"), ("cache:x", "run|0|1")])
    assert _read(table).places == (("gpü", "run|0|1"), ("cache:x", "run|0|1"))
    record.hold([("x" * 2000, "run|0|1")])
    assert _read(table).places == ()


def test_a_fallback_that_is_called_is_that_of_the_current_node() -> None:
    table = WorkTable(1)
    record = _record(table)
    record.open("run", plan="plan")
    record.begin(0)
    assert not _read(table).fallen
    record.fall()
    assert _read(table).fallen
    record.open("run", plan="plan")
    record.begin(0)
    assert not _read(table).fallen


def test_names_that_do_not_fit_leave_the_work_unwatched() -> None:
    table = WorkTable(1)
    record = _record(table)
    record.open("run", plan="plan")
    record.begin(0)
    record.open("r" * 3000, plan="plan")
    assert table.read(0) is None
    record.begin(1)
    assert table.read(0) is None, "nor is it taken for the work before"
    record.open("run2", plan="plan")
    record.begin(2)
    assert _read(table).run == "run2"


def test_the_last_words_of_a_process_outlive_its_record() -> None:
    table = WorkTable(2)
    child = os.fork()
    if child == 0:
        record = _record(table)
        record.open("run", plan="plan", unit="u1")
        for node in (3, 5):
            record.begin(node)
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(2):  # once in its record, once when another process has that
        words = table.last_words(child)
        assert words is not None
        assert (words.run, words.unit, words.begun) == ("run", "u1", (3, 5))
        _record(table).open("other", plan="plan")
        assert table.last_words(os.getpid()) is None, "it has begun nothing"
    assert table.last_words(2**22 + 1) is None


def test_a_turn_is_read_as_it_was_written() -> None:
    table = WorkTable(1)
    record = _record(table)
    record.open("run", plan="plan", turn=3)
    record.begin(0)
    assert _read(table).turn == 3
    record.open("run", plan="plan")
    record.begin(0)
    assert _read(table).turn == 0


def test_the_next_owner_of_a_record_begins_afresh() -> None:
    table = WorkTable(1)
    first = _record(table)
    first.open("one", plan="plan")
    for node in range(300):
        first.begin(node)
    second = _record(table)
    assert table.read(0) is None
    second.open("two", plan="plan")
    second.begin(7)
    assert (_read(table).run, _read(table).node, _read(table).ran) == ("two", 7, ())


@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_while_another_process_writes_is_whole(seed: int) -> None:
    """Each run names nodes that no other one has, so what was mixed up shows."""
    table = WorkTable(1)
    child = os.fork()
    if child == 0:
        _write_for_ever(table, random.Random(seed))
    try:
        met: set[str] = set()
        ends = time.monotonic() + 30
        while len(met) < 200 and time.monotonic() < ends:
            if (work := table.read(0)) is None:
                continue
            met.add(work.run)
            number = int(work.run)
            assert work.plan == f"plan{number}"
            assert work.unit == "u" * (number % 50)
            assert {node // 1000 for node in (*work.ran, work.node)} == {number % 1000}
            assert list(work.ran) == sorted(work.ran)
        assert len(met) >= 200
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _write_for_ever(table: WorkTable, chance: random.Random) -> None:
    record = table.take(0)
    number = 0
    while record is not None:
        number += 1
        record.open(str(number), plan=f"plan{number}", unit="u" * (number % 50))
        for node in range(chance.randrange(1, 400)):
            record.begin(number % 1000 * 1000 + node)
            if not chance.randrange(60):
                record.flushed()
        record.close()
    os._exit(1)


def _work(**given: float | None) -> RunningWork:
    table = WorkTable(1)
    record = _record(table)
    record.open("run", plan="plan")
    record.begin(0)
    return replace(_read(table), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("deadline", "asked", "now", "why"),
    [
        (None, None, 1e9, None),
        (10.0, None, 11.4, None),
        (10.0, None, 11.6, Excess.TIMEOUT),
        (None, 10.0, 12.9, None),
        (None, 10.0, 13.1, Excess.CANCELLED),
        (10.0, 10.0, 11.6, Excess.TIMEOUT),
        (10.0, 10.0, 13.1, Excess.CANCELLED),
    ],
)
def test_work_is_ended_when_its_limit_and_its_grace_are_over(
    deadline: float | None, asked: float | None, now: float, why: Excess | None
) -> None:
    work = _work(deadline=deadline, asked=asked)
    assert excess(work, now, grace=1.5, stop_grace=3.0) is why


def test_a_heartbeat_is_heard_for_a_while() -> None:
    work = _work(heartbeat=10.0)
    assert is_heard(work, 12.0, patience=2.0)
    assert not is_heard(work, 12.1, patience=2.0)


def test_a_process_is_on_the_cpu_while_its_time_grows() -> None:
    now: dict[int, ProcessUsage] = {1: ProcessUsage("R", 5)}
    watch = CpuWatch(patience=1.0, usage=now.get)
    assert not watch.is_running(1, 0.0)
    now[1] = ProcessUsage("S", 6)
    assert watch.is_running(1, 0.5)
    assert watch.is_running(1, 1.4)
    assert not watch.is_running(1, 1.6)
    now[1] = ProcessUsage("T", 9)
    assert not watch.is_running(1, 2.0)
    now[1] = ProcessUsage("R", 9)
    assert not watch.is_running(1, 2.1)
    assert not watch.is_running(2, 2.1)


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        (
            "7 (a ) R (b) S 1 7 7 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 1 0 8 9 1",
            ProcessUsage("S", 42),
        ),
        ("", None),
        ("7 (a) S", None),
    ],
)
def test_the_kernel_is_understood(text: str, usage: ProcessUsage | None) -> None:
    assert parse_stat(text) == usage


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_the_kernel_is_asked() -> None:
    usage = read_usage(os.getpid())
    assert usage is not None
    assert usage.can_run
    assert read_usage(2**22 + 1) is None
