"""Memory of threads: messages, facts, and recall by meaning."""
