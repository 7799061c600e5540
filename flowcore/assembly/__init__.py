"""Assembly: the composition root, settings, the embedded server, local workers."""
