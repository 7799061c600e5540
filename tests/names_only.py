"""Plans as a client makes them that has imported none of the functions."""

import json
import subprocess
import sys
from typing import Any

from flowcore.plan.plan import Plan

__all__ = ["compiled_elsewhere"]

_SCRIPT = """
import json, sys
from flowcore.check.check import check
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
plan = compile_plan(check(load_tree(json.loads(sys.argv[1])), resolve=False))
assert not any(name.startswith("decorated_nodes") for name in sys.modules)
sys.stdout.buffer.write(plan.to_bytes())
"""


def compiled_elsewhere(tree: dict[str, Any]) -> Plan:
    """Compile where the functions cannot be imported."""
    argv = [sys.executable, "-c", _SCRIPT, json.dumps(tree)]
    done = subprocess.run(argv, capture_output=True, check=True)
    return Plan.from_bytes(done.stdout)
