"""Orders with FastAPI and SQLite: the run starts once the order is committed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import orders
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from flowcore import Run, Session
from flowcore.errors import RunNotFoundError

app = FastAPI()

#: Where runs live; the process's default session, of the environment, when it is None.
session: Session | None = None


class Order(BaseModel):
    """What is ordered."""

    item: str = Field(min_length=1)
    count: int = Field(ge=1, le=100)


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database; committed at the end of the block, rolled back by an error."""
    with closing(sqlite3.connect(os.environ.get("ORDERS_DB", "orders.db"))) as db:
        db.execute("create table if not exists orders (id integer primary key, item, count)")
        with db:
            yield db


@app.post("/orders", status_code=202)
async def order(given: Order) -> dict[str, Any]:
    """Take an order."""
    with database() as db:
        row = db.execute(
            "insert into orders (item, count) values (?, ?)", (given.item, given.count)
        )
        number = row.lastrowid
    # Committed: from here on it is there for the workers to find.
    data = {"order": number, **given.model_dump()}
    run = await orders.flow.aenqueue(data, id=f"order-{number}", session=session)
    return {"order": number, "run": run.id}


@app.get("/orders/{number}")
def status(number: int) -> dict[str, Any]:
    """Say where an order stands."""
    try:
        run = Run.get(f"order-{number}", session=session)
    except RunNotFoundError as error:
        raise HTTPException(404, "no such order") from error
    state = run.status()
    if not state.is_terminal:
        return {"state": state}
    result = run.wait(0)
    if not result.success:
        return {"state": state, "error": result.error}
    return {"state": state, "output": result.output}
