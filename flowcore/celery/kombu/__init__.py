"""Brokers as kombu knows them."""
