"""Names of workers: unique unless somebody gave them, and never given twice."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import cast

import pytest
from celery.bin.celery import celery as celery_group
from celery.bin.worker import worker as celery_worker
from celery.utils.nodenames import gethostname

from flowcore.assembly.worker_names import full_name, others_named, refuse_taken
from flowcore.celery.node_names import unique_name
from flowcore.celery.start import is_celery_command, name_of_worker
from flowcore.errors import UsageError
from flowcore.ports.workers import WorkerInfo, WorkerRegistry

HOST = gethostname()


def note(name: str, pid: int) -> WorkerInfo:
    return WorkerInfo(
        id=f"{name}|{pid}", name=name, queues=("q",), concurrency=1, pool="solo", pid=pid
    )


@dataclass
class Board:
    """A board whose notes leave one by one, a look each."""

    notes: list[WorkerInfo] = field(default_factory=list)
    leaving: bool = False

    def workers(self) -> list[WorkerInfo]:
        seen = list(self.notes)
        if self.leaving and self.notes:
            self.notes.pop()
        return seen


def board(*notes: WorkerInfo, leaving: bool = False) -> WorkerRegistry:
    return cast("WorkerRegistry", Board(list(notes), leaving=leaving))


def test_no_two_names_are_one() -> None:
    names = {unique_name() for _ in range(200)}
    assert len(names) == 200
    assert all(name.startswith(f"celery-{os.getpid()}-") for name in names)
    assert all(name.endswith(f"@{HOST}") for name in names)


@pytest.mark.parametrize("words", [[], ["-c", "2"], ["-Q", "celery"]])
def test_a_worker_that_nobody_named_has_a_name_of_its_own(words: list[str]) -> None:
    with celery_worker.make_context("worker", list(words), resilient_parsing=True) as context:
        given = context.params["hostname"]
        assert given == f"celery@{HOST}", "what Celery would call each of them"
        assert name_of_worker(given) != name_of_worker(given)


@pytest.mark.parametrize(
    "words", [["-n", "celery@%h"], ["--hostname", f"celery@{HOST}"], ["-n", "w1@there"]]
)
def test_celerys_own_option_wins(words: list[str]) -> None:
    with celery_worker.make_context("worker", list(words), resilient_parsing=True) as context:
        given = context.params["hostname"]
        assert name_of_worker(given) == given


def test_a_variable_of_celerys_wins_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_WORKER_HOSTNAME", f"celery@{HOST}")
    with celery_worker.make_context(
        "worker", [], resilient_parsing=True, auto_envvar_prefix="CELERY_WORKER"
    ) as context:
        assert name_of_worker(context.params["hostname"]) == f"celery@{HOST}"


def test_outside_of_commands_a_name_that_is_given_is_kept() -> None:
    assert name_of_worker("mine@here") == "mine@here"
    assert name_of_worker(None).startswith("celery-")


def test_a_celery_command_is_known_as_one() -> None:
    assert not is_celery_command()
    with celery_group.make_context("celery", ["--version"], resilient_parsing=True):
        assert is_celery_command()


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("gpu", f"gpu@{HOST}"),
        ("gpu@%h", f"gpu@{HOST}"),
        ("gpu@there", "gpu@there"),
        (f"celery@{HOST}", f"celery@{HOST}"),
    ],
)
def test_names_are_spelled_as_celery_does(given: str, full: str) -> None:
    assert full_name(given) == full


def test_a_name_that_a_live_worker_has_is_refused_with_the_way_out() -> None:
    taken = note("gpu@there", 12)
    with pytest.raises(UsageError, match=r"'gpu@there' already \(process 12\).*--name.*or none"):
        refuse_taken(board(taken, note("other@there", 13)), "gpu@there", patience=0)
    refuse_taken(board(taken), "gpu@elsewhere", patience=0)


def test_a_worker_that_is_leaving_is_waited_for() -> None:
    refuse_taken(board(note("gpu@there", 12), leaving=True), "gpu@there", patience=60)


def test_a_note_of_a_process_that_has_ended_here_counts_for_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = f"gpu@{HOST}"
    assert others_named(board(note(name, ended.pid)), name) == []
    alive = note(name, os.getppid())
    assert others_named(board(note(name, ended.pid), alive), name) == [alive]
    # In a container that takes another's place, all processes have the numbers they had.
    assert others_named(board(note(name, os.getpid())), name) == []
    # Of other hosts nobody knows.
    there = note("gpu@there", ended.pid)
    assert others_named(board(there), "gpu@there") == [there]
