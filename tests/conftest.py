"""Fixtures that every test may use."""

from tests.services import redis_client, valkey_server

__all__ = ["redis_client", "valkey_server"]
