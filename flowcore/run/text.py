"""Text from outside: what is no Unicode becomes replacement characters.

In: text of somebody else's, such as a file's name as Python decodes it. Out: text that UTF-8, JSON
and msgpack can carry. Not here: what a terminal may be shown (cli), sizes
(engine.values.event_limits).
"""

__all__ = ["to_utf8"]


def to_utf8(text: str) -> str:
    """Replace halves of surrogate pairs, and join those that are pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
