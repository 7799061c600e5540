"""The bytes of a model's answer as documents: one of JSON, or those of a stream of events.

In: bytes in whatever pieces they come. Out: the JSON documents, and whether the end came. Not here:
what they say (answer).

An answer is what it looks like: a server may stream though it was not asked to, or the other way
round, and name another content type. What looks like neither is not an answer of a model.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flowcore.errors import AnswerError
from flowcore.nodes.http.charset import whole_number
from flowcore.nodes.llm.text import mended

__all__ = ["Document", "Reader"]

_BREAK = re.compile(rb"\r\n|\r|\n")
_FIELD = re.compile(rb"(?:data|event|id|retry)?[ \t]*:")
_LONGEST_FIELD = 8
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"

_END = "[DONE]"
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One JSON document.

    Attributes:
        value: What it holds.
        event: The name of its event; empty for none.
        is_whole: It is the whole answer.
    """

    value: Any
    event: str = ""
    is_whole: bool = False


class Reader:
    """Reads one answer.

    Attributes:
        ended: The end came: the word that ends a stream, or a whole document.
    """

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.ended = False

    def read(self, parts: Iterable[bytes]) -> Iterator[Document]:
        """Yield the documents as they come.

        Args:
            parts: The bytes.

        Raises:
            AnswerError: It is not an answer of a model, or a document is cut off.
        """
        rest = iter(parts)
        start = _start(rest)
        if start[:1] in (b"{", b"["):
            yield Document(value=_whole(b"".join([start, *rest])), is_whole=True)
            self.ended = True
        elif _FIELD.match(start):
            yield from self._events(_joined(start, rest))
        elif not start:
            raise AnswerError("the answer is empty")
        else:
            shown = b"".join([start, next(rest, b"")])[:_SHOWN].decode("utf-8", "replace")
            raise AnswerError(f"that is not an answer of a model: {shown!r}")

    def _events(self, parts: Iterable[bytes]) -> Iterator[Document]:
        data: list[bytes] = []
        event = ""
        for line in _lines(parts):
            if not line:
                yield from self._documents(data, event)
                data, event = [], ""
                if self.ended:
                    return
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value.decode("utf-8", "replace").strip()
        yield from self._documents(data, event)

    def _documents(self, data: list[bytes], event: str) -> Iterator[Document]:
        """The documents of one event; some servers leave out the line between two of them."""
        whole = b"\n".join(data)
        for part in [whole] if len(data) < 2 or _is_json(whole) else data:  # noqa: PLR2004
            text = _text(part).strip()
            if text == _END:
                self.ended = True
                return
            if text and not text.startswith(":"):  # a comment that some gateways give as data
                yield Document(value=_value(text, event), event=event)


def _start(rest: Iterator[bytes]) -> bytes:
    """The beginning, as far as it is needed to see what it is."""
    start = b""
    for part in rest:
        start += part
        if start == _BOM[: len(start)]:
            continue
        start = start.removeprefix(_BOM).lstrip(_SPACE)
        if len(start) >= _LONGEST_FIELD or start[:1] in (b"{", b"[", b":") or b"\n" in start:
            break
    return start


def _joined(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def _lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end in any of the ways that events may; the last one may have no end."""
    held = bytearray()
    after_return = False
    for part in parts:
        rest = part[1:] if after_return and part.startswith(b"\n") else part
        after_return = part.endswith(b"\r")
        *whole, last = _BREAK.split(rest)
        for piece in whole:
            held += piece
            yield bytes(held)
            held.clear()
        held += last
    if held:
        yield bytes(held)


def _text(data: bytes) -> str:
    """Bytes as text; those of half a character stay, until the other half comes."""
    return data.decode("utf-8", "surrogateescape")


def _is_json(data: bytes) -> bool:
    try:
        json.loads(_text(data))
    except (ValueError, RecursionError):
        return False
    return True


def _whole(body: bytes) -> Any:
    return _parsed(_text(body), "the answer is cut off, or not JSON")


def _value(text: str, event: str) -> Any:
    if event == "error" and text[:1] not in "{[":
        return {"error": mended(text)}
    return _parsed(text, "an event of the stream is cut off, or not JSON")


def _parsed(text: str, wrong: str) -> Any:
    try:
        return json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError):
        raise AnswerError(f"{wrong}: {mended(text[:_SHOWN])!r}") from None
