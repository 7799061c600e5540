"""Values on their way to the store: large ones, batches of outputs, redaction."""
