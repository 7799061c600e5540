"""Blocking calls and their async twins: the same to call, and one names the other."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from flowcore import Flow, Run, Schedules
from flowcore.errors import BlockingCallError

NOWHERE: Any = object()  # a session that nobody gets to


def _public(kind: type) -> dict[str, Any]:
    found = inspect.getmembers(kind, inspect.isroutine)
    return {name: each for name, each in found if not name.startswith("_")}


def _is_async(call: Any) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


@pytest.mark.parametrize("kind", [Schedules, Run, Flow])
def test_a_twin_takes_what_its_blocking_call_takes(kind: type) -> None:
    calls = _public(kind)
    twins = [name for name in calls if _is_async(calls[name]) and name[1:] in calls]
    assert twins
    for twin in twins:
        taken, given = (inspect.signature(calls[name]) for name in (twin, twin[1:]))
        assert list(taken.parameters.values()) == list(given.parameters.values()), twin


def test_everything_about_schedules_has_a_twin() -> None:
    calls = _public(Schedules)
    blocking = {name for name, call in calls.items() if not _is_async(call)}
    assert {f"a{name}" for name in blocking} == calls.keys() - blocking


@pytest.mark.parametrize(
    ("call", "twin"),
    [
        (lambda: Schedules(session=NOWHERE).put("s", "f", every=60), "schedules.aput()"),
        (lambda: Schedules(session=NOWHERE).get("s"), "schedules.aget()"),
        (lambda: Schedules(session=NOWHERE).list(), "schedules.alist()"),
        (lambda: Schedules(session=NOWHERE).next("s"), "schedules.anext()"),
        (lambda: Schedules(session=NOWHERE).pause("s"), "schedules.apause()"),
        (lambda: Schedules(session=NOWHERE).resume("s"), "schedules.aresume()"),
        (lambda: Schedules(session=NOWHERE).remove("s"), "schedules.aremove()"),
        (lambda: Schedules(session=NOWHERE).run_now("s"), "schedules.arun_now()"),
        (lambda: Flow("f").deploy(session=NOWHERE), "flow.adeploy()"),
        (lambda: Flow.deployed("f", session=NOWHERE), "Flow.adeployed()"),
        (lambda: Run.list(session=NOWHERE), "Run.alist()"),
        (lambda: Run.query(session=NOWHERE), "Run.aquery()"),
        (lambda: Run.all("cancel", tag="t", session=NOWHERE), "Run.aall()"),
        (lambda: Run.dead_letters(session=NOWHERE), "Run.adead_letters()"),
        (lambda: Run("r", session=NOWHERE).requeue(), "handle.arequeue()"),
    ],
)
async def test_a_blocking_call_in_an_event_loop_names_its_twin(
    call: Callable[[], object], twin: str
) -> None:
    with pytest.raises(BlockingCallError) as caught:
        call()
    assert caught.value.twin == twin
