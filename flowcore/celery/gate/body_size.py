"""The size of a message's body, also once it is decompressed.

In: a body as it travelled, and what kombu would decompress it with. Out: a reason to refuse it, or
None. Not here: what is in the body (validation).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["LARGEST", "brief", "judge_size"]

LARGEST = 256 * 2**20
"""Bytes of a body, decompressed: a worker copies it some times."""


def judge_size(body: bytes | str, compression: str | None) -> str | None:
    """Judge how large a body is, or would be once it is decompressed.

    Args:
        body: As it travelled, without base64.
        compression: Kombu's name of what it was compressed with.
    """
    if len(body) > LARGEST:
        return f"its body has {len(body)} bytes"
    made = _DECOMPRESSORS.get(compression or "")
    if made is None or isinstance(body, str):
        return None
    try:
        if len(made(body)) > LARGEST:
            return f"its body has more than {LARGEST} bytes once it is decompressed"
    except Exception as error:  # noqa: BLE001
        return f"its body cannot be decompressed: {brief(error)}"
    return None


def _unzip(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, LARGEST + 1)


def _bunzip(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, LARGEST + 1)


def _unxz(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data, LARGEST + 1)


def _unbrotli(data: bytes) -> bytes:
    """Kombu offers it where its package is installed, as it does zstd."""
    reader, made = import_module("brotli").Decompressor(), []
    size = 0
    for at in range(0, len(data), _BIT):
        made.append(reader.process(data[at : at + _BIT]))
        size += len(made[-1])
        if size > LARGEST:
            break
    return b"".join(made)


def _unzstd(data: bytes) -> bytes:
    reader = import_module("zstandard").ZstdDecompressor().stream_reader(data)
    made: bytes = reader.read(LARGEST + 1)
    return made


#: Bytes of brotli that are taken at a time: each may become thousands.
_BIT = 256

_DECOMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), _unzip),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), _bunzip),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), _unxz),
    **dict.fromkeys(("application/x-brotli", "brotli"), _unbrotli),
    **dict.fromkeys(("application/zstd", "zstd", "zstandard"), _unzstd),
}


def brief(value: Any) -> str:
    """Show something foreign in a few printable characters, whatever it does when asked."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001
        text = type(value).__name__
    return ascii(text[:120])[1:-1]
