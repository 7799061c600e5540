"""A conversation is cut so that a model takes what is left, under every kind of memory."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from flowcore.engine.memory import thread as memory_module
from flowcore.engine.memory.thread import MemoryRules, ThreadMemory
from flowcore.engine.memory.trimming import boundaries, newest, without_orphans
from flowcore.stores.inmemory.memory import InMemoryMemory
from tests.deep import count

HERE = "tests.unit.test_trimming"
KINDS: Mapping[str, Mapping[str, Any]] = {
    "conversation": {"type": "conversation"},
    "conversation, trimmed": {"type": "conversation", "max_messages": 6},
    "one message": {"type": "conversation", "max_messages": 1},
    "window": {"type": "window", "max_messages": 5},
    "tokens": {"type": "tokens", "max_tokens": 40},
    "tokens, too few": {"type": "tokens", "max_tokens": 1},
    "tokens, counted": {"type": "tokens", "max_tokens": 9, "counter": f"{HERE}:two"},
    "vector": {"type": "vector", "max_messages": 4, "embed": f"{HERE}:embed"},
    "summary": {"type": "summary", "summarise_after": 4, "summariser": f"{HERE}:texts"},
    "summary, down": {"type": "summary", "summarise_after": 4, "summariser": f"{HERE}:down"},
}


def two(message: Mapping[str, Any]) -> int:
    return 2


def embed(text: str) -> list[float]:
    return [1.0, float(len(text))]


def texts(messages: Sequence[Mapping[str, Any]], summary: str | None) -> str:
    return (summary or "") + "".join(f"[{message['mark']}]" for message in messages)


def down(messages: Sequence[Mapping[str, Any]], summary: str | None) -> str:
    raise RuntimeError("model down")


def thread(rules: Mapping[str, Any]) -> ThreadMemory:
    return ThreadMemory(store=InMemoryMemory(), rules=MemoryRules(**rules), space="s", id="t")


def _openai(rng: random.Random, ids: Sequence[str]) -> list[dict[str, Any]]:
    calls = [{"id": id, "type": "function", "function": {"name": "f"}} for id in ids]
    said = rng.choice([None, "", "let me see"])
    results = [{"role": "tool", "content": "sunny", "tool_call_id": id} for id in ids]
    rng.shuffle(results)
    return [{"role": "assistant", "content": said, "tool_calls": calls}, *results]


def _parts(rng: random.Random, ids: Sequence[str]) -> list[dict[str, Any]]:
    calls = [{"type": "tool_use", "id": id, "name": "f", "input": {}} for id in ids]
    results = [{"type": "tool_result", "tool_use_id": id, "content": "sunny"} for id in ids]
    rng.shuffle(results)
    said: list[dict[str, Any]] = [
        {"role": "assistant", "content": [{"type": "text", "text": "let me see"}, *calls]}
    ]
    return said + [{"role": "user", "content": [result]} for result in results]


def _items(rng: random.Random, ids: Sequence[str]) -> list[dict[str, Any]]:
    call = {"role": "assistant", "content": None, "type": "function_call"}
    result = {"role": "tool", "content": "x", "type": "function_call_output"}
    calls = [{**call, "call_id": id} for id in ids]
    results = [{**result, "call_id": id} for id in ids]
    rng.shuffle(results)
    return [*calls, *results]


SHAPES: tuple[Callable[[random.Random, Sequence[str]], list[dict[str, Any]]], ...] = (
    _openai,
    _parts,
    _items,
)


def conversation(rng: random.Random) -> list[dict[str, Any]]:
    """System messages, turns of several shapes, and perhaps a call that is not answered yet."""
    said: list[dict[str, Any]] = [
        {"role": rng.choice(["system", "developer"]), "content": "be kind"}
        for _ in range(rng.choice([0, 1, 1, 1, 3]))
    ]
    for turn in range(rng.randint(1, 12)):
        ids = [f"c{turn}.{at}" for at in range(rng.randint(1, 4))]
        if rng.random() < 0.2:
            ids = [f"call_{at}" for at in range(len(ids))]  # as some models name them, again
        said.append({"role": "user", "content": rng.choice(["hello", "漢字" * 9, ["part", 1], {}])})
        if rng.random() < 0.6:
            said += rng.choice(SHAPES)(rng, ids)
        if rng.random() < 0.7:
            said.append({"role": "assistant", "content": "it is sunny", "name": "bot"})
        if rng.random() < 0.1:
            said.append({"role": "system", "content": "a word in between"})
    if rng.random() < 0.3:
        said += _openai(rng, ["z1", "z2", "z3"])[: rng.randint(1, 3)]
    return [{**message, "mark": at} for at, message in enumerate(said)]


def _halves(message: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The oracle's own reading: which calls a message makes, and which it answers."""
    calls = {call["id"] for call in message.get("tool_calls", ())}
    answers = {message["tool_call_id"]} if "tool_call_id" in message else set()
    if message.get("type") == "function_call":
        calls.add(message["call_id"])
    if message.get("type") == "function_call_output":
        answers.add(message["call_id"])
    for part in message["content"] if isinstance(message["content"], list) else ():
        if isinstance(part, dict):
            calls |= {part["id"]} if part["type"] == "tool_use" else set()
            answers |= {part["tool_use_id"]} if part["type"] == "tool_result" else set()
    return calls, answers


