"""An answer is put together alike, whether it came as a whole or in any pieces."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from flowcore.errors import AnswerError
from flowcore.nodes.llm.answer import Answer
from flowcore.nodes.llm.events import Reader
from tests.deep import count
from tests.misbehaving_models import chunk, event, events, plain_answer

WORDS = ["a", "é", "日本", "😀", "\n", '"', "\\", "\u2028", " ", "{", "]"]


def _split(text: str, dice: random.Random) -> list[str]:
    """Cut a text anywhere, also in the middle of a surrogate pair."""
    units = text.encode("utf-16-le", "surrogatepass")
    pieces = []
    while units:
        size = 2 * dice.randrange(1, 6)
        pieces.append(units[:size].decode("utf-16-le", "surrogatepass"))
        units = units[size:]
    return pieces


def _text(dice: random.Random) -> str:
    return "".join(dice.choices(WORDS, k=dice.randrange(12)))


def _message(dice: random.Random) -> dict[str, Any]:
    calls = [
        {
            "id": f"c{at}",
            "type": "function",
            "function": {"name": dice.choice("fgh"), "arguments": json.dumps({"x": _text(dice)})},
        }
        for at in range(dice.randrange(4))
    ]
    said = {"content": _text(dice), "reasoning_content": _text(dice), "refusal": _text(dice)}
    return {**said, "tool_calls": calls}


def _deltas(message: dict[str, Any], dice: random.Random) -> list[dict[str, Any]]:
    """A message in pieces, those of each part in order, and the parts among each other."""
    queues: list[list[dict[str, Any]]] = [
        [{key: piece} for piece in _split(message[key], dice)]
        for key in ("content", "reasoning_content", "refusal")
    ]
    for at, call in enumerate(message["tool_calls"]):
        function = call["function"]
        first = {**call, "index": at, "function": {"name": function["name"], "arguments": ""}}
        rest = [
            {"index": at, "function": {"arguments": piece}}
            for piece in _split(function["arguments"], dice)
        ]
        queues.append([{"tool_calls": [piece]} for piece in (first, *rest)])
    found = []
    while any(queues):
        found.append(dice.choice([queue for queue in queues if queue]).pop(0))
    return found


def _pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    while data:
        size = dice.choice([1, 2, 5, 40, 1000])
        yield data[:size]
        data = data[size:]


def _read(data: bytes, dice: random.Random) -> tuple[dict[str, Any], str]:
    reader, answer = Reader(), Answer()
    seen = [answer.add(document) for document in reader.read(_pieces(data, dice))]
    seen.append(answer.end(ended=reader.ended))
    return answer.plain(), "".join(seen)


def test_an_answer_in_pieces_is_the_whole_one() -> None:
    dice = random.Random(21)
    for _ in range(count(200, 4000)):
        messages = [_message(dice) for _ in range(dice.randrange(1, 3))]
        whole = plain_answer(messages[0], "stop")
        whole["choices"] += [
            {"index": at, "message": message, "finish_reason": "stop"}
            for at, message in enumerate(messages[1:], 1)
        ]
        queues = [
            [*(chunk(delta, index=at) for delta in _deltas(one, dice)), chunk({}, "stop", at)]
            for at, one in enumerate(messages)
        ]
        chunks = []
        while any(queues):
            chunks.append(dice.choice([queue for queue in queues if queue]).pop(0))
        ascii_events = [f"data: {json.dumps(one)}\n\n".encode() for one in chunks]
        streamed, seen = _read(events(*ascii_events), dice)
        expected, _ = _read(json.dumps(whole, ensure_ascii=dice.random() < 0.5).encode(), dice)
        assert streamed == expected
        assert seen == (streamed["text"] or "") == messages[0]["content"]
        names = [call["name"] for call in streamed["tool_calls"]]
        assert names == [call["function"]["name"] for call in messages[0]["tool_calls"]]
        with pytest.raises(AnswerError):
            _read(b"".join(ascii_events[: dice.randrange(len(ascii_events))]), dice)


def test_bytes_of_a_character_may_come_in_any_events() -> None:
    dice = random.Random(22)
    for _ in range(count(200, 4000)):
        text = _text(dice).replace('"', "").replace("\\", "").replace("\n", "") + "😀"
        data, parts = text.encode(), []
        while data:
            size = dice.randrange(1, 4)
            parts.append(event(chunk({"content": "@"})).replace(b"@", data[:size]))
            data = data[size:]
        said, seen = _read(events(*parts, chunk({}, "stop")), dice)
        assert said["text"] == seen == text
