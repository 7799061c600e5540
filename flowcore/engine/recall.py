"""RECALL: which messages of a thread are nearest in meaning to a text.

In: an embedding function, messages with vectors. Out: vectors, and the nearest messages. Not here:
where they are kept (engine.memory).

A vector is kept with its message, as 32-bit floats, little-endian: it comes and goes with it. The
search is exact: a thread has a bound, and a matrix of all its vectors is one product away.
"""

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowcore.engine.calling import call
from flowcore.errors import UsageError

__all__ = ["VECTOR", "embedded", "floats_of", "nearest", "packed_vector"]

#: The key of a message's vector.
VECTOR = "vector"

#: Numbers of one vector.
_MOST = 65_536


def embedded(embed: str | Callable[..., Any], content: Any) -> bytes:
    """Work out the vector of what a message says, sync or async.

    Raises:
        UsageError: It is no vector.
    """
    text = content if isinstance(content, str) else json.dumps(content, default=repr)
    return packed_vector(call(embed, text), whose=f"{embed} gave")


def packed_vector(given: Any, *, whose: str) -> bytes:
    """Pack numbers.

    Raises:
        UsageError: They are no vector.
    """
    numpy = _numpy()
    try:
        vector = numpy.asarray(given, dtype="<f4")
    except (TypeError, ValueError) as error:
        raise UsageError(f"{whose} {given!r:.80}, which is no list of numbers") from error
    if vector.ndim != 1 or not 0 < vector.size <= _MOST or not numpy.isfinite(vector).all():
        msg = f"{whose} {given!r:.80}, which is no list of 1 to {_MOST:,} finite numbers"
        raise UsageError(msg)
    packed: bytes = vector.tobytes()
    return packed


def floats_of(vector: bytes) -> list[float]:
    """Read a packed vector."""
    numbers: list[float] = _numpy().frombuffer(vector, dtype="<f4").tolist()
    return numbers


def nearest(
    messages: Sequence[Mapping[str, Any]], query: bytes, *, k: int, min_score: float | None
) -> list[dict[str, Any]]:
    """Return the nearest messages with their ``score``, the nearest first.

    Args:
        messages: Those without a vector are passed over.
        query: A packed vector.
        k: How many at most.
        min_score: Of those no less near: the cosine, from -1 to 1.

    Raises:
        UsageError: Some vectors have another number of dimensions.
    """
    numpy = _numpy()
    able = [message for message in messages if VECTOR in message]
    wanted = numpy.frombuffer(query, dtype="<f4")
    for message in able:
        if len(message[VECTOR]) != len(query):
            has, asked = len(message[VECTOR]) // 4, wanted.size
            msg = (
                f"message {message['id']} has a vector of {has} numbers, and the query {asked}, "
                "so 'embed' is another function by now: clear the thread, or give the memory "
                "another 'name'"
            )
            raise UsageError(msg)
    if not able:
        return []
    matrix = numpy.frombuffer(b"".join(each[VECTOR] for each in able), dtype="<f4")
    matrix = matrix.reshape(len(able), wanted.size)
    lengths = numpy.linalg.norm(matrix, axis=1) * numpy.linalg.norm(wanted)
    scores = (matrix @ wanted) / numpy.where(lengths > 0, lengths, math.inf)
    # Of two that are equally near, the newer one.
    order = numpy.lexsort((-numpy.arange(len(able)), -scores))[:k]
    found = [(able[at], float(scores[at])) for at in order]
    return [
        {**{key: value for key, value in message.items() if key != VECTOR}, "score": score}
        for message, score in found
        if min_score is None or score >= min_score
    ]


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        msg = "recall by meaning needs numpy: pip install 'flowcore[vectors]'"
        raise UsageError(msg) from error
