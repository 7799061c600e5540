"""Counters of the Redis server.

In: a client. Out: counters, sizes, its version. Not here: what they mean for a flow (throughput).
"""

from dataclasses import dataclass

from flowcore.stores.redis.connection.connect import Client

__all__ = ["Usage", "kept", "server_version", "usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The server's counters since its start."""

    commands: int
    """Commands, those inside scripts included."""
    traffic: int
    """Bytes read from and written to its clients."""
    memory: int
    """Bytes it has allocated now, without the buffers of connections."""
    messages: int
    """Messages that were put into a queue."""


def usage(redis: Client) -> Usage:
    """Read the counters."""
    stats = redis.info("stats")
    pushed = redis.info("commandstats").get("cmdstat_lpush", {})
    memory = redis.info("memory")
    buffers = ("mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer")
    return Usage(
        commands=int(stats["total_commands_processed"]),
        traffic=int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"]),
        memory=int(memory["used_memory"]) - sum(int(memory.get(name, 0)) for name in buffers),
        messages=int(pushed.get("calls", 0)),
    )


def kept(redis: Client, run: str) -> int:
    """Weigh all keys of a run, in bytes."""
    keys = redis.scan_iter(match=f"*{run}*", count=1000)
    # samples=0: each element is weighed, none is guessed.
    return sum(redis.memory_usage(key, samples=0) or 0 for key in keys)


def server_version(redis: Client) -> str:
    """Return the server's name and version."""
    about = redis.info("server")
    name = about.get("server_name", "redis")
    return f"{name} {about.get(f'{name}_version', '')}".strip()
