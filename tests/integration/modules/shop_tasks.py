"""The Celery app of somebody who knows nothing of flowcore."""

import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "memory://"))
app.conf.update(
    task_default_queue="shop",
    result_backend=os.environ.get("SHOP_RESULTS"),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="shop.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="shop.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="shop.fail")
def fail(message: str = "out of stock") -> None:
    raise LookupError(message)


@app.task(name="shop.fail_while")
def fail_while(path: str) -> str:
    if Path(path).exists():
        raise ConnectionError("not yet")
    return "went"


@app.task(name="shop.sleepy")
def sleepy(path: str) -> None:
    while Path(path).exists():
        time.sleep(0.01)


def nightly() -> Any:
    """(1 + 2), then + 10 and + 20 side by side, then their sum, then + 100."""
    return chain(
        add.s(1, 2),
        chord(group(add.s(10), add.s(20).set(queue="shop")), total.s()),
        add.si(100, 1).set(countdown=0.05),
    )


lonely = add.s(1, 2).set(link_error=fail.s(), queue="shop")


@app.task(name="shop.sign")
def sign(path: str) -> None:
    Path(path).touch()


@app.task(name="shop.price")
def price() -> Decimal:
    """Celery's JSON knows decimals."""
    return Decimal("1.5")
