"""The conformance suite: on the native backend, and on backends that are wrong."""

import asyncio
from typing import Any

import pytest

from flowcore.backends import BackendRegistry, BaseBackend, ExecutionResult
from flowcore.ports.capability import Capability
from flowcore.run.status import RunState
from flowcore.testing import conformance
from flowcore.testing.conformance import CASES, Case, Outcome, check, verify
from tests.acceptance.conftest import DefaultSession


@pytest.mark.parametrize("backend", ["native", "a2a"])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_built_in_backend_conforms(
    case: Case, backend: str, default_session: DefaultSession
) -> None:
    assert await check(case, BackendRegistry.create(backend)), "it says that it can do all"


class Liar(BaseBackend):
    """Says that it can do everything, and does nothing."""

    features = tuple(Capability)

    def create_workflow(self, config: Any) -> Any:
        return config

    async def execute(self, workflow: Any, input_data: Any = None) -> ExecutionResult:
        return ExecutionResult(success=True, state=RunState.SUCCEEDED)

    async def validate(self, workflow: Any) -> bool:
        return True


async def test_every_case_fails_on_a_backend_that_does_nothing() -> None:
    report = await verify(Liar(), name="liar")
    passed = [one.case for one in report.results if one.outcome is not Outcome.FAILED]
    assert passed == []
    assert not report.passed
    assert str(report).startswith("liar: 0 passed, ")


class Modest(Liar):
    """Says of itself that it can do nothing but run graphs."""

    features = ("async",)


async def test_what_a_backend_does_not_say_it_can_is_not_asked_of_it() -> None:
    report = await verify(Modest(), name="modest")
    features = report.features()
    assert features.pop("async") is Outcome.FAILED
    assert set(features.values()) == {Outcome.UNSUPPORTED}


def test_a_registered_backend_is_verified_by_name() -> None:
    BackendRegistry.register(name="modest", backend_class=Modest)
    try:
        report = conformance.run("modest", cases=CASES[:2])
    finally:
        BackendRegistry.unregister("modest")
    assert (report.backend, len(report.results)) == ("modest", 2)


class Wrong(BaseBackend):
    """The native backend, with one thing wrong."""

    features = ("async", "parallel", "resilience")

    def __init__(self, twist: Any) -> None:
        super().__init__()
        self.native = BackendRegistry.create("native")
        self.twist = twist

    def create_workflow(self, config: Any) -> Any:
        return config

    async def execute(self, workflow: Any, input_data: Any = None) -> ExecutionResult:
        result: ExecutionResult = await self.native.execute(self.twist(workflow), input_data)
        return result

    async def validate(self, workflow: Any) -> bool:
        return bool(await self.native.validate(workflow))


def _without(key: str) -> Any:
    """Leave a key of the nodes out."""
    return lambda flow: {
        **flow,
        "nodes": {
            name: {each: value for each, value in node.items() if each != key}
            for name, node in flow["nodes"].items()
        },
    }


def _blind(flow: dict[str, Any]) -> dict[str, Any]:
    return {**flow, "edges": [{**edge, "when": "true"} for edge in flow.get("edges", [])]}


def _sorted(flow: dict[str, Any]) -> dict[str, Any]:
    return {**flow, "nodes": dict(sorted(flow["nodes"].items()))}


def _one_by_one(flow: dict[str, Any]) -> dict[str, Any]:
    return {**flow, "config": {**flow.get("config", {}), "backend_config": {"max_parallel": 1}}}


@pytest.mark.parametrize(
    ("twist", "caught"),
    [
        (_without("join"), {"join all_done", "failure tolerated by all_done"}),
        (_without("retry"), {"retry then success, attempts counted"}),
        (_without("needs"), {"linear", "diamond", "uneven branches join once"}),
        (_blind, {"condition true", "condition false", "inclusive branches", "all edges dead"}),
        (_sorted, {"join order independent of speed and name"}),
        (_one_by_one, {"nodes overlap"}),
    ],
    ids=["no join rules", "no retries", "no order", "no conditions", "names decide", "one by one"],
)
async def test_what_is_wrong_is_caught(
    twist: Any, caught: set[str], default_session: DefaultSession
) -> None:
    cases = [case for case in CASES if case.name in caught]
    report = await verify(Wrong(twist), cases=cases)
    failed = {one.case for one in report.results if one.outcome is Outcome.FAILED}
    assert failed == caught, report


async def test_a_backend_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(Modest):
        async def execute(self, workflow: Any, input_data: Any = None) -> ExecutionResult:
            await asyncio.sleep(600)
            raise AssertionError

    monkeypatch.setattr(conformance.suite, "_PATIENCE", 0.05)
    report = await verify(Hangs(), cases=CASES[:1])
    assert report.results[0].reason == "Mismatch: not done within 0.05 s"
