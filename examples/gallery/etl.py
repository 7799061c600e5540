"""Extract, transform, load: what ``etl.yaml`` names."""

import csv
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def files(folder: str) -> list[str]:
    """List the CSV files of a directory, by name."""
    found = sorted(str(path) for path in Path(folder).glob("*.csv"))
    if not found:
        msg = f"there is no CSV file in {folder!r}"
        raise FileNotFoundError(msg)
    return found


def prepare(database: str) -> None:
    """Make the table; loading a file again replaces its rows."""
    with closing(sqlite3.connect(database)) as db, db:
        db.execute(
            "create table if not exists sales (file text, line integer, day text, shop text,"
            " product text, amount real, primary key (file, line))"
        )


def load(item: list[str], database: str) -> dict[str, int]:
    """Load some files in one transaction; lines that are none are counted."""
    rows: list[tuple[Any, ...]] = []
    bad = 0
    for path in item:
        with Path(path).open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 1):
                try:
                    amount = float(row["amount"])
                except (KeyError, TypeError, ValueError):
                    bad += 1
                    continue
                name = Path(path).name
                rows.append((name, number, row["day"], row["shop"], row["product"], amount))
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        db.executemany("insert or replace into sales values (?, ?, ?, ?, ?, ?)", rows)
    return {"rows": len(rows), "bad": bad}


def report(load: list[dict[str, int]], database: str) -> dict[str, Any]:
    """Say what was loaded, and what each shop has sold."""
    with closing(sqlite3.connect(database)) as db:
        shops = dict(db.execute("select shop, sum(amount) from sales group by shop order by shop"))
    return {
        "rows": sum(one["rows"] for one in load),
        "bad": sum(one["bad"] for one in load),
        "by_shop": shops,
    }
