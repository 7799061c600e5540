# ruff: noqa: RUF001  (texts of many scripts are what this is about)
"""Tokens: guessed within the error that the docs say, counted by a tokenizer or by a function."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flowcore.engine.memory.thread import MemoryRules, ThreadMemory
from flowcore.engine.memory.tokens import _encoding, approximate_tokens, counted, guess
from flowcore.errors import UsageError
from flowcore.stores.inmemory.memory import InMemoryMemory

HERE = "tests.unit.test_tokens"

#: Texts, and their tokens as tiktoken counts them by cl100k_base and by o200k_base.
TEXTS = (
    (
        "English",
        ("The quick brown fox jumps over the lazy dog while the committee "
        "discusses the international agreement on environmental protection. "
        "Nobody expected such a result, but everyone was happy in the end."),
        34,
        34,
    ),
    (
        "chat",
        ("Hi! Could you tell me where my order #48213 is? I've been waiting for "
        "2 weeks now :("),
        24,
        23,
    ),
    (
        "Python",
        ("def total(items: list[int]) -> int:\n    result = 0\n    for item in "
        "items:\n        if item > 0:\n            result += item\n    return "
        "result\n"),
        38,
        38,
    ),
    (
        "JSON",
        ('{"id": "order-17", "lines": [{"sku": "A-100", "count": 2, "price": '
        '19.99}, {"sku": "B-7", "count": 1, "price": 5}], "paid": true}'),
        58,
        58,
    ),
    (
        "HTML",
        ('<div class="card" id="x12"><p>Hello <b>world</b></p><a '
        'href="/a/b?c=1">more</a></div>'),
        37,
        37,
    ),
    (
        "base64",
        ("OLTmUuRNp/I3DZ4mDicTZVCko6bQf1wMMy+LEiQIP9IrkC+JEegYGPjJnV1dmDGVdQTZDp"
        "Rd4uj1TueBzHX2NthQmQlaowAWWmcDb5tUDWuPC+IRJBecPTgX"),
        85,
        79,
    ),
    (
        "hex",
        ("ce6e118d264aad6cb6dd210faf94acd3cf92c190237cb11f5d108cf25930263938b370"
        "a1b5769fa0f1483f95a90d9df2f130d60fcf04bd93f50ae695"),
        65,
        65,
    ),
    ("digits", "3141592653589793238462643383279502884197", 14, 14),
    ("blanks", "a        b\n\n\n        c        d\n", 9, 9),
    ("Chinese",
     "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
     50, 35),
    ("Japanese",
     "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
     45, 35),
    ("Korean", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", 41, 24),
    ("Russian", "Все люди рождаются свободными и равными в своем достоинстве и правах.", 35, 17),
    ("Arabic", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.", 35, 17),
    ("Hebrew", "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.", 56, 20),
    (
        "Hindi",
        ("सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और "
        "समानता प्राप्त है।"),
        84,
        25,
    ),
    ("Thai", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ", 65, 32),
    ("German", "Alle Menschen sind frei und gleich an Würde und Rechten geboren.", 16, 14),
    ("French", "Tous les êtres humains naissent libres et égaux en dignité et en droits.", 22, 17),
    ("emoji", "😀🎉🚀👍🔥😂🙏🥳🌍🌈", 28, 15),
    (
        "random letters",
        ("mbhbrejnerdsjrvfdssugldrwcsbtgpvrnykosoljhzfwyhcsjqpkxojtcdqnfykepnbvc"
        "yrszkkwltp"),
        43,
        43,
    ),
)  # fmt: skip


def _error(text: str, real: int) -> float:
    return guess(text) / real - 1


@pytest.mark.parametrize(("kind", "text", "one", "other"), TEXTS, ids=[row[0] for row in TEXTS])
def test_the_guess_is_within_the_error_that_the_docs_say(
    kind: str, text: str, one: int, other: int
) -> None:
    if kind == "random letters":
        assert -0.75 < _error(text, one) < 0
    elif text.isascii() or kind in {"German", "French"}:
        assert -0.25 <= _error(text, one) <= 0.4
        assert -0.25 <= _error(text, other) <= 0.4
    else:  # the two tokenizers are up to three times apart
        assert guess(text) >= 0.6 * max(one, other)
        assert guess(text) <= 2.3 * min(one, other)


def test_the_guess_grows_with_the_text() -> None:
    for _, text, _, _ in TEXTS:
        assert guess(text) <= guess(text + "x") <= guess(text) + 1
        assert abs(guess(text * 10) - 10 * guess(text)) <= 15
    assert guess("") == 0
    assert guess("\ud800") >= 1


@pytest.mark.parametrize(
    ("message", "least", "most"),
    [
        ({"role": "user", "content": ""}, 4, 4),
        ({"role": "user"}, 4, 4),
        ({"content": "four words of text"}, 8, 9),
        ({"content": ["four words", "of text"]}, 8, 9),
        ({"content": [{"type": "text", "text": "four words of text"}]}, 8, 9),
        ({"content": {"a": 1}}, 8, 10),
        ({"content": 7}, 5, 5),
        ({"content": [{"type": "image_url", "image_url": {"url": "x" * 10**6}}]}, 1004, 1004),
        ({"content": [{"inline_data": {"data": "x" * 10**6}}, None, [1]]}, 1005, 1010),
        ({"content": [{"type": ["odd"], "text": 3}]}, 8, 20),
        ({"content": None, "tool_calls": [{"id": "1", "function": {"name": "weather"}}]}, 14, 30),
        ({"content": None, "tool_calls": "odd", "name": 7}, 6, 7),
    ],
    ids=range(12),
)  # fmt: skip
def test_messages_of_all_shapes_are_guessed(
    message: Mapping[str, Any], least: int, most: int
) -> None:
    assert least <= approximate_tokens(message) <= most


def thread(**rules: Any) -> ThreadMemory:
    return ThreadMemory(
        store=InMemoryMemory(), rules=MemoryRules(type="tokens", **rules), space="s", id="t"
    )


def _shown(char: str, **rules: Any) -> int:
    it = thread(max_tokens=100, **rules)
    for _ in range(5):
        it.add("user", char * 100)
    return len(it.messages())


def test_fewer_messages_of_chinese_and_of_emoji_fit_than_of_letters() -> None:
    assert (_shown("a"), _shown("漢"), _shown("😀")) == (4, 1, 1)


def odd(message: Mapping[str, Any]) -> Any:
    return message["content"]


@pytest.mark.parametrize("given", [None, "3", float("nan"), -1, True, [1]])
def test_a_counter_that_gives_no_number_is_named(given: Any) -> None:
    it = thread(max_tokens=5, counter=f"{HERE}:odd")
    it.add("user", 2)
    it.add("user", given)
    with pytest.raises(UsageError, match=r"test_tokens:odd gave .* instead of a number of tokens"):
        it.messages()


@pytest.fixture
def bytes_tokenizer(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tokenizer of tiktoken's whose vocabulary is all bytes: none has to be fetched."""
    tiktoken: Any = importlib.import_module("tiktoken")
    registry: Any = importlib.import_module("tiktoken.registry")

    def made() -> dict[str, Any]:
        ranks = {bytes([byte]): byte for byte in range(256)}
        return {
            "name": "of_bytes",
            "pat_str": r"\S+|\s+",
            "mergeable_ranks": ranks,
            "special_tokens": {"<|endoftext|>": 256},
        }

    tiktoken.list_encoding_names()
    monkeypatch.setitem(registry.ENCODING_CONSTRUCTORS, "of_bytes", made)
    _encoding.cache_clear()
    yield "of_bytes"
    _encoding.cache_clear()


