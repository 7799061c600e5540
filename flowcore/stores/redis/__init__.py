"""Runs, plans and events on Redis or Valkey (7.0 or later; not Redis Cluster)."""
