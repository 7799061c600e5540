"""A conformance suite for backends: what every one of them must do, by what it says it can.

In: a registered backend. Out: a report: for each case whether it passed. Not here: the engine.

::

    report = flowcore.testing.conformance.run("custom")
    assert report.passed, report

In pytest, each case is a test of its own::

    @pytest.mark.parametrize("case", CASES, ids=str)
    async def test_conformance(case):
        await check(case, BackendRegistry.create("custom"))
"""

from flowcore.testing.conformance.case import Case, Mismatch, Subject
from flowcore.testing.conformance.suite import CASES, Outcome, Report, Result, check, run, verify

__all__ = [
    "CASES",
    "Case",
    "Mismatch",
    "Outcome",
    "Report",
    "Result",
    "Subject",
    "check",
    "run",
    "verify",
]
