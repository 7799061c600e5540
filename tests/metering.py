"""A meter between clients and a server: the largest request and the largest answer."""

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Meter", "metered"]

_PIECE = 1 << 16


@dataclass
class Meter:
    """What went through, in bytes; one direction without a word from the other is one message."""

    url: str
    request: int = 0
    answer: int = 0

    def reset(self) -> None:
        self.request = self.answer = 0


@contextlib.contextmanager
def metered(url: str) -> Iterator[Meter]:
    """Yield a meter with a URL of its own in front of ``unix://…``; a pipeline is one message."""
    directory = Path(tempfile.mkdtemp(prefix="fc-"))
    path = str(directory / "meter.sock")
    meter = Meter(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        serve = threading.Thread(
            target=_serve, args=(listener, url.removeprefix("unix://"), meter), daemon=True
        )
        serve.start()
        try:
            yield meter
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serve.join(10)
            shutil.rmtree(directory)


def _serve(listener: socket.socket, target: str, meter: Meter) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.socket(socket.AF_UNIX)
        server.connect(target)
        counts = {"request": 0, "answer": 0}
        for source, sink, way in ((client, server, "request"), (server, client, "answer")):
            threading.Thread(
                target=_pump, args=(source, sink, way, counts, meter), daemon=True
            ).start()


def _pump(
    source: socket.socket, sink: socket.socket, way: str, counts: dict[str, int], meter: Meter
) -> None:
    other = "answer" if way == "request" else "request"
    with source, contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            counts[other] = 0
            counts[way] += len(piece)
            setattr(meter, way, max(getattr(meter, way), counts[way]))
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
