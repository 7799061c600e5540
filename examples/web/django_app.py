"""Orders with Django in one file: the run starts when the transaction is committed.

``python django_app.py runserver`` in this directory, where a worker runs, too.
"""

import json
import os
import sys
from typing import Any

import django
import orders
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from flowcore import Run, Session
from flowcore.errors import RunNotFoundError

#: Where runs live; the process's default session, of the environment, when it is None.
session: Session | None = None

if not settings.configured:
    settings.configure(
        DEBUG=True,
        SECRET_KEY="for this example alone",  # noqa: S106  (no secret)
        ALLOWED_HOSTS=["localhost", "127.0.0.1", "testserver"],
        ROOT_URLCONF=__name__,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ.get("ORDERS_DB", "orders.db"),
            }
        },
        USE_TZ=True,
    )
    django.setup()


class Order(models.Model):
    """What is ordered."""

    item = models.CharField(max_length=100)
    count = models.PositiveIntegerField()

    class Meta:
        """Where it is kept."""

        app_label = "orders"
        db_table = "shop_orders"

    def __str__(self) -> str:
        return f"{self.count} of {self.item}"


def migrate() -> None:
    """Make the table, if there is none."""
    if "shop_orders" not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)


@transaction.atomic
def order(request: HttpRequest) -> JsonResponse:
    """Take an order."""
    given: dict[str, Any] = json.loads(request.body)
    row = Order.objects.create(item=given["item"], count=given["count"])
    data, run = {"order": row.pk, "item": row.item, "count": row.count}, f"shop-order-{row.pk}"
    transaction.on_commit(lambda: orders.flow.enqueue(data, id=run, session=session))
    if row.count == 0:
        msg = "nothing is ordered"
        raise ValueError(msg)  # rolled back: no row, no run
    return JsonResponse({"order": row.pk, "run": run}, status=202)


def status(request: HttpRequest, number: int) -> JsonResponse:  # noqa: ARG001  (django's)
    """Say where an order stands."""
    try:
        run = Run.get(f"shop-order-{number}", session=session)
    except RunNotFoundError:
        return JsonResponse({"detail": "no such order"}, status=404)
    state = run.status()
    if not state.is_terminal:
        return JsonResponse({"state": state})
    result = run.wait(0)
    if not result.success:
        return JsonResponse({"state": state, "error": result.error})
    return JsonResponse({"state": state, "output": result.output})


urlpatterns = [path("orders", order), path("orders/<int:number>", status)]

if __name__ == "__main__":
    migrate()
    execute_from_command_line(sys.argv)
