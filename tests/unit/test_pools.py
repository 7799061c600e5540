"""Workers start in pools that run nodes, and in no others."""

from typing import Any

import pytest
from celery.concurrency import prefork, solo, thread

from flowcore.celery.pools import refuse_greenlets


def _pool(name: str) -> type:
    """A pool of Celery's as far as its name goes: its own module needs its library."""
    return type("TaskPool", (), {"__module__": f"celery.concurrency.{name}"})


@pytest.mark.parametrize("name", ["gevent", "eventlet"])
def test_a_pool_of_greenlets_is_refused_in_a_sentence(name: str) -> None:
    said = f"do not run in the pool '{name}'.*--pool prefork"
    own = type("Own", (_pool(name),), {})
    for pool in (_pool(name), own):
        with pytest.raises(SystemExit, match=said):
            refuse_greenlets(pool)


@pytest.mark.parametrize("module", [prefork, thread, solo])
def test_pools_that_run_nodes_are_accepted(module: Any) -> None:
    refuse_greenlets(module.TaskPool)
