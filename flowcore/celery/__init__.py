"""The native backend: each flow is a web of chords on Celery workers."""
