"""Values of secrets are hidden in whatever form they come, and nothing else is."""

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.engine.values.redaction import MASK, SHORTEST, Redactor
from tests.deep import count

CANARY = 'canary/Qz7+"value"=42&ü'


def _small(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


#: Every way in which a text may leave a node.
FORMS: dict[str, Callable[[str], Any]] = {
    "as it is": lambda text: text,
    "within words": lambda text: f"the token {text} was refused",
    "as a key": lambda text: {text: 1},
    "in lists and maps": lambda text: [{"deep": [text, (text,)]}],
    "bytes": lambda text: b"x" + text.encode() + b"y",
    "JSON": json.dumps,
    "JSON with letters": lambda text: json.dumps([text], ensure_ascii=False),
    "repr": lambda text: repr([text]),
    "repr of bytes": lambda text: repr(text.encode()),
    "URL": lambda text: "https://example.org/?q=" + urllib.parse.quote(text, safe=""),
    "URL path": lambda text: "https://example.org/" + urllib.parse.quote(text),
    "form": lambda text: urllib.parse.urlencode({"q": text}),
    "URL, little of it encoded": lambda text: urllib.parse.quote(text, safe="/=+\"'&"),
    "URL in small letters": lambda text: _small(urllib.parse.quote(text, safe="")),
    "HTML": lambda text: f"<b>{html.escape(text)}</b>",
    "hexadecimal": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic authentication": lambda text: (
        "Basic " + base64.b64encode(f"user:{text}".encode()).decode()
    ),
    "base64 behind one more": lambda text: base64.b64encode(f"us:{text}!".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"a{text}".encode()).decode(),
}


def _has_piece(value: Any, secret: str) -> bool:
    """Whether a value still holds a part of a secret that says something."""
    text = repr(value)
    pieces = {secret[at : at + 6] for at in range(len(secret) - 5)}
    packed = base64.b64encode(secret.encode()).decode().rstrip("=")
    pieces |= {packed[at : at + 8] for at in range(len(packed) - 7)}
    return any(piece in text for piece in pieces)


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_in_every_form(form: str) -> None:
    hidden = Redactor([CANARY]).value(FORMS[form](CANARY))
    assert MASK in repr(hidden)
    assert not _has_piece(hidden, CANARY)


@given(secret=st.text(min_size=8, max_size=60))
@settings(max_examples=count(60, 3000), deadline=None)
@pytest.mark.parametrize("form", FORMS)
def test_any_secret_is_hidden_in_every_form(form: str, secret: str) -> None:
    value = FORMS[form](secret)
    hidden = Redactor([secret]).value(value)
    assert MASK in repr(hidden)
    assert secret not in repr(hidden).replace(MASK, "") or set(secret) == {"*"}


def test_each_line_of_a_secret_of_several_counts() -> None:
    secret = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhk\nabcdefghijklmnop\n-----END KEY-----\n"
    redactor = Redactor([secret])
    assert redactor.text("it says MIIEvQIBADANBgkqhk here") == "it says *** here"
    assert redactor.text(secret) == MASK


def test_a_code_of_digits_is_hidden_as_a_number_too() -> None:
    assert Redactor(["48151623"]).value([48151623, "48151623", 7, True]) == [MASK, MASK, 7, True]


def test_what_is_no_secret_stays_as_it_is() -> None:
    value = {"a": [1, 2.5, None, True, "text", b"bytes"], "canary": "Qz7"}
    assert Redactor([CANARY]).value(value) == value


def test_words_that_were_cut_within_a_secret_do_not_show_its_beginning() -> None:
    assert Redactor([CANARY]).words(f"answered: {CANARY[:9]}") == "answered: ***"
    assert Redactor([CANARY]).words("answered: can") == "answered: can"


@given(
    secret=st.text(alphabet="abcAB01+/=", min_size=SHORTEST, max_size=12),
    before=st.text(alphabet="abcAB01+/= ", max_size=20),
    after=st.text(alphabet="abcAB01+/= ", max_size=20),
    cuts=st.lists(st.integers(0, 60), max_size=12),
)
@settings(max_examples=count(300, 20_000), deadline=None)
def test_a_secret_is_hidden_that_comes_in_pieces(
    secret: str, before: str, after: str, cuts: list[int]
) -> None:
    redactor = Redactor([secret])
    whole = before + secret + after
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    said, held = "", ""
    for piece in pieces:
        shown, held = redactor.split(held + piece)
        said += shown
    said += redactor.text(held)
    assert secret not in said
    assert said.replace(MASK, "") == "".join(
        char for char in said.replace(MASK, "") if char in whole
    )


def test_text_that_looks_like_no_secret_is_not_held_back() -> None:
    assert Redactor([CANARY]).split("plain words.") == ("plain words.", "")
