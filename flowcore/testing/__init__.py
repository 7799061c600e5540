"""Test kit for users: a runner, pytest fixtures, a conformance suite."""

import importlib
from typing import Any

__all__ = ["Flows", "TestRun"]

_HOMES = {"Flows": "flowcore.testing.flows", "TestRun": "flowcore.testing.run"}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: the plugin is imported by every pytest."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
