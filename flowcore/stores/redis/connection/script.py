"""Calling Lua scripts with little between: one connection per thread, no pool in the way.

In: a script's text and its arguments. Out: its answer.

A node costs two calls, so the client library's way through its connection pool, which looks at
the socket before each command, is a third of their price. Scripts are safe to repeat, so a broken
connection is made again and the call with it.
"""

import functools
import hashlib
import threading
import time
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flowcore.forks import renew_after_fork
from flowcore.stores.redis.connection.connect import (
    ANSWER_TIMEOUT_OF_SEVERAL,
    REFUSALS,
    RETRIES,
    Client,
)

__all__ = ["ON_CORE", "ON_WEB", "Script", "ScriptConnection", "script_source", "script_text"]

#: Scripts that change no more than the nodes they name.
ON_CORE = ("claim", "adopt", "renew")
ON_WEB = (
    *("submit", "settle", "flush", "lose", "wake", "signal", "sweep", "stop"),
    *("pause", "resume"),
)

_BACKOFF = 0.05
_BROKEN = (RedisConnectionError, RedisTimeoutError, OSError)


class ScriptConnection:
    """A connection for each thread that calls; a forked child gets its own."""

    def __init__(self, client: Client) -> None:
        """Connect like ``client`` does; nothing is sent yet."""
        self._pool = client.connection_pool
        answer = client.connection_pool.connection_kwargs.get("socket_timeout")
        self.is_one_of_several = answer == ANSWER_TIMEOUT_OF_SEVERAL
        self._renew()
        renew_after_fork(self, ScriptConnection._renew)

    def _renew(self) -> None:
        self._mine = threading.local()

    def connection(self) -> Any:
        """Return this thread's connection."""
        try:
            return self._mine.connection
        except AttributeError:
            pool = self._pool
            self._mine.connection = pool.connection_class(**pool.connection_kwargs)
            return self._mine.connection


class Script:
    """One script; loaded when the server does not know it."""

    def __init__(self, line: ScriptConnection, source: str) -> None:
        """Keep the text; nothing is sent yet."""
        self._line = line
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, *, args: Sequence[Any]) -> Any:
        """Call it; a lost connection is tried again for about a second.

        Raises:
            redis.exceptions.RedisError: As the client library has it.
        """
        for attempt in range(RETRIES):
            try:
                return self._call(args)
            except REFUSALS:
                raise
            except _BROKEN as error:
                self._line.connection().disconnect()
                if isinstance(error, RedisTimeoutError) and self._line.is_one_of_several:
                    raise
                time.sleep(_BACKOFF * 2**attempt)
        return self._call(args)

    def _call(self, args: Sequence[Any]) -> Any:
        connection = self._line.connection()
        try:
            connection.send_command("EVALSHA", self._sha, 0, *args, check_health=False)
            return connection.read_response()
        except NoScriptError:
            connection.send_command("EVAL", self._source, 0, *args, check_health=False)
            return connection.read_response()
        except BaseException:
            # An answer may still be under way: it must not be taken for the next one's.
            connection.disconnect()
            raise


@functools.cache
def script_source(name: str) -> str:
    """Return the text of a script, with that of the ``lua`` folder it is built on."""
    if name == "sweep":
        return script_text("core", "dispatch", "web", "trouble", name)
    return (
        script_text("core", "dispatch", "web", name)
        if name in ON_WEB
        else script_text("core", name)
    )


def script_text(*parts: str) -> str:
    """Return these files of the ``lua`` folder as one text."""
    folder = resources.files("flowcore.stores.redis") / "lua"
    return "".join((folder / f"{part}.lua").read_text() for part in parts)
