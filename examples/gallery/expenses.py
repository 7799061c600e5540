"""Expenses: what ``expenses.yaml`` names."""

import json
from pathlib import Path
from typing import Any


def pay(who: str, amount: float, ledger: str, by: str = "rule") -> dict[str, Any]:
    """Write a payment into the ledger."""
    return _write({"paid": amount, "to": who, "by": by}, ledger)


def refuse(who: str, amount: float, ledger: str) -> dict[str, Any]:
    """Write into the ledger that nothing was paid."""
    return _write({"refused": amount, "to": who}, ledger)


def _write(entry: dict[str, Any], ledger: str) -> dict[str, Any]:
    with Path(ledger).open("a") as file:
        file.write(json.dumps(entry) + "\n")
    return entry
