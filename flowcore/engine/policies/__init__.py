"""Policies of a node: limits, circuit breakers, caches, retries and fallbacks."""
