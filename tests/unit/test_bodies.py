"""Bodies of answers: decompressed whole or not at all, and read as text that nothing is lost of."""

import codecs
import encodings.aliases
import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator

import pytest

from flowcore.errors import AnswerError, PayloadTooLargeError
from flowcore.nodes.http.charset import body_of
from flowcore.nodes.http.content_encoding import decoded
from flowcore.nodes.http.retry_after import may_pass, retry_after
from tests.deep import count

WORDS = ["", "a", "é", "日本", "😀", "\n", '"', "\u2028", "{}", "\x00"]


def _pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    while data:
        size = dice.choice([1, 2, 3, 10, 1000, 100_000])
        yield data[:size]
        data = data[size:]


def _bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": lambda data: (
        gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])
    ),
    "deflate": zlib.compress,
    "Deflate": _bare,
    "identity, gzip": gzip.compress,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}


def test_a_body_is_decoded_in_any_pieces_and_never_in_part() -> None:
    dice = random.Random(11)
    for _ in range(count(200, 4000)):
        name = dice.choice(list(PACKERS))
        data = dice.randbytes(dice.randrange(1, 300)) * dice.choice([1, 2, 2000])
        packed = PACKERS[name](data)
        assert b"".join(decoded(_pieces(packed, dice), name, most=10**6)) == data
        cut = packed[: dice.randrange(1, len(packed))]
        if name == "x-gzip" and cut == gzip.compress(data[: len(data) // 2]):
            continue  # the first of two whole members
        with pytest.raises(AnswerError):
            list(decoded(_pieces(cut, dice), name, most=10**6))
        with pytest.raises(PayloadTooLargeError):
            list(decoded(_pieces(packed, dice), name, most=len(data) - 1))


def test_a_damaged_body_is_an_error_or_what_it_was() -> None:
    dice = random.Random(12)
    data = b"".join(dice.randbytes(5) + b"word" for _ in range(100))
    for name in ("gzip", "deflate"):
        packed = PACKERS[name](data)
        for _ in range(count(100, 2000)):
            at = dice.randrange(len(packed))
            broken = packed[:at] + bytes([packed[at] ^ (1 << dice.randrange(8))]) + packed[at + 1 :]
            try:
                assert b"".join(decoded([broken], name, most=10**6)) == data
            except AnswerError:
                continue


def test_text_is_read_in_whatever_charset_it_is_declared_or_stays_bytes() -> None:
    """No charset raises, also none of the several hundred names that Python knows; none loses."""
    dice = random.Random(13)
    names = sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values()})
    names += ["utf8mb4", "none", "x-sjis", "utf-8,gbk", "\x00", "unicode", "1", "idna", "utf-7"]
    for name in names:
        text = "".join(dice.choices(WORDS, k=8))
        for body in (text.encode(), dice.randbytes(20)):
            value, warning = body_of(body, f"text/plain; charset={name}")
            if isinstance(value, bytes):
                assert value == body
                assert warning is not None
            else:
                assert warning is None
                value.encode()
    for name in ("utf-8", "utf-16", "cp1252", "shift_jis", "gb18030", "koi8-r", "iso8859-15"):
        text = {"shift_jis": "日本", "gb18030": "日本", "koi8-r": "мир"}.get(name, "é")
        assert body_of(text.encode(name), f"text/plain; charset={name}") == (text, None)
        assert codecs.lookup(name)


def test_json_is_read_as_it_was_written() -> None:
    dice = random.Random(14)
    for _ in range(count(200, 3000)):
        value = {"".join(dice.choices(WORDS, k=3)): [dice.random(), 2**64 - 1, None, "😀"]}
        packed = json.dumps(value, ensure_ascii=dice.random() < 0.5)
        charset = dice.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
        assert body_of(packed.encode(charset), "application/json") == (value, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9" * 15}, float("9" * 15)),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2037 07:28:30 GMT",
          "date": "Wed, 21 Oct 2037 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2037 07:28:30 GMT",
          "date": "Wed, 21 Oct 2037 07:29:00 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 99 Foo 2037 99:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:30 GMT"}, None),
        ({"retry-after": "²"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_an_answer_asks_to_wait_is_read(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


def test_a_date_without_one_of_the_server_is_held_against_the_clock_here() -> None:
    found = retry_after({"retry-after": "Wed, 21 Oct 2137 07:28:00 GMT"})
    assert found is not None
    assert found > 10**9


def test_statuses_are_told_apart() -> None:
    passing = {status for status in range(100, 600) if may_pass(status)}
    assert passing == {408, 409, 425, 429, *range(500, 600)}