def _pairs(said: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Pairs of a call and a result of it, by their marks."""
    at: dict[str, int] = {}
    found = []
    for message in said:
        calls, answers = _halves(message)
        found += [(at[id], message["mark"]) for id in answers]
        at |= dict.fromkeys(calls, message["mark"])
    return found


def _check(said: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> None:
    marks = {message["mark"] for message in shown if "mark" in message}
    for call, result in _pairs(said):
        assert (call in marks) == (result in marks), (call, result, sorted(marks))
    leading = 0
    while leading < len(said) and said[leading]["role"] in {"system", "developer"}:
        leading += 1
    assert [m["mark"] for m in shown[:leading]] == list(range(leading)), "system stays, in front"
    assert said[-1]["mark"] in marks, "what was said last is there"
    rest = sorted(mark for mark in marks if mark >= leading)
    assert rest == list(range(len(said) - len(rest), len(said))), "nothing is missing between"


@pytest.mark.deep
@pytest.mark.parametrize("kind", KINDS)
def test_no_half_of_a_tool_call_is_shown_and_system_stays(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(count(12, 1000)):
        rng = random.Random(seed)
        monkeypatch.setattr(memory_module, "_SLACK", rng.choice([0, 2, 100]))
        said, it = conversation(rng), thread(KINDS[kind])
        at = 0
        while at < len(said):
            size = rng.randint(1, 3)
            it.extend(said[at : at + size])
            at += size
            whole = all(call in {m["mark"] for m in said[:at]} for call, _ in _pairs(said[:at]))
            assert whole
            _check(said[:at], it.messages())
            _check(said[:at], it.messages(last=rng.randint(1, 6)))
        if kind == "summary, down":
            assert [m["mark"] for m in it.messages()] == list(range(len(said))), "nothing is lost"
        if kind == "summary":
            shown = it.messages()
            summed = "".join(m["content"] for m in shown if "id" not in m)
            kept = [m["mark"] for m in shown if "id" in m]
            gone = [mark for mark in range(len(said)) if mark not in kept]
            assert summed == "".join(f"[{mark}]" for mark in gone), "each message once"


def _talk(it: ThreadMemory) -> list[str]:
    call = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}
    it.add("system", "be kind")
    it.add("user", "weather?")
    it.add("assistant", None, tool_calls=[call])
    it.add("tool", "sunny", tool_call_id="c1")
    it.add("assistant", "It is sunny")
    return [message["role"] for message in it.messages()]


def s(messages: Sequence[Mapping[str, Any]], summary: str | None) -> str:
    return "S"


def test_a_history_is_one_that_a_model_takes() -> None:
    cut = ["system", "assistant"]
    assert _talk(thread({"type": "window", "max_messages": 2})) == cut
    assert _talk(thread({"type": "conversation", "max_messages": 2})) == cut
    counted = {"type": "tokens", "max_tokens": 5, "counter": f"{HERE}:two"}
    assert _talk(thread(counted)) == cut
    rules = {"type": "summary", "summarise_after": 3, "summariser": f"{HERE}:s"}
    it = thread(rules)
    assert _talk(it) == ["system", "system", "assistant"]
    assert [m["content"] for m in it.messages()][:2] == ["be kind", "S"]


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_a_bound_below_one_pair_or_below_system_shows_system_and_the_newest_block(
    most: int,
) -> None:
    said: list[Mapping[str, Any]] = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]},
        {"role": "tool", "content": "d", "tool_call_id": "2"},
    ]
    assert newest(said, most, pinned=2) == [*said[:2], *said[3:]]
    assert newest(said[:2], most, pinned=2) == said[:2]
    assert newest([], most) == []


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": None},
        {"role": "tool", "content": "x", "tool_call_id": 7},
        {"role": "function", "name": "f", "content": ""},
        {"role": "assistant", "tool_calls": None, "content": None},
        {"role": "assistant", "tool_calls": {"id": "1"}, "content": 3},
        {"role": "assistant", "tool_calls": [None, "x", {"id": None}, []], "content": [[], None]},
        {"role": "assistant", "function_call": {"name": "f"}, "content": None},
        {"role": "ASSISTANT ", "content": {"type": "tool_use"}},
        {"role": "", "content": [{"functionCall": {"name": "f"}}, {"toolUse": {"toolUseId": "1"}}]},
        {"content": [{"toolResult": {"toolUseId": "1"}}, {"type": "tool_result"}, {"type": []}]},
    ],
)
def test_messages_of_all_shapes_are_cut_without_an_error(message: dict[str, Any]) -> None:
    said: list[Mapping[str, Any]] = [{"role": "user"}, message, {**message}, {"role": "user"}]
    assert boundaries(said)[0] == 0
    assert newest(said, 1)[-1] is said[-1]
    assert without_orphans(said)[-1] is said[-1]
    it = thread({"type": "window", "max_messages": 2})
    it.extend([{"content": "", **one} for one in said])
    assert len(it.messages()) >= 1


def test_a_result_without_a_name_stays_with_what_was_said_before_it() -> None:
    said: list[Mapping[str, Any]] = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "calling"},
        {"role": "tool", "content": "a"},
        {"role": "tool", "content": "b", "id": 4},
    ]
    assert boundaries(said) == [0, 1]
    assert newest(said, 1) == said[1:]


def test_the_result_of_a_call_that_is_forgotten_is_not_shown() -> None:
    it = thread({"type": "conversation", "max_messages": 2})
    it.add("system", "be kind")
    it.add("assistant", [{"type": "tool_use", "id": "a", "name": "f"}])
    for number in range(150):
        it.add("user", str(number))
    it.add("tool", "late", tool_call_id="a")
    parts = [{"type": "tool_result", "tool_use_id": "a"}, {"type": "text", "text": "and?"}]
    it.add("user", parts)
    assert [m["content"] for m in it.messages()] == ["be kind", parts[1:]]


def test_a_block_larger_than_all_bounds_is_kept_whole() -> None:
    it = thread({"type": "conversation", "max_messages": 2})
    ids = [f"c{at}" for at in range(300)]
    it.add("assistant", None, tool_calls=[{"id": id} for id in ids])
    for id in ids:
        it.add("tool", "x", tool_call_id=id)
    assert len(it.messages()) == 301
    it.add("user", "thanks")
    it.add("user", "bye")
    assert [m["content"] for m in it.messages()] == ["thanks", "bye"]
    assert len(it.store.read(it.name).entries) == 2


def test_a_thread_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "LARGEST_THREAD", 10_000)
    it = thread({"type": "window", "max_messages": 5})
    it.add("system", "be kind")
    for number in range(100):
        it.add("user", f"{number}" + "x" * 1000)
    kept = it.store.read(it.name)
    assert 8_000 < sum(len(entry.packed) for entry in kept.entries) < 14_000
    assert it.messages()[0]["content"] == "be kind"
    assert len(it.messages()) == 5


def test_what_is_forgotten_is_forgotten_in_portions() -> None:
    it = thread({"type": "conversation", "max_messages": 1000})
    for number in range(2600):
        it.add("user", number)
    assert 1000 <= len(it.store.read(it.name).entries) <= 1250
    assert [m["content"] for m in it.messages()] == list(range(1600, 2600))
