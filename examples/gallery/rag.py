"""Retrieval from local documents: what ``rag.yaml`` names.

The vectors are hashed counts of words, which needs no model: K. Weinberger et al., "Feature Hashing
for Large Scale Multitask Learning", ICML 2009. A model's embeddings would go into ``vectors``.
"""

import math
import re
import zlib
from pathlib import Path
from typing import Any

_WORD = re.compile(r"[^\W_]{2,}")
_SIZE = 512


def passages(folder: str, words: int = 120) -> list[dict[str, str]]:
    """Cut the text files of a directory into passages."""
    return [
        {"file": path.name, "text": " ".join(text[at : at + words])}
        for path in sorted(Path(folder).rglob("*.md"))
        if (text := path.read_text("utf-8", "replace").split())
        for at in range(0, len(text), words)
    ]


def _vector(text: str) -> list[float]:
    counts = [0.0] * _SIZE
    for word in _WORD.findall(text.lower()):
        code = zlib.crc32(word.encode())
        counts[code % _SIZE] += 1.0 if code & 1 << 31 else -1.0
    length = math.sqrt(sum(one * one for one in counts)) or 1.0
    return [round(one / length, 5) for one in counts]


def vectors(item: list[dict[str, str]]) -> list[list[float]]:
    """Make a vector of each passage."""
    return [_vector(passage["text"]) for passage in item]


def nearest(
    passages: list[dict[str, str]], vectors: list[list[list[float]]], question: str, most: int = 4
) -> dict[str, Any]:
    """Find the passages that are nearest to the question, and write the prompt."""
    asked = _vector(question)
    flat = [vector for chunk in vectors for vector in chunk]
    scores = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in flat]
    best = sorted(range(len(scores)), key=lambda at: -scores[at])[:most]
    chosen = [passages[at] for at in best]
    told = "\n\n".join(f"[{one['file']}] {one['text']}" for one in chosen)
    return {"files": [one["file"] for one in chosen], "prompt": f"{told}\n\nQuestion: {question}"}


def cite(answer: dict[str, Any], nearest: dict[str, Any]) -> dict[str, Any]:
    """Give the answer with the files it was made from."""
    return {"answer": answer["text"], "files": sorted(set(nearest["files"]))}
