"""Behaviours that the test kit and real workers have in common: what is said, and what comes."""
