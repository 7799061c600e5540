"""Agents on Celery workers: their queues, their hosts, and flows that run as their messages."""
