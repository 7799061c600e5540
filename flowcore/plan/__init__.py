"""The plan: what a checked flow compiles to, and ways to look at it."""
