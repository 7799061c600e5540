"""Values that Celery's JSON carries beyond those of JSON, as plain data.

In: a value. Out: the tagged mapping that Celery's JSON has in its place. Not here: reading one
back, which the worker of the task does.

Source: kombu's ``kombu.utils.json``, version 5.3 and later.
"""

import base64
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

__all__ = ["tagged_value"]


def tagged_value(value: object) -> dict[str, Any] | None:
    """Return what Celery's JSON has in the place of a value.

    Args:
        value: A date, time, UUID, decimal or bytes.

    Returns:
        A mapping of ``__type__`` and ``__value__``; None if Celery's JSON has no such value.
    """
    for kind, encode in _ENCODERS.items():
        if isinstance(value, kind):
            marker, encoded = encode(value)
            return {"__type__": marker, "__value__": encoded}
    return None


def _bytes(value: bytes) -> tuple[str, str]:
    try:
        return "bytes", value.decode("utf-8")
    except UnicodeDecodeError:
        return "base64", base64.b64encode(value).decode("ascii")


#: A datetime is a date, too, and stands first.
_ENCODERS: Mapping[type, Callable[[Any], tuple[str, Any]]] = {
    datetime: lambda value: ("datetime", value.isoformat()),
    date: lambda value: ("date", value.isoformat()),
    time: lambda value: ("time", value.isoformat()),
    Decimal: lambda value: ("decimal", str(value)),
    uuid.UUID: lambda value: ("uuid", {"hex": value.hex}),
    bytes: _bytes,
}
