"""Bodies as they were before they were compressed for the way.

In: the bytes of an answer as they came, and its Content-Encoding. Out: its bytes, in bounded
pieces; an answer that is cut off or damaged is an error. Not here: reading from a connection.

Not left to the client: it passes on a compressed body that ends early, and one in an encoding that
it does not know, as if they were whole.
"""

import zlib
from collections.abc import Iterable, Iterator

from flowcore.errors import AnswerError, PayloadTooLargeError

__all__ = ["ACCEPTED", "decoded"]

#: What a request says that it takes.
ACCEPTED = "gzip, deflate"

#: Encodings upon each other that are read.
_MOST_LAYERS = 3

#: Bytes that are made at once.
_PIECE = 2**18

_GZIP = zlib.MAX_WBITS | 16
_ZLIB_METHOD, _ZLIB_CHECK = 8, 31


def decoded(raw: Iterable[bytes], encoding: str, *, most: int) -> Iterator[bytes]:
    """Decode a body.

    Args:
        raw: Its bytes as they came.
        encoding: The text of Content-Encoding; empty for none.
        most: Bytes that it may have, before as well as after it is decoded.

    Yields:
        Pieces of it.

    Raises:
        AnswerError: It ends early, is damaged, or in an encoding that was not asked for.
        PayloadTooLargeError: It is larger.
    """
    names = [word.strip().lower() for word in encoding.split(",")]
    layers = [name for name in names if name not in ("", "identity")]
    if len(layers) > _MOST_LAYERS:
        raise AnswerError(f"the answer is encoded {len(layers)} times: {encoding[:100]!r}")
    parts: Iterable[bytes] = _bounded(raw, most)
    for name in reversed(layers):
        if name not in ("gzip", "x-gzip", "deflate"):
            what = f"the answer is in the encoding {name[:60]!r}, though only {ACCEPTED} was asked"
            raise AnswerError(what, again=False)
        parts = _bounded(_inflated(parts, name), most)
    yield from parts


def _bounded(parts: Iterable[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        if size > most:
            msg = f"the answer is larger than {most:,} bytes ('max_bytes' says how large it may be)"
            raise PayloadTooLargeError(msg)
        yield part


def _inflated(parts: Iterable[bytes], name: str) -> Iterator[bytes]:
    layer = _Layer(name)
    try:
        for part in parts:
            yield from layer.feed(part)
    except zlib.error as error:
        raise AnswerError(f"the answer says it is {name}, and is not: {error}") from None
    if layer.is_open:
        raise AnswerError(f"the answer ends in the middle of what {name} has compressed")


class _Layer:
    """One encoding, of one body."""

    def __init__(self, name: str) -> None:
        self._is_gzip = name != "deflate"
        self._start = b""
        self._inside: zlib._Decompress | None = None
        self._ended = False

    @property
    def is_open(self) -> bool:
        """True if more has to come; a body of no bytes at all is whole."""
        return self._inside is not None or bool(self._start)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inside is None:
                data = self._begin(data)
                continue
            piece = self._inside.decompress(data, _PIECE)
            while piece:  # it may hold back more, though it has taken all
                yield piece
                if self._inside.eof:
                    break  # what is left is in unused_data, and may be in the tail, too
                piece = self._inside.decompress(self._inside.unconsumed_tail, _PIECE)
            data = self._inside.unconsumed_tail
            if self._inside.eof:
                # A body of gzip may be several, one after the other.
                data, self._inside, self._ended = self._inside.unused_data, None, True

    def _begin(self, data: bytes) -> bytes:
        """Start to decompress, as soon as there is enough to see how; return what is left."""
        if self._ended:
            data = data.lstrip(b"\0")  # padding
            if data and not self._is_gzip:
                raise zlib.error("there is more behind its end")
        data, self._start = self._start + data, b""
        if len(data) < 2:  # noqa: PLR2004  (the length of both headers)
            self._start = data
            return b""
        if self._is_gzip:
            self._inside = zlib.decompressobj(_GZIP)
        else:
            check = int.from_bytes(data[:2], "big") % _ZLIB_CHECK
            is_wrapped = data[0] & 15 == _ZLIB_METHOD and check == 0
            self._inside = zlib.decompressobj(zlib.MAX_WBITS if is_wrapped else -zlib.MAX_WBITS)
        return data
