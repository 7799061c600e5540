"""Work that no run waits for: schedules, callbacks, and the janitor's sweeps."""
