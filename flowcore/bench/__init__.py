"""The benchmark behind ``flowcore bench``: what the engine costs, beside Celery alone."""
