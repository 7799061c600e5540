"""Workflows of other systems, made into flow definitions."""
