"""The calls of tools that a model asks for.

In: their pieces, or whole ones. Out: calls as OpenAI's protocol has them, with the name and the
arguments as data beside it. Not here: making the calls (types.tool).
"""

import json
from collections.abc import Mapping
from typing import Any

from flowcore.errors import AnswerError
from flowcore.nodes.http.charset import whole_number
from flowcore.nodes.llm.text import clean, mended, shown

__all__ = ["ToolCalls"]


class ToolCalls:
    """The calls of tools that a model asks for, in whatever pieces they come."""

    def __init__(self) -> None:
        """None is asked for yet."""
        self._calls: list[dict[str, Any]] = []
        self._at: dict[int, int] = {}
        self._numbers: list[int] = []

    def add(self, pieces: Any, *, are_whole: bool = False) -> None:
        """Add calls, or pieces of them.

        Raises:
            AnswerError: They are of another shape.
        """
        if not isinstance(pieces, list):
            raise AnswerError(f"'tool_calls' is not a list: {shown(pieces)}")
        for piece in pieces:
            if not isinstance(piece, Mapping):
                raise AnswerError(f"a call of a tool is not a mapping: {shown(piece)}")
            self._merge(self._new() if are_whole else self._call_of(piece), piece)

    def add_function(self, function: Any) -> None:
        """Add a piece of the one call that older servers have."""
        self.add([{"index": 0, "function": function}])

    def _call_of(self, piece: Mapping[str, Any]) -> dict[str, Any]:
        """The call that a piece belongs to.

        Some servers leave out ``index``, and some give 0 to each call: another ``id`` is another
        call.
        """
        index = piece.get("index")
        is_numbered = isinstance(index, int) and not isinstance(index, bool)
        place = self._at.get(index) if is_numbered else len(self._calls) - 1  # type: ignore[arg-type]
        call = self._calls[place] if place is not None and place >= 0 else None
        if call is None or _begins(call, piece, is_numbered=is_numbered):
            call = self._known(piece.get("id")) or self._new(index if is_numbered else 0)
        if is_numbered:
            self._at[index] = self._calls.index(call)  # type: ignore[index]
        return call

    def _new(self, number: Any = 0) -> dict[str, Any]:
        self._numbers.append(number)
        self._calls.append({"id": None, "type": "function"})
        return self._calls[-1]

    def _known(self, name: Any) -> dict[str, Any] | None:
        found = [call for call in self._calls if name and call["id"] == name]
        return found[0] if found else None

    def _merge(self, call: dict[str, Any], piece: Mapping[str, Any]) -> None:
        for key, value in piece.items():
            if key == "function" or isinstance(value, Mapping):
                call[key] = _function(call.get(key, {}), value)
            elif key != "index" and value not in (None, ""):
                call[key] = value

    def ended(self) -> list[dict[str, Any]]:
        """The calls, with ``name``, and ``args`` as data; None where they are no mapping."""
        order = sorted(range(len(self._calls)), key=self._numbers.__getitem__)
        return [_ended(self._calls[at]) for at in order]


def _begins(call: Mapping[str, Any], piece: Mapping[str, Any], *, is_numbered: bool) -> bool:
    """Return whether a piece begins a new call, against its number or its place."""
    if piece.get("id"):
        return call["id"] not in (None, piece["id"])
    function, known = piece.get("function"), call.get("function", {})
    if not (isinstance(function, Mapping) and function.get("name") and known.get("name")):
        return False
    # A name that is repeated is another call, unless the arguments of this one are not all there.
    return not is_numbered or bool(_args(str(known.get("arguments") or "")))


def _function(known: Mapping[str, Any], piece: Any) -> dict[str, Any]:
    if not isinstance(piece, Mapping):
        raise AnswerError(f"the function of a call is not a mapping: {shown(piece)}")
    found = dict(known)
    for key, value in piece.items():
        before = found.get(key)
        if value is None:
            continue
        if key in ("arguments", "input") and isinstance(value, str):
            found[key] = (before if isinstance(before, str) else "") + value
        elif key == "name" and isinstance(before, str) and value != before:
            found[key] = before + str(value)
        elif value != "" or before is None:
            found[key] = value
    return found


def _ended(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or call.get(str(call["type"])) or {}
    name = function.get("name") if isinstance(function, Mapping) else None
    if "function" not in call:
        return dict(clean({**call, "name": name, "args": None}))
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    text = mended(arguments)
    plain = {**function, "name": name, "arguments": text}
    return dict(clean({**call, "function": plain, "name": name, "args": _args(text)}))


def _args(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return {}
    try:
        found = json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
