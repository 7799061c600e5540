"""Nodes that are given a secret, and say it wherever they can."""

import base64
import logging
import os
import signal
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowcore.nodes.context import Context

_library = logging.getLogger("some.library")


def leak(token: str, ctx: Context) -> dict[str, Any]:
    """Say a secret in every way that a node has."""
    ctx.logger.info("the token is %s", token)
    ctx.emit("seen", token=token, nested=[{token: token}])
    for char in f"see {token} there":
        ctx.token(char)
    ctx.memory.add("user", f"my token is {token}")
    ctx.memory.set("token", {"is": token})
    _library.warning("GET https://example.org/?token=%s", urllib.parse.quote(token))
    try:
        refuse(token)
    except LookupError:
        _library.exception("it failed with %r", {"token": token})
    sys.stdout.write(f"printed {token}\n")
    sys.stderr.write(f"printed {token}\n")
    basic = base64.b64encode(f"user:{token}".encode()).decode()
    return {"token": token, "header": f"Basic {basic}", "raw": token.encode(), token: 1}


def refuse(token: str) -> None:
    """Fail with a secret."""
    raise LookupError(token)


def fail(token: str) -> None:
    """Fail with a secret in the error, its cause and its note."""
    try:
        refuse(token)
    except LookupError as cause:
        error = ValueError("x" * 9_990 + f"refused {token}")
        error.add_note(f"with {token}")
        raise error from cause


def fail_once(token: str, ctx: Context) -> str:
    """Fail with a secret, and then give it."""
    if ctx.attempt == 1:
        refuse(token)
    return token


def hang(token: str, ctx: Context, path: str = "") -> None:
    """Say a secret and never end."""
    ctx.token(token)
    if path:
        Path(path).touch()
    while True:
        time.sleep(0.05)


def die_once(token: str, ctx: Context) -> str:
    """End the process with a secret in it, at the first attempt."""
    ctx.emit("seen", token=token)
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return token


def words(token: str) -> Iterator[str]:
    """Give a secret letter by letter."""
    yield from f"it is {token}"


def items(token: str) -> Iterator[dict[str, str]]:
    """Give items that hold a secret."""
    yield {"token": token}


def length(token: str) -> int:
    """Say how long a secret is."""
    return len(token)


def large(token: str) -> list[str]:
    """Give a secret so often that it goes to the payload store."""
    return [token] * 30_000
