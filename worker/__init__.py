"""``celery -A worker worker``: the older name of ``celery -A flowcore worker``.

A shim: everything is in ``flowcore``, and is made when Celery asks for ``app``. A directory of
yours with this name, and without ``__init__.py``, goes on to be found beside it.
"""

import pkgutil
from importlib import import_module

__all__ = ["app"]

__path__ = pkgutil.extend_path(__path__, __name__)


def __getattr__(name: str) -> object:
    if name == "app":
        return import_module("flowcore.assembly.worker").app
    msg = f"module 'worker' has no attribute {name!r}"
    raise AttributeError(msg)
