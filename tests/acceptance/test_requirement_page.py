"""The examples of the requirement page, literally (module name apart), on the real engine."""

import resource
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flowcore.backends import BackendRegistry, BaseBackend, ExecutionResult, IBackend, IWorkflow
from flowcore.errors import BackendError, PlannedBackendError, UnknownBackendError, UsageError
from tests.acceptance.conftest import DefaultSession

config: dict[str, Any] = {
    "nodes": [
        {"id": "numbers", "uses": "engine_nodes:numbers"},
        {"id": "total", "uses": "engine_nodes:total"},
        {"id": "largest", "uses": "engine_nodes:largest"},
        {"id": "report", "uses": "engine_nodes:report"},
    ],
    "edges": [
        {"source": "numbers", "target": "total"},
        {"from": "numbers", "to": "largest"},
        ["total", "report"],
        ["largest", "report"],
    ],
    "config": {
        "backend": "native",
        "execution": {
            "max_parallel_nodes": 10,
            "timeout_seconds": 300,
            "retry_failed_nodes": True,
            "enable_checkpoints": True,
        },
        "memory": {"type": "conversation", "max_messages": 100},
        "streaming": {"enabled": True, "buffer_size": 100},
    },
}
input_data = {"n": 4}
OUTPUT = "total 6, largest 3"


@pytest.fixture
def custom() -> Iterator[None]:
    yield
    BackendRegistry.unregister("custom")


async def test_the_native_backend_runs_a_workflow(default_session: DefaultSession) -> None:
    backend = BackendRegistry.create("native")
    workflow = backend.create_workflow(config)
    result = await workflow.run(input_data)
    assert result.success, result.error
    assert result.output == OUTPUT


async def test_create_workflow_works_with_await_too(default_session: DefaultSession) -> None:
    backend = BackendRegistry.create("native")
    workflow = await backend.create_workflow(config)
    result = await workflow.run(input_data)
    assert result.output == OUTPUT


async def test_execute_takes_a_workflow_or_a_raw_config(default_session: DefaultSession) -> None:
    native_backend = BackendRegistry.create("native")
    native_result = await native_backend.execute(config, input_data)
    assert isinstance(native_result, ExecutionResult)
    assert native_result.output == OUTPUT
    workflow = native_backend.create_workflow(config)
    assert (await native_backend.execute(workflow, input_data)).output == OUTPUT


async def test_validate_says_whether_a_workflow_could_run() -> None:
    backend = BackendRegistry.create("native")
    assert await backend.validate(backend.create_workflow(config)) is True
    assert await backend.validate({"nodes": {"a": {"needs": ["b"]}}}) is False


def test_create_takes_the_backend_config_of_the_page() -> None:
    given: dict[str, Any] = {
        "backend": "native",
        "backend_config": {"max_parallel": 10, "timeout": 300, "retry_strategy": "exponential"},
    }
    backend = BackendRegistry.create(given["backend"], **given["backend_config"])
    plan = backend.create_workflow({"nodes": {"a": {"uses": "start"}}}).flow.plan()
    assert plan.max_parallel == 10
    assert plan.timeout == 300
    retry = plan.policy(0).retry
    assert retry is not None
    assert retry.backoff == "exponential"


def test_a_wrong_option_is_refused_when_the_backend_is_created() -> None:
    with pytest.raises(BackendError, match="max_paralel"):
        BackendRegistry.create("native", max_paralel=10)


class CustomEngine:
    async def run(self, workflow: Any, input_data: Any) -> ExecutionResult:
        return ExecutionResult(success=True, output=[len(workflow.nodes), input_data])

    def validate(self, workflow: Any) -> bool:
        return bool(workflow.nodes)

    async def execute(self, nodes: Any, input_data: Any) -> ExecutionResult:
        return ExecutionResult(success=True, output=[len(nodes), input_data])


