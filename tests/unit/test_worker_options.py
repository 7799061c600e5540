"""What a worker may be asked to be, and the command of Celery it makes."""

import sys

import pytest
from celery.bin.worker import worker as celery_worker
from hypothesis import given
from hypothesis import strategies as st

from flowcore.assembly.worker_options import WorkerOptions
from flowcore.errors import UsageError


def test_options_become_those_of_celery() -> None:
    options = WorkerOptions(
        concurrency=3,
        max_tasks_per_child=10,
        max_memory_per_child=2048,
        include=("a", "b.c"),
        name="gpu@%h",
        log_level="DEBUG",
    )
    python, *words = options.argv(["q", "r"])
    assert python == sys.executable
    assert words == [
        *("-m", "celery", "-A", "flowcore", "worker", "--pool=prefork", "--queues=q,r"),
        *("--concurrency=3", "--max-tasks-per-child=10", "--max-memory-per-child=2048"),
        *("--include=a,b.c", "--hostname=gpu@%h", "--loglevel=DEBUG"),
    ]


@pytest.mark.parametrize(("given", "spelled"), [("8,2", "8,2"), ("8", "8,1"), ("3, 3", "3,3")])
def test_a_pool_that_grows_always_has_a_process(given: str, spelled: str) -> None:
    assert f"--autoscale={spelled}" in WorkerOptions(autoscale=given).argv(["q"])


@given(most=st.integers(0, 40), least=st.none() | st.integers(0, 40))
def test_the_ends_of_a_range_are_as_they_were_given_or_refused(
    most: int, least: int | None
) -> None:
    text = str(most) if least is None else f"{most},{least}"
    low = 1 if least is None else least
    if not 1 <= low <= most:
        with pytest.raises(UsageError, match="expected MAX,MIN"):
            WorkerOptions(autoscale=text)
        return
    (word,) = [w for w in WorkerOptions(autoscale=text).argv(["q"]) if w.startswith("--auto")]
    context = celery_worker.make_context("worker", [word], resilient_parsing=True)
    assert context.params["autoscale"] == (most, low), "as Celery reads it"


@pytest.mark.parametrize(
    "text", ["", "x", "1,2", "0", "3,0", "-1", "4,2,1", "4;2", "1.5", "9" * 99]
)
def test_a_range_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected MAX,MIN .* such as 8,2"):
        WorkerOptions(autoscale=text)


@pytest.mark.parametrize("pool", ["threads", "solo"])
@pytest.mark.parametrize(
    "more", [{"autoscale": "3"}, {"max_tasks_per_child": 3}, {"max_memory_per_child": 9}]
)
def test_what_is_for_processes_is_refused_for_other_pools(pool: str, more: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="is for the pool 'prefork'"):
        WorkerOptions(pool=pool, **more)  # type: ignore[arg-type]


def test_two_options_do_not_say_one_thing() -> None:
    with pytest.raises(UsageError, match="leave one out"):
        WorkerOptions(autoscale="3", concurrency=2)


@pytest.mark.parametrize("name", ["", " ", "a b", "@", "a@", "@h", "a@b@c", "a\nb", "x" * 101, "é"])
def test_a_name_that_is_none_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(UsageError, match="such as gpu or gpu@%h"):
        WorkerOptions(name=name)
