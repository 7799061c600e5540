"""A trip: what ``booking.yaml`` names. The key makes a reservation that is made twice one."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def _opened(book: str) -> Iterator[dict[str, Any]]:
    path = Path(book)
    path.touch()
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        kept: dict[str, Any] = json.loads(text) if text else {"reserved": {}, "told": []}
        yield kept
        file.seek(0)
        file.truncate()
        json.dump(kept, file)


def reserve(what: str, key: str, book: str, full: str = "") -> dict[str, str]:
    """Reserve something under a key."""
    if what == full:
        msg = f"no {what} is left"
        raise LookupError(msg)
    with _opened(book) as kept:
        kept["reserved"][key] = what
        kept["told"].append(f"reserved {what}")
    return {"key": key, "what": what}


def release(output: dict[str, str], book: str) -> None:
    """Give a reservation back."""
    with _opened(book) as kept:
        kept["reserved"].pop(output["key"], None)
        kept["told"].append(f"released {output['what']}")


def tell(text: str, book: str) -> str:
    """Tell the traveller."""
    with _opened(book) as kept:
        kept["told"].append(text)
    return text
