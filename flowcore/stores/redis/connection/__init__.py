"""Connections to Redis: pools, scripts, Sentinel, and the choice among servers."""
