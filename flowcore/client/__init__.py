"""The Python surface: flows that run, handles of runs, the native backend."""
