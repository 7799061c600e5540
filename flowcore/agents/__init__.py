"""Agents: the vocabulary of the A2A protocol, and how an agent is written."""
