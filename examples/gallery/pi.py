"""Pi by Monte Carlo: what ``pi.yaml`` names."""

import math
import random
from typing import Any


def plan(so_far: dict[str, Any], seed: int) -> list[dict[str, int]]:
    """Decide how many batches of darts are thrown next: twice as many in each round."""
    number = so_far["round"]
    return [
        {"seed": seed * 1_000_003 + number * 1009 + at, "darts": 2000} for at in range(2**number)
    ]


def throw(item: dict[str, int]) -> int:
    """Throw some darts; return how many hit the circle."""
    dice = random.Random(item["seed"])  # noqa: S311  (no secret)
    return sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(item["darts"]))


def add_up(plan: list[dict[str, int]], throw: list[int], so_far: dict[str, Any]) -> dict[str, Any]:
    """Add a round to what there was, and say how wrong that may be (95 %)."""
    hits = so_far["hits"] + sum(throw)
    darts = so_far["darts"] + sum(batch["darts"] for batch in plan)
    part = hits / darts
    error = 1.96 * 4 * math.sqrt(part * (1 - part) / darts)
    return {
        "hits": hits,
        "darts": darts,
        "round": so_far["round"] + 1,
        "pi": 4 * part,
        "error": error,
    }
