"""One campaign: runs and faults together, then everything is held against what must be.

In: a seed, numbers. Out: what was found. Not here: how it is told (report), the control's verdict
(__main__).
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flowcore.errors import FlowcoreError
from flowcore.ports.store import RunQuery
from tests.faults.aftermath import leftovers, wrong_executions
from tests.faults.flows import probe_case, random_case
from tests.faults.injectors.base import Fault
from tests.faults.inner import inner_case
from tests.faults.kinship import late_executions
from tests.faults.recovery import Blow, recoveries
from tests.faults.world import Times, World

__all__ = ["Findings", "Options", "run_campaign"]

_IN_FLIGHT, _IN_FLIGHT_HUNGRY, _IN_FLIGHT_AFTER = 3, 5, 12
_STUCK_AFTER = 2.0
_TRIES = 5
_NO_PROGRESS = 60.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What kind of campaign."""

    seed: int
    runs: int
    kinds: list[type[Fault]]
    times: Times
    patience: float = _NO_PROGRESS
    """Seconds without any run's end after which the open ones count as stuck."""
    inner: float = 0.0
    """The share of flows whose nodes start runs of their own."""
    say: Callable[[str], None] = print


@dataclass(kw_only=True)
class Findings:
    """What came of it."""

    runs: int = 0
    done: list[Fault] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    recoveries: list[tuple[float, str]] = field(default_factory=list)
    executions: int = 0
    repeated: int = 0
    """Executions beyond the first of their node."""
    sent_again: int = 0
    consuming: bool = False
    unacked: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether all invariants hold and each fault has hit."""
        found = (self.lost, self.stuck, self.wrong, self.orphans, self.foreign, self.missed)
        return self.consuming and not any(found)


class _Villain(threading.Thread):
    """Injects the faults, one after the other, each until it has hit something."""

    def __init__(self, world: World, options: Options, findings: Findings) -> None:
        super().__init__(name="villain", daemon=True)
        self.world, self.options, self.findings = world, options, findings
        self.met = 0
        self.dice = random.Random(f"villain {options.seed}")
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for kind in self.options.kinds:
                self._one(kind)
                self.met += 1
                time.sleep(self.dice.uniform(0.1, 0.8))
        except BaseException as error:  # noqa: BLE001  (the campaign's own thread raises it)
            self.error = error

    def _one(self, kind: type[Fault]) -> None:
        name = f"{kind.family} {kind.title}"
        for _ in range(_TRIES):
            fault = kind(self.world, self.dice)
            fault.inject()
            if fault.at:
                self.findings.blows.append(fault.blow())
            if proof := fault.evidence():
                self.findings.done.append(fault)
                self.options.say(f"{name}: {proof[:160]}")
                return
        self.findings.missed.append(name)
        self.options.say(f"{name}: has hit nothing in {_TRIES} tries")


def run_campaign(directory: Path, options: Options) -> Findings:
    """Run one in a directory of its own."""
    began, findings = time.monotonic(), Findings()
    with World(directory, options.times) as world:
        villain = _Villain(world, options, findings)
        villain.start()
        _feed(world, villain, options)
        villain.join()
        if villain.error is not None:
            raise villain.error
        options.say("the faults are over; waiting for the runs to end")
        findings.stuck = _wait_for_ends(world, options.patience)
        if options.times.protected:
            findings.consuming = _consume(world)
            _wait_for_retention(world)
            findings.orphans, findings.unacked = leftovers(world)
        _close(world, findings)
    findings.seconds = time.monotonic() - began
    return findings


def _feed(world: World, villain: _Villain, options: Options) -> None:
    """Keep some runs under way until there have been enough, and for as long as faults want any.

    The runs are spread over the faults; a fault that waits for something to hit may have more.
    """
    dice, index, last = random.Random(options.seed), 0, 0.0
    while index < options.runs or villain.is_alive():
        due = options.runs * (villain.met + 1) / max(1, len(options.kinds))
        allowed = index < min(due, options.runs) or not villain.is_alive()
        wanted = _IN_FLIGHT if villain.is_alive() else _IN_FLIGHT_AFTER
        if world.hungry:
            wanted, allowed = _IN_FLIGHT_HUNGRY, True
        # Stuck runs, which the control has, must not keep others from starting.
        waited = time.monotonic() - last > _STUCK_AFTER
        if allowed and (len(world.ledger.open()) < wanted or waited):
            make = inner_case if dice.random() < options.inner else random_case
            world.ledger.submit(f"fault-{index}", make(dice, index))
            index, last = index + 1, time.monotonic()
        else:
            time.sleep(0.02)


def _wait_for_ends(world: World, patience: float) -> list[str]:
    """Wait until no run is open, or none has ended for ``patience`` seconds."""
    left, since = world.ledger.open(), time.monotonic()
    while left:
        time.sleep(0.1)
        now_left = world.ledger.open()
        if len(now_left) != len(left):
            left, since = now_left, time.monotonic()
        elif time.monotonic() - since > patience:
            return left
    return []


def _consume(world: World) -> bool:
    """Ask each worker, by its own queue, for a fresh run."""
    run = "probe-at-the-end"
    case = probe_case([worker.name for worker in world.workers])
    world.ledger.submit(run, case)
    return not _wait_for_ends(world, 30.0)


def _wait_for_retention(world: World) -> None:
    ends = time.monotonic() + world.times.retention + 20
    while time.monotonic() < ends:
        try:
            if not world.session.runtime.reader.list_runs(RunQuery(limit=1)):
                return
        except FlowcoreError:
            pass
        time.sleep(0.2)


def _close(world: World, findings: Findings) -> None:
    ledger = world.ledger
    findings.runs = len(ledger.accounts)
    findings.lost = ledger.lost()
    findings.foreign = list(ledger.foreign)
    findings.sent_again = ledger.sent_again
    executions = world.executions.all()
    ended = {run: account for run, account in ledger.accounts.items() if account.end}
    logs = {run: events for account in ended.values() for run, events in account.inside.items()}
    kin = {run: account for run, account in ended.items() if account.case.kin}
    findings.wrong = [
        *ledger.problems,
        *wrong_executions(
            executions,
            logs,
            ledger.power_losses,
            kin=kin.keys(),
        ),
        *late_executions(
            executions,
            logs,
            {run for run, account in kin.items() if account.case.plot == "mend"},
            lambda at: any(loss.covers(at) for loss in ledger.power_losses),
        ),
    ]
    findings.executions = len(executions)
    findings.repeated = len(executions) - len({(one.run, one.node) for one in executions})
    findings.recoveries = recoveries(
        findings.blows, logs.values(), dispatch_lease=world.times.dispatch_lease
    )
