"""Runs on one Redis: the run store, its reader, and the event log."""
