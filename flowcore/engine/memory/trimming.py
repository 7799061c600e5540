"""TRIMMING: which messages of a conversation stay, so that a model takes what is left.

In: messages, a bound. Out: where to cut. Not here: what is kept in the store (thread).

A conversation is cut at its beginning, and never between a tool call and its results: these are one
*block*, from the message that calls to the last result, with whatever was said between. The newest
block stays whole, whatever the bound. Messages that are pinned stay, too, and count.

Tool calls and results are found in the shapes that models' own APIs give them: ``tool_calls`` and
``tool_call_id``, ``function_call``, and parts of a content or messages of types such as
``tool_use`` and ``tool_result``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["PINNED_ROLES", "boundaries", "newest", "pinned_count", "without_orphans"]

#: Roles of the messages that a conversation begins with and keeps.
PINNED_ROLES = frozenset({"system", "developer"})

_RESULT_ROLES = frozenset({"tool", "function", "ipython"})
_CALL_TYPES = frozenset(
    {"tool_use", "tool-call", "tool_call", "function_call", "custom_tool_call", "server_tool_use"}
)
_RESULT_TYPES = frozenset(
    {
        *("tool_result", "tool-result", "function_call_output", "custom_tool_call_output"),
        *("web_search_tool_result", "code_execution_tool_result", "mcp_tool_result"),
    }
)
#: Where a call or a result says which call it is, by the first that is there.
_OWN = ("tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "call_id")
_NAMES = (*_OWN, "id", "name")
#: Parts that are a map of one key.
_WRAPPED_CALLS = ("functionCall", "toolUse", "function_call")
_WRAPPED_RESULTS = ("functionResponse", "toolResult", "function_response")

Message = Mapping[str, Any]
Measure = Callable[[Message], float]


def pinned_count(messages: Sequence[Message]) -> int:
    """Count the messages at the beginning whose roles are always kept."""
    return next(
        (at for at, one in enumerate(messages) if _role(one) not in PINNED_ROLES), len(messages)
    )


def newest(
    messages: Sequence[Message], most: float, measure: Measure | None = None, *, pinned: int = 0
) -> list[Any]:
    """The messages that are pinned, and the newest blocks that fit beside them.

    Args:
        messages: A conversation, oldest first.
        most: Messages, or what ``measure`` sums up to.
        measure: What a message counts; None: 1.
        pinned: How many messages at the beginning stay in any case.
    """
    if measure is None and len(messages) <= most:
        return list(messages)
    count = measure or (lambda _: 1.0)
    body = messages[pinned:]
    room = most - sum(map(count, messages[:pinned]))
    return [*messages[:pinned], *body[_cut(body, room, count) :]]


def _cut(body: Sequence[Message], room: float, count: Measure) -> int:
    """Return the start of the newest blocks that fit; the last block fits always."""
    at = end = len(body)
    for start in reversed(boundaries(body)):
        room -= sum(map(count, body[start:end]))
        if room < 0 and end < len(body):
            break
        at = end = start
        if room < 0:
            break
    return at


def boundaries(body: Sequence[Message]) -> list[int]:
    """Return the starts of blocks, in rising order: a conversation may be cut there."""
    glued = [0] * (len(body) + 1)  # as differences: +1 where a block's inside begins
    called: dict[str, int] = {}
    waiting: dict[str, int] = {}
    spoken = -1
    for at, message in enumerate(body):
        calls, results = _marks(message)
        called.update((name, at) for name in calls)
        waiting.update((name, at) for name in calls)
        for name in results:
            _glue(glued, called.get(name, at - 1), at)
            waiting.pop(name, None)
        if not calls and not results:
            spoken = at
    # Calls at the end, which nothing but calls and results has followed, wait for their results.
    first = min((at for at in waiting.values() if at > spoken), default=len(body))
    _glue(glued, first, len(body) - 1)
    found, inside = [], 0
    for at in range(len(body)):
        inside += glued[at]
        if not inside:
            found.append(at)
    return found


def _glue(glued: list[int], first: int, last: int) -> None:
    """Let nothing be cut between two messages."""
    if 0 <= first < last:
        glued[first + 1] += 1
        glued[last + 1] -= 1


def without_orphans(body: Sequence[Message]) -> list[Any]:
    """Leave out the results of calls that are no longer there, of a conversation that was cut."""
    called: set[str] = set()
    kept: list[Any] = []
    for message in body:
        calls, results = _marks(message)
        called.update(calls)
        if results and (not kept or not called.issuperset(filter(None, results))):
            message = _without_results(message, called)  # noqa: PLW2901  (a smaller one, or none)
            if message is None:
                continue
        kept.append(message)
    return kept


def _without_results(message: Message, called: set[str]) -> Any:
    """Drop the results of unknown calls from a message; None if nothing is left."""
    content = message.get("content")
    if _result(message) is not None or not isinstance(content, list | tuple):
        return None
    parts = [part for part in content if (name := _result(part)) is None or name in called]
    return {**message, "content": parts} if parts else None


def _marks(message: Message) -> tuple[list[str], list[str]]:
    """The names of the calls and of the results in a message; '' is a name that was not given."""
    calls = [_name(call) for call in _listed(message.get("tool_calls"))]
    results: list[str] = []
    for part in _pieces(message):
        if (name := _call(part)) is not None:
            calls.append(name)
        if (name := _result(part)) is not None:
            results.append(name)
    return calls, results


def _pieces(message: Message) -> Iterator[Any]:
    yield message
    yield from _listed(message.get("content"))
    yield from _listed(message.get("parts"))


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()


def _call(part: Any) -> str | None:
    """The name of a call; None if it is none."""
    if not isinstance(part, Mapping):
        return None
    for key in _WRAPPED_CALLS:
        if isinstance(inner := part.get(key), Mapping):
            return _name(inner)
    return _name(part) if _type(part) in _CALL_TYPES else None


def _result(part: Any) -> str | None:
    """The name of the call that something is the result of; None if it is no result."""
    if not isinstance(part, Mapping):
        return None
    for key in _WRAPPED_RESULTS:
        if isinstance(inner := part.get(key), Mapping):
            return _name(inner)
    if (role := _role(part)) in _RESULT_ROLES:
        return _name(part, (*_OWN, "name") if role == "function" else _OWN)
    return _name(part) if _type(part) in _RESULT_TYPES else None


def _type(part: Message) -> str:
    given = part.get("type")
    return given if isinstance(given, str) else ""


def _role(message: Message) -> str:
    given = message.get("role")
    return given.strip().lower() if isinstance(given, str) else ""


def _name(part: Any, keys: Sequence[str] = _NAMES) -> str:
    """Return the name of a call or its result, or ''. A thread's numbers are not names."""
    if not isinstance(part, Mapping):
        return ""
    return next((found for key in keys if isinstance(found := part.get(key), str) and found), "")
