"""What runs in environments with extras of their own, beside the tests that start it."""
