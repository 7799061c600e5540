"""The vocabulary of a run: states, events, and the fold that turns events into a picture."""
