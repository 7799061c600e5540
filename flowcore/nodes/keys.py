"""What the ``with`` of built-in types may hold: they take it whole, so their signatures do not say.

In: nothing. Out: keys by type. Not here: what they mean (each type's function).
"""

from collections.abc import Mapping

__all__ = ["KEYS", "NEEDED"]

#: By type, the keys it takes.
KEYS: Mapping[str, frozenset[str]] = {
    "wait": frozenset({"for", "until"}),
    "signal": frozenset({"name", "timeout", "default"}),
    "approval": frozenset({"message", "timeout", "default", "on_reject"}),
    "http": frozenset(
        {"url", "method", "headers", "params", "json", "body", "timeout", "max_bytes"}
        | {"redirects", "accept", "retry_status"}
    ),
    "llm": frozenset(
        {"model", "prompt", "messages", "system", "temperature", "max_tokens", "base_url"}
        | {"api_key", "timeout", "stream", "options"}
    ),
    "tool": frozenset({"name", "args"}),
}

#: By type, the keys of which it needs one.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "wait": ("for", "until"),
    "signal": ("name",),
    "http": ("url",),
    "tool": ("name",),
}
