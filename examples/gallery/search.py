"""Full-text search with BM25: what ``search.yaml`` names.

Source of the ranking: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25
and Beyond", Foundations and Trends in Information Retrieval 3(4), 2009.
"""

import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

_WORD = re.compile(r"[^\W_]{2,}")
_KINDS = {".md", ".txt", ".rst", ".py"}
_K1, _B = 1.5, 0.75


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def shards(folder: str, size: int = 20) -> list[list[str]]:
    """Split the text files of a directory into shards."""
    found = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix in _KINDS)
    return [found[at : at + size] for at in range(0, len(found), size)]


def index(item: list[str]) -> dict[str, Any]:
    """Count the words of some files."""
    words: dict[str, dict[str, int]] = defaultdict(dict)
    lengths: dict[str, int] = {}
    for path in item:
        counts = Counter(_words(Path(path).read_text("utf-8", "replace")))
        lengths[path] = counts.total()
        for word, count in counts.items():
            words[word][path] = count
    return {"words": dict(words), "lengths": lengths}


def merge(index: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the shards together."""
    words: dict[str, dict[str, int]] = defaultdict(dict)
    lengths: dict[str, int] = {}
    for shard in index:
        lengths |= shard["lengths"]
        for word, counts in shard["words"].items():
            words[word] |= counts
    return {"words": dict(words), "lengths": lengths}


def find(merge: dict[str, Any], query: str, most: int = 5) -> list[dict[str, Any]]:
    """Rank the files that have words of the query."""
    lengths: dict[str, int] = merge["lengths"]
    mean = sum(lengths.values()) / max(1, len(lengths))
    scores: Counter[str] = Counter()
    for word in _words(query):
        counts = merge["words"].get(word, {})
        rare = math.log(1 + (len(lengths) - len(counts) + 0.5) / (len(counts) + 0.5))
        for path, count in counts.items():
            norm = _K1 * (1 - _B + _B * lengths[path] / mean)
            scores[path] += rare * count * (_K1 + 1) / (count + norm)  # type: ignore[assignment]
    return [{"file": path, "score": round(score, 3)} for path, score in scores.most_common(most)]
