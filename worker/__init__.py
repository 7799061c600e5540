"""``celery -A worker worker`` starts a worker that runs flowcore's nodes.

A shim: everything is in ``flowcore``. The Redis comes from FLOWCORE_REDIS_URL.
"""

from flowcore.assembly.worker import app

__all__ = ["app"]
