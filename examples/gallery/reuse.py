"""Words: what ``clean.yaml`` and ``reuse.yaml`` name."""

from collections import Counter


def split(left: str, right: str) -> dict[str, list[str]]:
    """Split both texts into words."""
    return {"left": left.split(), "right": right.split()}


def strip(words: list[str]) -> list[str]:
    """Take off case and marks."""
    stripped = (word.strip(".,;:!?()\"'").lower() for word in words)
    return [word for word in stripped if word]


def count(strip: list[str]) -> dict[str, int]:
    """Count each word."""
    return dict(Counter(strip))


def common(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    """Say which words both have, and how often at least."""
    return dict(Counter(left) & Counter(right))
