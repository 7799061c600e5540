"""Names of the keys, and the two small codecs that Lua and Python share.

In: ids. Out: key names, number ranges, web entries. See lua/web.lua for what each key holds.
"""

from collections.abc import Iterator, Sequence

import msgpack

from flowcore.plan.plan import Plan

__all__ = [
    "AGENDA",
    "DEAD",
    "RULE_LETTERS",
    "RUNS",
    "parse_ranges",
    "plan_key",
    "run_key",
    "web_entries",
    "web_key",
]

AGENDA = "fc:agenda"
RUNS = "fc:runs"
DEAD = "fc:dead"

RULE_LETTERS = {"all_success": "S", "all_done": "D", "any_success": "A", "none_failed": "N"}


def run_key(run: str, part: str) -> str:
    """Name one part of a run; the braces keep a run's keys on one shard."""
    return f"fc:{{{run}}}:{part}"


def plan_key(digest: str) -> str:
    """Name a plan."""
    return f"fc:plan:{digest}"


def web_key(digest: str) -> str:
    """Name a plan's web: what Lua needs to know of it."""
    return f"fc:web:{digest}"


def web_entries(plan: Plan) -> Iterator[tuple[int, bytes]]:
    """Per node with successors: msgpack of [successor, in-degree, rule, policy, …]."""
    rules = [RULE_LETTERS[policy.join] for policy in plan.policies]
    # Nodes of a layer have the same successors: a web of 100 by 100 packs 100 lists, not 10,000.
    packed: dict[int, bytes] = {}
    for node, after in enumerate(plan.succ):
        if not after:
            continue
        if id(after) not in packed:
            flat: list[int | str] = []
            for target in after:
                policy = plan.policy_of[target]
                flat += (target, len(plan.pred[target]), rules[policy], policy)
            packed[id(after)] = msgpack.packb(flat)
        yield node, packed[id(after)]


def parse_ranges(text: bytes) -> Sequence[int]:
    """Read ``1-3,7`` as 1, 2, 3, 7."""
    if not text:
        return ()
    numbers: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b"-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers
