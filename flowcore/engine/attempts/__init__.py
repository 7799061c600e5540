"""One attempt of a node: its arguments, its context, its call and its output."""
