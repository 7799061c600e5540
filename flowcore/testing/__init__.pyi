"""What type checkers see of the lazily loaded names."""

from flowcore.testing.flows import Flows as Flows
from flowcore.testing.run import TestRun as TestRun

__all__ = ["Flows", "TestRun"]
