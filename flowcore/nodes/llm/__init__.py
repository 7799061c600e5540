"""Talking to models: requests, streams and answers."""
