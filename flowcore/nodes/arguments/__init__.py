"""The arguments of built-in node types, as models."""
