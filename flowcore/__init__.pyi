"""What type checkers see of the lazily loaded public names."""

from flowcore.assembly.session import Session as Session
from flowcore.client.flow import Flow as Flow
from flowcore.client.handle import Run as Run
from flowcore.client.memory import Memory as Memory
from flowcore.errors import FlowcoreError as FlowcoreError
from flowcore.graph.author import node as node
from flowcore.graph.author import parallel as parallel
from flowcore.graph.policy import Retry as Retry
from flowcore.nodes.context import Context as Context
from flowcore.ports.backend import ExecutionResult as ExecutionResult
from flowcore.run.callbacks import Callbacks as Callbacks
from flowcore.run.event import Event as Event

__version__: str
__all__ = [
    "Callbacks",
    "Context",
    "Event",
    "ExecutionResult",
    "Flow",
    "FlowcoreError",
    "Memory",
    "Retry",
    "Run",
    "Session",
    "node",
    "parallel",
]

def __dir__() -> list[str]: ...
