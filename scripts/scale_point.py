"""Simulate one cluster and print what comes out.

Usage: python -m scripts.scale_point --workers 1000 --seconds 0.1 --mode units --shards 4
In: the prices, a cluster, a load. Out: a line. Not here: the model, sweeps (scale_report).
"""

import argparse

from scripts.scale_model import simulate
from scripts.scale_parts import Cluster, Engine, Prices, chains, fan


def main() -> None:
    """Print one point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--brokers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="what a node takes")
    parser.add_argument("--mode", choices=("message", "units"), default="units")
    parser.add_argument("--fan", type=int, default=0, help="one run of so many nodes, to its end")
    parser.add_argument("--polls-per-shard", type=float)
    given = parser.parse_args()
    cluster = Cluster(workers=given.workers, shards=given.shards, brokers=given.brokers)
    engine = Engine(mode=given.mode, polls_per_shard=given.polls_per_shard)
    if given.fan:
        result = simulate(Prices.load(), engine, cluster, fan(given.fan, given.seconds))
    else:
        load = chains(given.workers * cluster.slots, given.seconds)
        warm = 3.0 + 2.5 * given.seconds
        result = simulate(Prices.load(), engine, cluster, load, warm=warm, window=warm)
    print(f"{result.rate:,.0f} nodes/s", result)


if __name__ == "__main__":
    main()
