"""What a result backend says of a task of somebody else's app."""

from typing import Any

import pytest
from celery import Celery
from celery.utils.serialization import get_pickleable_exception

from flowcore.celery.external_tasks import _error_of
from flowcore.engine.values.failure import error_names
from flowcore.errors import CeleryTaskError
from flowcore.testing import Flows


def test_the_error_is_the_tasks_own_as_celery_writes_it_by_default() -> None:
    app: Any = Celery("shop", backend="cache+memory://", set_as_current=False)
    app.backend.store_result("t1", LookupError("out of stock"), "FAILURE")
    assert _error_of(app, "t1") == {
        "type": "LookupError",
        "module": "builtins",
        "message": "out of stock",
    }
    assert "see the log" in _error_of(app, "nosuch")["message"]
    app.backend.store_result("t2", 3, "SUCCESS")
    assert "see the log" in _error_of(app, "t2")["message"]


class OddError(Exception):
    """Cannot be made of its message alone, and so cannot be pickled."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def test_an_error_that_celery_wraps_is_unwrapped() -> None:
    app: Any = Celery("shop", backend="cache+memory://", set_as_current=False)
    app.backend.store_result("t1", get_pickleable_exception(OddError("odd", 7)), "FAILURE")
    assert _error_of(app, "t1") == {
        "type": "OddError",
        "module": OddError.__module__,
        "message": "odd",
    }


@pytest.mark.parametrize("name", ["OddError", "shop.OddError", "CeleryTaskError", "NodeError"])
def test_retry_on_may_name_the_tasks_own_error(name: str) -> None:
    error = CeleryTaskError("shop.odd: OddError: odd", task_error="shop.OddError")
    assert name in error_names(error)
    assert name not in error_names(RuntimeError("odd"))


def test_retry_on_may_name_a_base_of_the_tasks_own_error() -> None:
    assert "LookupError" in error_names(CeleryTaskError("gone", task_error="KeyError"))


def test_a_failed_task_is_tried_again_by_the_name_of_its_error() -> None:
    tries = 0

    def odd() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OddError("odd", 7)
        return "went"

    flows = Flows()
    flows.task("shop.odd", odd)
    retry = {"max_attempts": 5, "retry_on": ["OddError"]}
    assert flows.run({"nodes": {"a": {"uses": "celery:shop.odd", "retry": retry}}}).output == "went"
    retry["retry_on"] = ["LookupError"]
    tries = 0
    error = flows.run({"nodes": {"a": {"uses": "celery:shop.odd", "retry": retry}}}).error
    assert error == "node 'a': CeleryTaskError: shop.odd: OddError: odd"
