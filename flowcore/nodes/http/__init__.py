"""Talking HTTP: one client for the nodes that call services and models."""
