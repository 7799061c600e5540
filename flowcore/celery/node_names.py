"""Names of workers.

In: nothing. Out: a name that no other worker has. Not here: who has which name (workers).
"""

import os
import secrets

from celery.utils.nodenames import gethostname, nodename

__all__ = ["unique_name"]


def unique_name(kind: str = "celery") -> str:
    """Make a worker's name that no other worker has, on this host or another one.

    The process id is for people. Containers that share a host's name have the same ones, and one
    process may start several workers, hence the rest.

    Args:
        kind: What the name begins with.
    """
    return nodename(f"{kind}-{os.getpid()}-{secrets.token_hex(3)}", gethostname())
