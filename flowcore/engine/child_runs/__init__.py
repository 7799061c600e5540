"""Nodes that start runs of their own: maps, loops, sub-flows and branches."""
