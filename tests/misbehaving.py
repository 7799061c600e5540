"""A web server on the loopback that misbehaves in every way it is told.

In: behaviours by name. Out: its address, and what it was asked. A page is asked for by its path, a
model by its name; each is a function that writes the bytes of its answer.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Asked", "Line", "Misbehaving", "Page", "misbehaving"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """The connection, as a page writes to it."""

    def __init__(self, handler: BaseHTTPRequestHandler, turn: int, let_go: threading.Event) -> None:
        self._out = handler.wfile
        self._handler = handler
        #: How often this page was asked before.
        self.turn = turn
        self._let_go = let_go

    def write(self, data: bytes) -> bool:
        """Write bytes as they are; False if nobody listens any more."""
        try:
            self._out.write(data)
            self._out.flush()
        except OSError:
            return False
        return True

    def head(self, status: int = 200, kind: str | None = None, **headers: str) -> None:
        """Begin an answer, which ends with the connection unless a header says otherwise."""
        lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
        if kind is not None:
            lines.append(f"Content-Type: {kind}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def reply(
        self, body: bytes, *, status: int = 200, kind: str | None = None, **headers: str
    ) -> None:
        """A whole answer."""
        self.head(status, kind, Content_Length=str(len(body)), **headers)
        self.write(body)

    def chunk(self, data: bytes) -> None:
        """A chunk of an answer with ``Transfer-Encoding: chunked``."""
        self.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def wait(self) -> None:
        """Say nothing until the test is over."""
        self._let_go.wait(60)

    def drip(self, data: bytes, seconds: float = 0.05) -> None:
        """Send the same bytes again and again, until nobody listens or the test is over."""
        while not self._let_go.wait(seconds) and self.write(data):
            pass


Page = Callable[[Line, Asked], None]


@dataclass(slots=True)
class Misbehaving:
    """The server."""

    url: str = ""
    pages: dict[str, Page] = field(default_factory=dict)
    models: dict[str, Page] = field(default_factory=dict)
    asked: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))

    def page_of(self, asked: Asked) -> tuple[str, Page | None]:
        path = asked.path.partition("?")[0]
        if path.endswith("/chat/completions"):
            name = asked.json["model"]
            return name, self.models.get(name)
        return path, self.pages.get(path)


@contextmanager
def misbehaving(host: str = "127.0.0.1") -> Iterator[Misbehaving]:
    """Run such a server."""
    site = Misbehaving()
    let_go = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            name, page = site.page_of(asked)
            turn = len(site.asked[name])
            site.asked[name].append(asked)
            self.close_connection = True
            line = Line(self, turn, let_go)
            if page is None:
                line.reply(b"no such page", status=404, kind="text/plain")
            else:
                page(line, asked)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # whoever asked has gone

    server = Server((host, 0), Handler)
    site.url = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        let_go.set()
        with suppress(OSError):
            server.shutdown()
        server.server_close()
        thread.join(10)
