"""The web applications of examples/web start runs when, and only when, an order is committed."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from tests.engine import PATIENCE, Engine, running_engine
from tests.services import running_valkey

WEB = Path(__file__).parents[2] / "examples" / "web"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose workers find the flow of the applications."""
    home = tmp_path_factory.mktemp("web")
    with (
        running_valkey() as url,
        running_engine(url, home) as engine,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYTHONPATH", str(WEB))
        patch.setenv("ORDERS_DB", str(home / "orders.db"))
        patch.syspath_prepend(str(WEB))
        engine.workers()
        yield engine
        for name in ("orders", "fastapi_app", "django_app"):
            sys.modules.pop(name, None)


def _load(name: str, engine: Engine) -> Any:
    module = importlib.import_module(name)
    vars(module)["session"] = engine.session
    return module


def test_fastapi_starts_a_run_for_each_order_once_it_is_committed(engine: Engine) -> None:
    from fastapi.testclient import TestClient

    module = _load("fastapi_app", engine)
    with TestClient(module.app) as client:
        taken = client.post("/orders", json={"item": "tea", "count": 2})
        assert taken.status_code == 202
        told = taken.json()
        assert Run.get(told["run"], session=engine.session).wait(PATIENCE).error is None
        found = client.get(f"/orders/{told['order']}").json()
        assert found == {"state": "succeeded", "output": f"order {told['order']}: 500 cents"}
        assert client.post("/orders", json={"item": "tea", "count": 0}).status_code == 422
        assert client.get("/orders/999").status_code == 404


def test_django_starts_a_run_on_commit_and_none_for_what_is_rolled_back(engine: Engine) -> None:
    module = _load("django_app", engine)
    from django.test import Client

    module.migrate()
    client = Client(raise_request_exception=False)

    def post(**given: Any) -> Any:
        return client.post("/orders", given, content_type="application/json")

    told = post(item="tea", count=3)
    assert told.status_code == 202
    number = told.json()["order"]
    result = Run.get(told.json()["run"], session=engine.session).wait(PATIENCE)
    assert result.error is None
    assert client.get(f"/orders/{number}").json()["state"] == "succeeded"
    runs = len(Run.list(flow="order", session=engine.session))
    assert post(item="tea", count=0).status_code == 500
    assert len(Run.list(flow="order", session=engine.session)) == runs
    assert client.get("/orders/999").status_code == 404
