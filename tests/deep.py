"""The two sizes of a campaign.

In: the environment. Out: how many cases a campaign tries: a seeded sample by default, the full
count under ``make deep``, which sets FLOWCORE_DEEP and runs the tests that are marked ``deep``.
"""

import os

__all__ = ["count"]


def count(sample: int, full: int) -> int:
    """Return ``full`` under ``make deep``, and ``sample`` otherwise."""
    return full if os.environ.get("FLOWCORE_DEEP") == "1" else sample
