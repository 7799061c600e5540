"""A plan as a Celery canvas."""
