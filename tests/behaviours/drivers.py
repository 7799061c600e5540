"""The two ways to run a behaviour: the test kit, and real workers.

In: a behaviour. Out: what is seen of its run.

What may be done to a run: ``signal NAME {…}``, ``approve NODE``, ``reject NODE``, ``cancel``,
``pause``, ``resume``, ``rerun FROM INPUT``, ``schedule NAME FLOW INPUT`` (which is run now),
``touch FILE`` and ``remove FILE`` in the directory that the run's input names.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flowcore import Flow, Run, Schedules, Session
from flowcore.client.flow import start_run
from flowcore.errors import FlowcoreError, WaitTimeoutError
from flowcore.run.event import Event
from flowcore.run.record import RunRecord
from flowcore.run.status import NodeState
from flowcore.testing import Flows
from tests.behaviours.core import Behaviour, Seen, observe

__all__ = ["on_kit", "on_workers"]

SECRET = "sesame"

#: Seconds that a run of a few nodes may take on a machine with much else to do.
PATIENCE = 100.0


def _input(behaviour: Behaviour, home: Path) -> Any:
    if behaviour.input == "dir":
        home.mkdir(parents=True)
        (home / "file").touch()
        return {"file": str(home / "file")}
    return behaviour.input


def _do(run: Any, step: tuple[Any, ...], home: Path, schedules: Schedules) -> Any:
    """Do something to a run; return the run that is looked at from then on."""
    what, *more = step
    if what == "touch":
        (home / more[0]).touch()
    elif what == "remove":
        (home / more[0]).unlink()
    elif what == "signal":
        run.signal(more[0], **(more[1] if len(more) > 1 else {}))
    elif what == "schedule":
        name, flow, given = more
        schedules.put(name, flow, every="10h", input=given, tags=["scheduled"])
        return schedules.run_now(name)
    elif what == "rerun":
        return run.rerun(*more)
    else:
        getattr(run, what)(*more)
    return run


def _script(
    run: Any,
    behaviour: Behaviour,
    home: Path,
    settle: Callable[[Any], object],
    schedules: Schedules,
) -> tuple[Any, list[str | None]]:
    steps: list[str | None] = []
    for step in behaviour.do:
        settle(run)
        try:
            run = _do(run, step, home, schedules)
            steps.append(None)
        except FlowcoreError as error:
            steps.append(type(error).__name__)
    return run, steps


def on_kit(behaviour: Behaviour, home: Path, *, duplicate: bool = False) -> Seen:
    """Run a behaviour in this process."""
    flows = Flows(duplicate=duplicate)
    flows.secret("WORD", SECRET)
    flows.task("behaviours.add", lambda x, y: x + y)
    for one in behaviour.deploys:
        flows.deploy(one)
    started = flows.start(behaviour.flow, _input(behaviour, home))
    run, steps = _script(started, behaviour, home, lambda _: None, flows.schedules)
    flows.run_out()
    return observe(
        run.id,
        run.result(),
        read=flows.store.record,
        events=flows.events,
        children=lambda id: list(flows.store.children(id)),
        steps=steps,
    )


def on_workers(
    behaviours: list[Behaviour], session: Session, home: Path
) -> Iterator[tuple[Behaviour, Seen]]:
    """Run many behaviours at a time on the workers of a session."""
    for behaviour in behaviours:
        for one in behaviour.deploys:
            Flow.load(one).deploy(session=session)
    runs = [_start(at, one, session, home) for at, one in enumerate(behaviours)]
    with ThreadPoolExecutor(16) as pool:
        jobs = [
            pool.submit(_finish, at, one, runs[at], session, home)
            for at, one in enumerate(behaviours)
        ]
        for behaviour, job in zip(behaviours, jobs, strict=True):
            yield behaviour, job.result()


def _start(at: int, behaviour: Behaviour, session: Session, home: Path) -> Run:
    plan = Flow.load(behaviour.flow).plan()
    return start_run(session, plan, _input(behaviour, home / str(at)))


def _finish(at: int, behaviour: Behaviour, run: Run, session: Session, home: Path) -> Seen:
    reader = session.runtime.reader

    def settle(run: Run) -> None:
        ends = time.monotonic() + PATIENCE
        while not _is_still(run.id, reader.record, reader.children):
            assert time.monotonic() < ends, f"{behaviour.name}: never still"
            time.sleep(0.02)

    run, steps = _script(run, behaviour, home / str(at), settle, Schedules(session=session))
    if behaviour.state in {"running", "paused"}:
        settle(run)
        result = run._collect()
    else:
        try:
            result = run.wait(PATIENCE)
        except WaitTimeoutError as error:
            error.add_note(f"{behaviour.name}: {reader.record(run.id)}")
            raise
        settle(run)  # the runs inside may still be told
    return observe(
        run.id,
        result,
        read=reader.record,
        events=lambda id: _events(id, session),
        children=lambda id: list(reader.children(id)),
        steps=steps,
    )


_MOVING = {NodeState.DISPATCHED, NodeState.RUNNING, NodeState.RETRYING}


def _is_still(
    run: str, read: Callable[[str], RunRecord | None], children: Callable[[str], Any]
) -> bool:
    """Whether nothing moves in a run, nor in those inside it, until somebody does something."""
    record = read(run)
    if record is None:
        return True
    if record.state.value in {"pending", "stopping"}:
        return False
    inside = {child: read(child) for child in children(run)}
    for node in record.nodes.values():
        if node.state in _MOVING:
            return False
        child = inside.get(f"{run}/{node.id}")
        if node.state is NodeState.WAITING and child is not None and child.state.is_terminal:
            return False
    return all(_is_still(child, read, children) for child in inside)


def _events(run: str, session: Session) -> list[Event]:
    found: list[Event] = []
    while page := session.runtime.events.read(run, after=len(found)):
        found += page
    return found
