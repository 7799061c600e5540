"""Recall by meaning: exact search over the vectors of a thread."""

import importlib
from typing import Any

import pytest

from flowcore.engine.memory.embeddings import floats_of, packed_vector
from flowcore.engine.memory.thread import MemoryRules, ThreadMemory
from flowcore.errors import UsageError
from flowcore.nodes.types.memory import memory
from flowcore.stores.inmemory.memory import InMemoryMemory

HERE = "tests.unit.test_recall"
WORDS = ("cat", "dog", "sea", "ship")


def embed(text: str) -> list[float]:
    """How often each word is in a text."""
    return [float(text.count(word)) for word in WORDS]


async def embed_later(text: str) -> list[float]:
    return embed(text)


def odd(text: str) -> Any:
    odd_ones = {"nan": [float("nan")], "empty": [], "words": ["a"], "deep": [[1.0]]} | {
        "digits": ["1", "0"],
        "uneven": [[1.0], [1.0, 2.0]],
    }
    return odd_ones[text]


def thread(store: InMemoryMemory | None = None, **rules: Any) -> ThreadMemory:
    given = {"type": "vector", "embed": f"{HERE}:embed", **rules}
    return ThreadMemory(
        store=store or InMemoryMemory(), rules=MemoryRules(**given), space="s", id="t"
    )


def said(found: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in found]


@pytest.mark.parametrize("how", ["embed", "embed_later"])
def test_the_nearest_come_first_with_their_scores(how: str) -> None:
    it = thread(embed=f"{HERE}:{how}")
    for text in ("a cat", "a ship at sea", "a dog and a cat", "nothing"):
        it.add("user", text)
    found = it.recall("cat", 2)
    assert said(found) == ["a cat", "a dog and a cat"]
    assert [message["score"] for message in found] == pytest.approx([1.0, 0.5**0.5])
    assert found[0].keys() == {"id", "time", "role", "content", "score"}
    assert said(it.recall("ship and sea", min_score=0.9)) == ["a ship at sea"]
    assert it.recall("horse", min_score=0.1) == []
    assert said(it.recall([0, 1, 0, 0], 1)) == ["a dog and a cat"]


def test_of_two_that_are_equally_near_the_newer_comes_first() -> None:
    it = thread()
    for text in ("cat 1", "cat 2", "cat 3"):
        it.add("user", text)
    assert said(it.recall("cat", 2)) == ["cat 3", "cat 2"]


def test_vectors_are_not_shown_and_go_with_their_messages() -> None:
    it = thread(max_messages=2)
    for text in ("cat", "dog", "sea"):
        it.add("user", text)
    assert [message.keys() for message in it.messages()] == [{"id", "time", "role", "content"}] * 2
    assert said(it.recall("cat", 9)) == ["sea", "dog"]
    it.clear()
    assert it.recall("cat") == []


def test_messages_without_a_vector_are_passed_over() -> None:
    store = InMemoryMemory()
    thread(store, type="conversation", embed=None).add("user", "an old cat")
    it = thread(store)
    it.add("user", "a new cat")
    it.extend([{"role": "user", "content": "mine", "vector": [0, 0, 1, 0]}])
    assert said(it.recall("cat")) == ["a new cat", "mine"]
    assert said(it.recall("sea", 1)) == ["mine"]
    assert len(it.messages()) == 3


def test_what_is_no_text_is_embedded_as_json() -> None:
    it = thread()
    it.add("user", {"animal": "dog"})
    assert it.recall("dog")[0]["score"] == pytest.approx(1.0)


def test_vectors_of_another_length_are_passed_over_unless_there_are_no_others() -> None:
    it = thread()
    it.add("user", "cat")
    with pytest.raises(UsageError, match="vectors have 4 numbers, and the query's 2"):
        it.recall([1, 0])
    it.add("user", "odd one", vector=[1, 0])
    assert said(it.recall("cat")) == ["cat"], "one odd vector spoils nothing"
    assert said(it.recall([1, 0])) == ["odd one"]


def test_where_nothing_is_embedded_a_vector_is_a_field_like_any_other() -> None:
    store = InMemoryMemory()
    plain = thread(store, type="conversation", embed=None)
    plain.add("user", "x", vector="v1")
    plain.add("user", "y", vector=[1, 2])
    assert [message["vector"] for message in plain.messages()] == ["v1", [1, 2]]
    assert thread(store).recall("cat") == []


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30, 1e300])
def test_scores_do_not_depend_on_the_length_of_vectors(scale: float) -> None:
    it = thread()
    it.add("user", "x", vector=[scale, scale, 0, 0])
    assert it.recall([scale, 0, 0, 0])[0]["score"] == pytest.approx(0.5**0.5, abs=1e-6)


@pytest.mark.parametrize("text", ["nan", "empty", "words", "deep", "digits", "uneven"])
def test_what_is_no_vector_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="which is not a list of"):
        thread(embed=f"{HERE}:odd").add("user", text)
    with pytest.raises(UsageError, match="'vector' is"):
        thread().add("user", "x", vector=odd(text))


def test_recall_needs_a_function_and_a_number() -> None:
    plain = thread(type="conversation", embed=None)
    with pytest.raises(UsageError, match="recall needs 'embed'"):
        plain.recall("cat")
    for score in ("0.5", float("nan"), 2, True):
        with pytest.raises(UsageError, match="'min_score' is a number"):
            thread().recall("cat", min_score=score)  # type: ignore[arg-type]
    for k in (0, True, "3"):
        with pytest.raises(UsageError, match="'k' is a number of messages"):
            thread().recall("cat", k)  # type: ignore[arg-type]


def test_without_numpy_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'flowcore\[vectors\]'"):
        packed_vector([1.0], whose="x")


def test_a_vector_is_kept_as_little_endian_32_bit_floats() -> None:
    packed = packed_vector([0, -2.5], whose="x")
    assert packed == b"\x00\x00\x00\x00\x00\x00\x80\xbf"
    assert floats_of(packed) == [0.0, -1.0]
    assert floats_of(packed_vector([0, 0], whose="x")) == [0.0, 0.0]


def test_the_node_type_recalls() -> None:
    class User:
        memory = thread()

    user = User()
    memory(user, op="append", content="a cat")
    found = memory(user, op="recall", query="cat", k=1)
    assert said(found) == ["a cat"]
    with pytest.raises(UsageError, match="memory 'recall' needs 'query'"):
        memory(user, op="recall")
