"""The agent that asks, for a process of its own."""

from bench_agents import asks

__all__ = ["asks"]
