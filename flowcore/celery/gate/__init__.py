"""Messages before Celery unpacks them: validated, and refused if they would end the worker."""
