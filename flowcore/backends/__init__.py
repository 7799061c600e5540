"""Backends: engines that run a flow, behind one registry and one protocol."""

from flowcore.backends.base import BaseBackend
from flowcore.backends.registry import BackendRegistry
from flowcore.ports.backend import ExecutionResult, IBackend, IWorkflow

__all__ = ["BackendRegistry", "BaseBackend", "ExecutionResult", "IBackend", "IWorkflow"]
