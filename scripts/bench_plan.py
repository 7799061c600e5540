"""Measure COMPILE and the drawings: CPU seconds by shape and size.

Usage: python scripts/bench_plan.py [NODES]
"""

import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flowcore.check.check import CheckedFlow
from flowcore.graph.flow import Config, FlowDefinition, NodeDefinition
from flowcore.graph.policy import Retry
from flowcore.plan.compile import compile_plan
from flowcore.plan.explain import dot, mermaid, svg, text
from flowcore.plan.plan import Plan

DRAWN = 1_000
Shape = Callable[[int, random.Random], Sequence[int]]

SHAPES: Mapping[str, Shape] = {
    "100 chains": lambda at, _: [at - 100] if at >= 100 else [],
    "fan-out": lambda at, _: [0] if at else [],
    "random DAG, 3 edges a node": lambda at, rng: (
        sorted({rng.randrange(max(0, at - 5_000), at) for _ in range(3)}) if at else []
    ),
}


def checked(size: int, shape: Shape) -> CheckedFlow:
    """Make what ``check`` would give, without its cost."""
    rng = random.Random(1)
    retry = Retry(max_attempts=4)
    nodes: dict[str, NodeDefinition] = {}
    needs: dict[str, tuple[str, ...]] = {}
    level: list[int] = []
    for at in range(size):
        before = shape(at, rng)
        level.append(max((level[source] + 1 for source in before), default=0))
        needs[f"n{at}"] = tuple(f"n{source}" for source in before)
        nodes[f"n{at}"] = NodeDefinition.model_construct(
            uses="acme:f",
            with_={"chunk": at, "options": {"deep": True}},
            retry=retry if at % 2 else None,
            timeout=float(at % 7),
        )
    return CheckedFlow(
        definition=FlowDefinition.model_construct(
            id="bench", version="1", inputs={}, nodes=nodes, edges=(), config=Config()
        ),
        order=tuple(f"n{at}" for at in sorted(range(size), key=level.__getitem__)),
        needs=needs,
        when={},
    )


def timed(what: str, call: Callable[[], Any]) -> Any:
    """Call once and print the CPU it took."""
    start = time.process_time()
    result = call()
    print(f"  {what:<12} {time.process_time() - start:7.3f} s CPU")
    return result


def main() -> None:
    """Run everything."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for name, shape in SHAPES.items():
        print(f"{name}, {size:,} nodes")
        flow = checked(size, shape)
        plan = timed("compile", partial(compile_plan, flow))
        packed = timed("to_bytes", plan.to_bytes)
        timed("from_bytes", partial(Plan.from_bytes, packed))
        print(f"  {len(packed) / 1e6:.1f} MB; drawings of {DRAWN:,} nodes:")
        small = compile_plan(checked(DRAWN, shape))
        for renderer in (svg, text, mermaid, dot):
            short = renderer.__name__.rpartition(".")[2]
            timed(short, partial(renderer.render, small))


if __name__ == "__main__":
    main()
