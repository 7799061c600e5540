"""What a result backend says of a task of somebody else's app."""

from typing import Any

from celery import Celery

from flowcore.backends.native.foreign import _error_of


def test_the_error_is_the_tasks_own_as_celery_writes_it_by_default() -> None:
    app: Any = Celery("shop", backend="cache+memory://", set_as_current=False)
    app.backend.store_result("t1", LookupError("out of stock"), "FAILURE")
    assert _error_of(app, "t1") == {"type": "LookupError", "message": "out of stock"}
    assert "see the log" in _error_of(app, "nosuch")["message"]
    app.backend.store_result("t2", 3, "SUCCESS")
    assert "see the log" in _error_of(app, "t2")["message"]
