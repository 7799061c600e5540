"""Agents: calling them, and hosting their functions."""
