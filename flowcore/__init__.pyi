"""What type checkers see of the lazily loaded public names."""

from celery import Celery

from flowcore.agents.agent import InputRequired as InputRequired
from flowcore.agents.agent import Rejected as Rejected
from flowcore.agents.agent import Skill as Skill
from flowcore.agents.agent import agent as agent
from flowcore.agents.message import Artifact as Artifact
from flowcore.agents.message import Message as Message
from flowcore.agents.message import Part as Part
from flowcore.agents.message import TaskState as TaskState
from flowcore.assembly.session import Session as Session
from flowcore.client.agents import AgentClient as AgentClient
from flowcore.client.flow import Flow as Flow
from flowcore.client.memory import Memory as Memory
from flowcore.client.run import Run as Run
from flowcore.client.schedules import Schedules as Schedules
from flowcore.engine.agents.context import AgentContext as AgentContext
from flowcore.engine.agents.context import BlockingAgentContext as BlockingAgentContext
from flowcore.errors import FlowcoreError as FlowcoreError
from flowcore.graph.builder import node as node
from flowcore.graph.builder import parallel as parallel
from flowcore.graph.diagnostic import InvalidFlowError as InvalidFlowError
from flowcore.graph.policy import Cache as Cache
from flowcore.graph.policy import CircuitBreaker as CircuitBreaker
from flowcore.graph.policy import Concurrency as Concurrency
from flowcore.graph.policy import Fallback as Fallback
from flowcore.graph.policy import RateLimit as RateLimit
from flowcore.graph.policy import Retry as Retry
from flowcore.nodes.context import Context as Context
from flowcore.ports.backend import ExecutionResult as ExecutionResult
from flowcore.run.callbacks import Callbacks as Callbacks
from flowcore.run.event import Event as Event

__version__: str

app: Celery
"""What ``celery -A flowcore`` runs; made from the environment when first asked for."""

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

def __dir__() -> list[str]: ...
