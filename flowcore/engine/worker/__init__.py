"""Running nodes in a worker: the executor, units of many nodes, and time limits."""
