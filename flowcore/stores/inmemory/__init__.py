"""Runs, plans and events in this process: for tests, and the plain twin of the Redis scripts."""

from flowcore.stores.inmemory.runs.store import InMemoryStore

__all__ = ["InMemoryStore"]
