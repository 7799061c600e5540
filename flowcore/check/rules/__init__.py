"""The rules of a check, one module for each part of a definition."""
