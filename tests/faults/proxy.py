"""A TCP proxy that treats its connections badly.

In: a port to go to. Out: a loopback port; resets, delays, losses and half-closed connections, each
with a count of what it has hit. Runs on an event loop of its own: closing a socket that a thread
reads from would send no reset.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Proxy"]

_T = TypeVar("_T")

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, eq=False)
class _Pair:
    """A client's connection, and the one it goes on to."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter

    def abort(self) -> None:
        for writer in (self.client, self.server):
            if (link := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Copies bytes both ways, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        """Listen; ``target`` is the loopback port to connect to."""
        self.counts: Counter[str] = Counter()
        self._target = target
        self._delay = 0.0
        self._dropping = False
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def reset(self) -> int:
        """Reset every connection, as a router that has forgotten them does."""
        return self._do(self._reset)

    def half_close(self) -> int:
        """End the server's direction of each connection; the client's stays open."""
        return self._do(self._half_close)

    def delay(self, seconds: float) -> None:
        """Hold each piece of data back for so long."""
        self._delay = seconds

    def drop(self) -> None:
        """Swallow whatever is sent from now on."""
        self._dropping = True

    def heal(self) -> None:
        """Treat connections well again; those that lost bytes are reset."""
        self._delay = 0.0
        if self._dropping:
            self._dropping = False
            self.reset()

    def close(self) -> None:
        """End everything."""

        def end() -> None:
            self._server.close()
            self._reset()
            self._loop.call_later(0.05, self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _do(self, act: Callable[[], _T]) -> _T:
        async def do() -> _T:
            return act()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    def _reset(self) -> int:
        pairs = list(self._pairs)
        self._pairs.clear()
        for pair in pairs:
            pair.abort()
        self.counts["connections reset"] += len(pairs)
        return len(pairs)

    def _half_close(self) -> int:
        for pair in self._pairs:
            with contextlib.suppress(OSError, RuntimeError):
                pair.client.write_eof()
                self.counts["connections half-closed"] += 1
        return len(self._pairs)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            back, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            client.transport.abort()
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        await asyncio.gather(self._copy(pair, reader, server), self._copy(pair, back, client))

    async def _copy(
        self, pair: _Pair, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await source.read(_CHUNK):
                if self._dropping:
                    self.counts["bytes dropped"] += len(data)
                    continue
                if self._delay:
                    self.counts["pieces delayed"] += 1
                    await asyncio.sleep(self._delay)
                target.write(data)
                await target.drain()
        self._pairs.discard(pair)
        for writer in (pair.client, pair.server):
            writer.close()
