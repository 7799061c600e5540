"""The built-in node types: one model of the arguments of each, used by check, run and schema."""
