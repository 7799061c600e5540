"""What the kinds of memory keep and show, and what they refuse."""

from typing import Any

import pytest

from flowcore.engine.memory.thread import LARGEST, MemoryRules, ThreadMemory
from flowcore.errors import PayloadTooLargeError, UsageError
from flowcore.nodes.types.memory import memory
from flowcore.stores.inmemory.memory import InMemoryMemory

HERE = "tests.unit.test_memory"


def summarise(messages: list[dict[str, Any]], summary: str | None) -> str:
    return (summary or "") + "".join(message["content"] for message in messages)


async def summarise_later(messages: list[dict[str, Any]], summary: str | None) -> str:
    return summarise(messages, summary)


def letters(message: dict[str, Any]) -> int:
    return len(message["content"])


def thread(writer: str = "", **rules: Any) -> ThreadMemory:
    return ThreadMemory(
        store=InMemoryMemory(), rules=MemoryRules(**rules), space="s", id="t", writer=writer
    )


def contents(it: ThreadMemory, last: int | None = None) -> list[Any]:
    return [message["content"] for message in it.messages(last)]


def fill(it: ThreadMemory, words: str) -> ThreadMemory:
    for letter in words:
        it.add("user", letter)
    return it


def test_a_conversation_keeps_its_newest_messages() -> None:
    it = fill(thread(max_messages=3), "abcde")
    assert contents(it) == ["c", "d", "e"]
    assert contents(it, 2) == ["d", "e"]
    assert contents(it, 0) == []
    assert [message["id"] for message in it.messages()] == [3, 4, 5]


def test_a_window_shows_the_newest_and_keeps_the_others() -> None:
    it = fill(thread(type="window", max_messages=2), "abcde")
    assert contents(it) == ["d", "e"]
    assert len(it.store.read("s/t").entries) == 5


@pytest.mark.parametrize(("most", "shown"), [(5, "cde"), (6, "bcde"), (0, "e"), (99, "abcde")])
def test_a_token_bounded_memory_shows_what_fits(most: int, shown: str) -> None:
    it = thread(type="tokens", max_tokens=most, counter=f"{HERE}:letters")
    for word in ("a", "b", "c", "dd", "ee"):
        it.add("user", word)
    assert "".join(word[0] for word in contents(it)) == shown


@pytest.mark.parametrize("how", ["summarise", "summarise_later"])
def test_the_older_half_becomes_a_summary(how: str) -> None:
    it = thread(type="summary", summarise_after=4, summariser=f"{HERE}:{how}")
    fill(it, "abcd")
    assert contents(it) == ["a", "b", "c", "d"]
    fill(it, "e")
    assert contents(it) == ["abc", "d", "e"]
    assert it.messages()[0] == {"role": "system", "content": "abc"}
    fill(it, "fgh")
    assert contents(it) == ["abcdef", "g", "h"]
    assert contents(it, 1) == ["abcdef", "h"]


def test_what_an_attempt_has_added_its_next_attempt_adds_no_more() -> None:
    first = thread("run.node")
    first.add("user", "a")
    again = ThreadMemory(store=first.store, rules=first.rules, space="s", id="t", writer="run.node")
    fill(again, "ab")
    assert contents(again) == ["a", "b"]


def test_facts_have_names_and_times() -> None:
    it = thread()
    it.set("plan", {"tier": "gold"}, ttl="1h")
    assert it.get("plan") == {"tier": "gold"}
    assert it.get("none", 7) == 7
    it.delete("plan")
    assert it.facts() == {}
    assert it.thread("other").name == "s/other"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda it: it.messages(-1), None),
        (lambda it: it.messages("x"), "'last' is a number"),
        (lambda it: it.extend(["a"]), "a message is a map with 'role' and 'content'"),
        (lambda it: it.extend([{"role": "user"}]), "a message is a map"),
        (lambda it: it.extend([{"role": 3, "content": "x"}]), "role is text, got 3"),
        (lambda it: it.set(3, 1), "a fact's name is text"),
        (lambda it: it.set("a", 1, ttl="soon"), "'ttl' is a time such as 90s"),
        (lambda it: it.thread(""), "a thread's name is text of up to 500"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Any, words: str | None) -> None:
    if words is None:
        assert call(thread()) == []
        return
    with pytest.raises(UsageError, match=words):
        call(thread())


def test_a_message_has_a_largest_size() -> None:
    with pytest.raises(PayloadTooLargeError, match=r"a message of thread 's/t' is 1,048,"):
        thread().add("user", "x" * LARGEST)


class User:
    def __init__(self) -> None:
        self.memory = thread()


def test_the_node_type_does_what_its_operation_says() -> None:
    user = User()
    assert memory(user, op="append", content="hello", name="alice") == 1
    assert memory(user, op="extend", messages=[{"role": "assistant", "content": "hi"}]) == 2
    said = memory(user)
    assert [(m["role"], m["content"]) for m in said] == [("user", "hello"), ("assistant", "hi")]
    assert said[0]["name"] == "alice"
    assert memory(user, last=1)[0]["content"] == "hi"
    assert memory(user, op="set", name="tier", value="gold") == "gold"
    assert memory(user, op="get", name="tier") == "gold"
    assert memory(user, op="get", name="none", default=3) == 3
    assert memory(user, op="facts") == {"tier": "gold"}
    assert memory(user, op="facts", thread="other") == {}
    assert memory(user, op="delete", name="tier") is None
    assert memory(user, op="clear") is True
    assert memory(user) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"op": "forget"}, "'op' of memory: must be one of read, append, .*, got text 'forget'"),
        ({"op": "append"}, "memory 'append' needs 'content'"),
        (
            {"op": "read", "first": 3},
            r"memory 'read' takes no 'first' \(it takes op, thread, last\)",
        ),
        ({"op": "clear", "all": True}, "memory 'clear' takes no 'all'"),
    ],
)
def test_the_node_type_refuses_what_it_does_not_know(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        memory(User(), **given)
