"""flowcore: workflows on the Celery workers you already have.

In: nothing. Out: the public names, loaded when first used, so that a command line that only
prints its help does not pay for Celery.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "AgentClient": "flowcore.client.agents",
    "AgentContext": "flowcore.engine.agents.context",
    "BlockingAgentContext": "flowcore.engine.agents.context",
    "Callbacks": "flowcore.run.callbacks",
    "Context": "flowcore.nodes.context",
    "Event": "flowcore.run.event",
    "InputRequired": "flowcore.agents.agent",
    "InvalidFlowError": "flowcore.graph.diagnostic",
    "Message": "flowcore.agents.message",
    "TaskState": "flowcore.agents.message",
    "Part": "flowcore.agents.message",
    "Artifact": "flowcore.agents.message",
    "Rejected": "flowcore.agents.agent",
    "Skill": "flowcore.agents.agent",
    "agent": "flowcore.agents.agent",
    "app": "flowcore.assembly.worker",  # what ``celery -A flowcore`` looks for
    "Memory": "flowcore.client.memory",
    "ExecutionResult": "flowcore.ports.backend",
    "Flow": "flowcore.client.flow",
    "FlowcoreError": "flowcore.errors",
    "Cache": "flowcore.graph.policy",
    "CircuitBreaker": "flowcore.graph.policy",
    "Concurrency": "flowcore.graph.policy",
    "Fallback": "flowcore.graph.policy",
    "RateLimit": "flowcore.graph.policy",
    "Retry": "flowcore.graph.policy",
    "Run": "flowcore.client.run",
    "Schedules": "flowcore.client.schedules",
    "Session": "flowcore.assembly.session",
    "node": "flowcore.graph.builder",
    "parallel": "flowcore.graph.builder",
}

__all__ = [
    "AgentClient",
    "AgentContext",
    "Artifact",
    "BlockingAgentContext",
    "Cache",
    "Callbacks",
    "CircuitBreaker",
    "Concurrency",
    "Context",
    "Event",
    "ExecutionResult",
    "Fallback",
    "Flow",
    "FlowcoreError",
    "InputRequired",
    "InvalidFlowError",
    "Memory",
    "Message",
    "Part",
    "RateLimit",
    "Rejected",
    "Retry",
    "Run",
    "Schedules",
    "Session",
    "Skill",
    "TaskState",
    "agent",
    "node",
    "parallel",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'flowcore' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
