"""Running the cases on a backend.

In: a backend, or its name. Out: a Report. Not here: what the cases check.
"""

import asyncio
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from flowcore.backends.registry import BackendRegistry
from flowcore.ports.capability import Capability
from flowcore.testing.conformance.case import Case, Mismatch, Subject
from flowcore.testing.conformance.events import HEARING
from flowcore.testing.conformance.execution import BEHAVIOUR
from flowcore.testing.conformance.graph import SHAPES
from flowcore.testing.conformance.structured import NESTING

__all__ = ["CASES", "Outcome", "Report", "Result", "check", "run", "verify"]

CASES: Sequence[Case] = (*SHAPES, *NESTING, *BEHAVIOUR, *HEARING)

#: Seconds after which a case is given up.
_PATIENCE = 90.0


class Outcome(StrEnum):
    """Outcome of a case."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "not supported"
    """The backend does not say that it can do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case on one backend."""

    case: str
    capability: Capability
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All cases on one backend."""

    backend: str
    results: Sequence[Result]

    @property
    def passed(self) -> bool:
        """True if the backend does all that it declares."""
        return not any(result.outcome is Outcome.FAILED for result in self.results)

    def features(self) -> dict[str, Outcome]:
        """By capability: passed if all of its cases are."""
        found: dict[str, Outcome] = {}
        for capability in Capability:
            outcomes = {one.outcome for one in self.results if one.capability is capability}
            worst = (Outcome.FAILED, Outcome.UNSUPPORTED, Outcome.PASSED)
            if outcomes:
                found[capability.value] = next(each for each in worst if each in outcomes)
        return found

    def __str__(self) -> str:
        """List what failed, a line each."""
        failed = [one for one in self.results if one.outcome is Outcome.FAILED]
        lines = [f"{one.case} [{one.capability}]: {one.reason}" for one in failed]
        passed = sum(one.outcome is Outcome.PASSED for one in self.results)
        return "\n".join([f"{self.backend}: {passed} passed, {len(failed)} failed", *lines])


def declared(backend: Any) -> frozenset[str]:
    """Return a backend's declared capabilities; without a declaration, the graph alone."""
    return frozenset(getattr(backend, "features", ())) or frozenset({Capability.ASYNC.value})


async def check(case: Case, backend: Any) -> bool:
    """Run one case.

    Returns:
        False when the backend does not say that it can do this: nothing was run.

    Raises:
        Mismatch: It does something else than the shared semantics say.
        Exception: Whatever the backend raises.
    """
    if case.capability.value not in declared(backend):
        return False
    with tempfile.TemporaryDirectory(prefix="flowcore-conformance-") as folder:
        subject = Subject(backend=backend, folder=Path(folder))
        try:
            await asyncio.wait_for(case.check(subject), _PATIENCE)
        except TimeoutError as error:
            raise Mismatch(f"not done within {_PATIENCE:g} s") from error
    return True


async def verify(backend: Any, *, name: str = "", cases: Sequence[Case] = CASES) -> Report:
    """Run cases on a backend, one after the other.

    Args:
        backend: A backend, as ``BackendRegistry.create`` makes it.
        name: How to call it in the report.
        cases: Which.
    """
    results = [await _result(case, backend) for case in cases]
    return Report(backend=name or type(backend).__name__, results=results)


async def _result(case: Case, backend: Any) -> Result:
    outcome, reason = Outcome.PASSED, ""
    try:
        if not await check(case, backend):
            outcome = Outcome.UNSUPPORTED
    except Exception as error:  # noqa: BLE001  (whatever a backend raises is its result)
        outcome = Outcome.FAILED
        where = "" if isinstance(error, Mismatch) else _where(error)
        reason = f"{type(error).__name__}: {error}{where}"
    return Result(case=case.name, capability=case.capability, outcome=outcome, reason=reason)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def run(name: str, *, cases: Sequence[Case] = CASES, **options: Any) -> Report:
    """Make a registered backend and run cases on it.

    Args:
        name: As the registry knows it.
        cases: Which; all when left out.
        options: What the backend is made with.

    Raises:
        UnknownBackendError: No backend has this name.
    """
    backend = BackendRegistry.create(name, **options)
    return asyncio.run(verify(backend, name=name, cases=cases))


def rows(report: Report) -> Iterator[dict[str, str]]:
    """Give a report as plain rows."""
    for one in report.results:
        yield {
            "case": one.case,
            "capability": one.capability.value,
            "outcome": one.outcome.value,
            "reason": one.reason,
        }
