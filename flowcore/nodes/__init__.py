"""What a node can be: the built-in types, and how `uses` becomes something to call."""
