"""Runs: creating them, and pausing, resuming, signalling and undoing them."""