def test_a_tokenizer_counts_what_a_message_says(bytes_tokenizer: str) -> None:
    count = counted(None, bytes_tokenizer)
    assert count({"content": "abc"}) == 3 + 4
    assert count({"content": "漢 <|endoftext|>"}) == 3 + 1 + 13 + 4, "no word is special"
    assert count({"content": "\ud800"}) > 4
    assert count({"content": "x" * 120_000, "name": "bob"}) == 120_000 + 3 + 4
    assert count({"content": [{"type": "image"}]}) == 1004
    assert _shown("a", tokenizer=bytes_tokenizer) == 1
    assert _shown("a", tokenizer=bytes_tokenizer, counter=f"{HERE}:two") == 5


def two(message: Mapping[str, Any]) -> int:
    return 2


def test_a_tokenizer_that_is_not_there_is_named_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _encoding.cache_clear()
    it = thread(max_tokens=5, tokenizer="klingon")
    it.add("user", "x")
    with pytest.raises(UsageError, match=r"knows no tokenizer 'klingon'; it knows .*o200k_base"):
        it.messages()

    tiktoken: Any = importlib.import_module("tiktoken")

    def away(name: str) -> Any:
        raise ConnectionError(name)

    monkeypatch.setattr(tiktoken, "get_encoding", away)
    it.rules = MemoryRules(type="tokens", max_tokens=5, tokenizer="o200k_base")
    with pytest.raises(UsageError, match=r"'o200k_base' is not there .* TIKTOKEN_CACHE_DIR"):
        it.messages()
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(UsageError, match=r"needs tiktoken: pip install 'flowcore\[tokens\]'"):
        it.messages()
    _encoding.cache_clear()
