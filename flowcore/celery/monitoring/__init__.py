"""Task events for Flower, and the worker's own record."""
