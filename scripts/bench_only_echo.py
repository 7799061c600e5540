"""The agent that answers, for a process of its own."""

from bench_agents import echo

__all__ = ["echo"]
