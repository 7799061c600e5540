"""RECALL: which messages of a thread are nearest in meaning to a text.

In: an embedding function, messages with vectors. Out: vectors, and the nearest messages. Not here:
where they are kept (thread).

A vector is kept with its message, as 32-bit floats, little-endian: it comes and goes with it. The
search is exact: a thread has a bound, and a matrix of all its vectors is one product away.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowcore.engine.memory.user_functions import call
from flowcore.errors import UsageError
from flowcore.json_text import json_text

__all__ = ["VECTOR", "embedded", "floats_of", "nearest", "packed_vector", "without_vector"]

#: The key of a message's vector in the store, which no field of a user's has.
VECTOR = "flowcore.vector"

#: Numbers of one vector.
_MOST = 65_536


def embedded(embed: str | Callable[..., Any], content: Any) -> bytes:
    """Work out the vector of what a message says, sync or async.

    Raises:
        UsageError: It is no vector.
    """
    text = content if isinstance(content, str) else json_text(content)
    return packed_vector(call(embed, text), whose=f"{embed} gave")


def packed_vector(given: Any, *, whose: str) -> bytes:
    """Pack numbers as a direction: of length 1, as cosines have no use for another.

    Raises:
        UsageError: They are no vector.
    """
    numpy = _numpy()
    try:
        vector = numpy.asarray(given)
    except ValueError as error:
        raise UsageError(f"{whose} {given!r:.80}, which is not a list of numbers") from error
    fits = vector.ndim == 1 and 0 < vector.size <= _MOST and vector.dtype.kind in "iuf"
    if not fits or not numpy.isfinite(vector).all():
        msg = f"{whose} {given!r:.80}, which is not a list of 1 to {_MOST:,} finite numbers"
        raise UsageError(msg)
    vector = vector.astype("<f8")
    if (peak := numpy.abs(vector).max()) > 0:
        vector /= peak  # first, or the squares of large and of tiny numbers would be lost
        vector /= numpy.linalg.norm(vector)
    packed: bytes = vector.astype("<f4").tobytes()
    return packed


def floats_of(vector: bytes) -> list[float]:
    """Read a packed vector."""
    numbers: list[float] = _numpy().frombuffer(vector, dtype="<f4").tolist()
    return numbers


def without_vector(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as it is shown."""
    return {key: value for key, value in message.items() if key != VECTOR}


def nearest(
    messages: Sequence[Mapping[str, Any]], query: bytes, *, k: int, min_score: float | None
) -> list[dict[str, Any]]:
    """Return the nearest messages with their ``score``, the nearest first.

    Args:
        messages: Those without a vector, or with one of another length, are passed over.
        query: A packed vector.
        k: How many at most.
        min_score: Of those no less near: the cosine, from -1 to 1.

    Raises:
        UsageError: There are vectors, and none is as long as the query's.
    """
    numpy = _numpy()
    have = [message for message in messages if isinstance(message.get(VECTOR), bytes)]
    able = [message for message in have if len(message[VECTOR]) == len(query)]
    if not able:
        if have:
            raise UsageError(_unlike(len(have[-1][VECTOR]) // 4, len(query) // 4))
        return []
    matrix = numpy.frombuffer(b"".join(each[VECTOR] for each in able), dtype="<f4")
    scores = matrix.reshape(len(able), -1) @ numpy.frombuffer(query, dtype="<f4")
    # Of two that are equally near, the newer one.
    order = numpy.lexsort((-numpy.arange(len(able)), -scores))[:k]
    found = [(able[at], float(scores[at])) for at in order]
    return [
        {**without_vector(message), "score": score}
        for message, score in found
        if min_score is None or score >= min_score
    ]


def _unlike(has: int, asked: int) -> str:
    return (
        f"the thread's vectors have {has} numbers, and the query's {asked}, so 'embed' is another "
        "function by now: clear the thread, or give the memory another 'name'"
    )


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        msg = "recall by meaning needs numpy: pip install 'flowcore[vectors]'"
        raise UsageError(msg) from error