class CustomWorkflow:
    def __init__(self, config: Any, engine: CustomEngine) -> None:
        self.config = config
        self.engine = engine
        self.nodes = self._convert_nodes(config["nodes"])

    def _convert_nodes(self, nodes: Any) -> list[Any]:
        return list(nodes)

    async def run(self, input_data: Any = None) -> ExecutionResult:
        return await self.engine.execute(self.nodes, input_data)


class CustomBackend(BaseBackend):
    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.engine = CustomEngine()

    async def create_workflow(self, config: dict[str, Any]) -> CustomWorkflow:
        return CustomWorkflow(config, self.engine)

    async def execute(self, workflow: Any, input_data: Any = None) -> ExecutionResult:
        return await self.engine.run(workflow, input_data)

    async def validate(self, workflow: Any) -> bool:
        return self.engine.validate(workflow)


@pytest.mark.usefixtures("custom")
async def test_a_custom_backend_registers_and_runs() -> None:
    BackendRegistry.register(name="custom", backend_class=CustomBackend)
    assert BackendRegistry.list_backends() == ["native", "a2a", "custom"]
    backend = BackendRegistry.create("custom", colour="red")
    assert isinstance(backend, CustomBackend)
    assert isinstance(backend, IBackend)
    assert backend.config == {"colour": "red"}
    workflow = await backend.create_workflow(config)
    assert isinstance(workflow, IWorkflow)
    assert (await workflow.run(input_data)).output == [4, input_data]
    assert (await backend.execute(workflow, input_data)).success
    assert await backend.validate(workflow)


def test_get_info_describes_a_backend() -> None:
    info = BackendRegistry.get_info("native")
    assert info["name"] == "native"
    assert info["version"] == "0.1.0"
    assert info["status"] == "stable"
    assert "async" in info["features"]
    assert BackendRegistry.get_info("langgraph")["status"] == "planned"


def test_planned_and_unknown_backends_are_told_apart() -> None:
    assert set(BackendRegistry.list_backends(all=True)) >= {"native", "langgraph", "crewai", "a2a"}
    with pytest.raises(PlannedBackendError, match="planned"):
        BackendRegistry.create("langgraph")
    with pytest.raises(UnknownBackendError, match="available: native, a2a"):
        BackendRegistry.create("nativ")
    with pytest.raises(UsageError, match="takes a class"):
        BackendRegistry.register(name="custom", backend_class=CustomBackend())  # type: ignore[arg-type]


@pytest.mark.usefixtures("custom")
def test_set_default_chooses_what_create_makes() -> None:
    BackendRegistry.register(name="custom", backend_class=CustomBackend)
    try:
        BackendRegistry.set_default("custom")
        assert isinstance(BackendRegistry.create(), CustomBackend)
    finally:
        BackendRegistry.set_default("native")
    assert BackendRegistry.get_default() == "native"


def get_memory_usage() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def benchmark_backends(workflow: Any, input_data: Any) -> dict[str, Any]:
    results = {}
    for backend_name in BackendRegistry.list_backends():
        backend = BackendRegistry.create(backend_name)
        start = time.time()
        result = await backend.execute(workflow, input_data)
        duration = time.time() - start
        results[backend_name] = {
            "duration": duration,
            "success": result.success,
            "memory_used": get_memory_usage(),
        }
    return results


async def test_benchmark_backends_runs_as_written(default_session: DefaultSession) -> None:
    results = await benchmark_backends(config, input_data)
    assert list(results) == ["native", "a2a"]
    assert all(result["success"] for result in results.values())


def test_every_configuration_of_the_page_is_accepted() -> None:
    langgraph_config = {
        "backend": "langgraph",
        "llm": {"model": "gpt-4", "temperature": 0.7},
        "tools": ["search", "calculator"],
        "memory": "conversation_buffer",
    }
    crewai_config = {
        "backend": "crewai",
        "agents": [
            {"role": "researcher", "goal": "find information"},
            {"role": "writer", "goal": "create content"},
        ],
        "process": "sequential",
    }
    backend = BackendRegistry.create("native")
    for block in (langgraph_config, crewai_config):
        backend.create_workflow({"nodes": {"a": {"uses": "start"}}, "config": block})
