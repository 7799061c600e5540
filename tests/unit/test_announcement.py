"""A worker's note about itself, and what it does to others that are of another version."""

import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import flowcore
from flowcore.assembly.engines import engine_versions
from flowcore.assembly.peers import Peers, worker_command
from flowcore.backends.registry import BackendRegistry
from flowcore.celery.monitoring.worker_info import make_note, marked_callables, with_memory
from flowcore.cli.commands.doctor_workers import check_notes
from flowcore.errors import VersionMismatchError
from flowcore.ports.workers import WorkerInfo
from flowcore.run.protocol import WIRE, mismatch

OURS = """
from flowcore import agent, node

@node
def marked():
    pass

@agent("one")
async def helper(text: str):
    return text

def plain():
    pass

class Proxy:
    def __getattr__(self, name):
        raise RuntimeError("nobody may ask a proxy")

proxy = Proxy()
"""


def worker() -> Any:
    consumed = SimpleNamespace(consume_from=["b", "a"])
    return SimpleNamespace(
        hostname="celery@here",
        app=SimpleNamespace(amqp=SimpleNamespace(queues=consumed)),
        concurrency=3,
        max_concurrency=None,
        pool_cls=SimpleNamespace(__module__="celery.concurrency.prefork"),
        pool=None,
    )


@pytest.fixture
def module() -> Iterator[str]:
    name = "module_of_this_test"
    made = ModuleType(name)
    sys.modules[name] = made
    exec(OURS, made.__dict__)
    yield name
    del sys.modules[name]


def test_two_workers_of_one_name_have_notes_of_their_own() -> None:
    one, two = make_note(worker(), {}), make_note(worker(), {})
    assert one.id != two.id
    assert (one.name, one.pid, one.queues) == ("celery@here", os.getpid(), ("a", "b"))
    assert (one.version, one.wire, one.pool) == (flowcore.__version__, WIRE, "prefork")


def test_a_note_says_how_much_memory_the_process_holds() -> None:
    note = with_memory(make_note(worker(), {}), worker())
    assert note.memory > 2**20


def test_marked_callables_are_named_where_they_are_defined(module: str) -> None:
    again = ModuleType("module_that_imports_it")
    again.__dict__["marked"] = sys.modules[module].__dict__["marked"]
    sys.modules[again.__name__] = again
    try:
        names = set(marked_callables())
    finally:
        del sys.modules[again.__name__]
    assert {f"{module}:marked", f"{module}:helper"} <= names
    assert not {f"{module}:plain", f"{module}:proxy", f"{again.__name__}:marked"} & names


def test_engines_are_the_installed_backends_whose_vendor_is_there() -> None:
    engines = engine_versions()
    assert set(engines) <= set(BackendRegistry.list_backends())
    assert engines["native"]


class Board:
    """A board with these notes; counts how often it is asked."""

    def __init__(self, *pages: Sequence[WorkerInfo]) -> None:
        self.pages = list(pages)
        self.asked = 0

    def workers(self) -> Sequence[WorkerInfo]:
        self.asked += 1
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def note(wire: int = WIRE, id: str = "w") -> WorkerInfo:
    about = {"queues": ("q",), "concurrency": 1, "pool": "solo", "pid": 7, "version": "9.9"}
    return WorkerInfo(id=id, name="celery@there", wire=wire, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(("wire", "word"), [(WIRE - 1, "older"), (WIRE + 1, "newer")])
def test_a_client_refuses_to_submit_beside_a_worker_of_another_number(wire: int, word: str) -> None:
    board: Any = Board([note(), note(wire, "x")])
    with pytest.raises(VersionMismatchError) as caught:
        Peers(board).check()
    said = str(caught.value)
    assert word in said
    assert "celery@there (process 7, flowcore 9.9)" in said
    assert f"wire number {wire}, here {WIRE}" in said


def test_workers_of_our_number_are_looked_at_every_few_seconds_only() -> None:
    board: Any = Board([note()])
    now = [100.0]
    peers = Peers(board, clock=lambda: now[0])
    for _ in range(10):
        peers.check()
    assert board.asked == 1
    now[0] += 6
    peers.check()
    assert board.asked == 2


def test_a_worker_waits_for_others_of_another_number_to_leave() -> None:
    board: Any = Board([note(WIRE + 1)], [])
    Peers(board).wait(60)
    with pytest.raises(VersionMismatchError):
        Peers(Board([note(WIRE + 1)])).wait(0)  # type: ignore[arg-type]


def test_doctor_has_a_row_for_each_worker_and_names_who_is_behind() -> None:
    first, second = check_notes([note(), note(WIRE - 1, "x")])
    assert (first.status, second.status) == ("ok", "fail")
    assert "process 7; solo 1; queues q; flowcore 9.9" in first.found
    assert "older" in second.found
    assert second.fix


def test_doctor_names_who_is_behind_among_many() -> None:
    rows = list(check_notes([*(note(id=str(k)) for k in range(50)), note(WIRE - 1, "x")]))
    assert len(rows) < 30
    assert rows[-1].status == "fail"


def test_our_own_number_is_no_mismatch() -> None:
    assert mismatch("anybody", WIRE) is None


def test_the_command_for_queues_names_them_as_definitions_do() -> None:
    assert worker_command(["io", "gpu"]) == "flowcore worker --queues gpu,io"
    assert worker_command(["acme.io", "acme.acme.x"], "acme") == (
        "flowcore worker --queues acme.x,io"
    )
