"""Measure recall by meaning: a thread of many vectors, read from Redis and searched.

In: nothing. Out: one line for each size: the middle of 20 recalls, and what of it is the search.

    PYTHONPATH=. python scripts/bench_recall.py
"""

import statistics
import time

import numpy as np

from flowcore.engine.memory.embeddings import VECTOR, nearest, packed_vector
from flowcore.engine.memory.thread import MemoryRules, ThreadMemory
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.memory import RedisMemory
from tests.services import running_valkey

__all__ = ["main"]

SIZES = ((100, 384), (1_000, 384), (10_000, 384), (1_000, 1536), (10_000, 1536))


def _middle(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3


def main() -> None:
    """Measure and print."""
    dice = np.random.default_rng(1)
    with running_valkey() as url:
        store = RedisMemory(connect(url))
        for count, width in SIZES:
            memory = ThreadMemory(
                store=store, rules=MemoryRules(), space="bench", id=f"{count}x{width}"
            )
            vectors = dice.standard_normal((count, width), dtype="f4")
            for at in range(0, count, 500):
                memory.extend(
                    [
                        {"role": "user", "content": f"message {n}", VECTOR: vectors[n]}
                        for n in range(at, min(at + 500, count))
                    ]
                )
            messages = [
                {"id": n, "content": "", VECTOR: vectors[n].tobytes()} for n in range(count)
            ]
            whole, search = [], []
            for _ in range(20):
                query = dice.standard_normal(width, dtype="f4")
                began = time.perf_counter()
                memory.recall(query)
                whole.append(time.perf_counter() - began)
                packed = packed_vector(query, whose="query")
                began = time.perf_counter()
                nearest(messages, packed, k=5, min_score=None)
                search.append(time.perf_counter() - began)
            line = f"recall {_middle(whole):.1f} ms, of which the search {_middle(search):.1f} ms"
            print(f"{count:,} messages x {width} numbers: {line}")


if __name__ == "__main__":
    main()
