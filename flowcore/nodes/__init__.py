"""Node types: the built-in ones, and the resolution of `uses` to a callable."""
