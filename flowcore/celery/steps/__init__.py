"""Bootsteps: the parts of a Celery worker that are flowcore's."""
