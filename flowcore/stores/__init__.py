"""Stores: adapters of the ports that keep runs."""
