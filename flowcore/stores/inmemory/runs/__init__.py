"""Runs in memory: the counterpart of the Lua scripts."""
