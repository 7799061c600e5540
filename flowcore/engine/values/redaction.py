"""REDACT: values of secrets are replaced by ``***`` in texts and in plain data.

In: secrets, what may hold them. Out: the same without them. Not here: which secrets a node has read
(attempts.secrets), what leaves a node (worker.executor, attempts.context, failure).

A secret is found as it is and in the forms that it takes on its way: JSON, ``repr``, HTML, URLs,
hexadecimal, and base64 wherever it lies in what was encoded, as in HTTP's basic authentication. Of
a secret of several lines each line counts. A hash, or a part of a secret, is not found.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from flowcore.run.wire import pack, unpack

__all__ = ["MASK", "SHORTEST", "Redactor", "redactor_of"]

#: What stands in the place of a secret.
MASK = "***"

#: Characters of the shortest secret: less would be found in texts that have nothing to do with it.
SHORTEST = 4

#: Characters of a form, or of a line, that is looked for beside the secret itself.
_LONG_ENOUGH = 8

#: Characters of the longest secret that is looked for in URLs of any spelling.
_LONGEST_URL = 1000

#: Characters at the end of a text that was cut, which may be the beginning of a secret.
_PIECE = 6


class Redactor:
    """Hides some secrets; not changed once it is made."""

    def __init__(self, values: Iterable[str]) -> None:
        """Hide these values, each of at least ``SHORTEST`` characters."""
        self.values = frozenset(values)
        forms = {form for value in self.values for form in _forms(value)}
        # The longest first: of a line and the whole, the whole is to be found.
        self._forms = sorted(forms, key=len, reverse=True)
        spelled = [*map(re.escape, self._forms), *filter(None, map(_in_url, self.values))]
        self._text = re.compile("|".join(spelled))
        self._bytes = re.compile(b"|".join(re.escape(form.encode()) for form in self._forms))

    def text(self, text: str) -> str:
        """Hide the secrets in a text."""
        return self._text.sub(MASK, text)

    def words(self, text: str) -> str:
        """Hide the secrets in words for people, also one that they end in the middle of."""
        hidden = self.text(text)
        held = self._held(hidden)
        return hidden[: len(hidden) - held] + MASK if held >= _PIECE else hidden

    def value(self, value: Any, *, what: str = "value") -> Any:
        """Hide the secrets in a value.

        Args:
            value: Whatever can be packed.
            what: How an error names it.

        Returns:
            Plain data, as its readers get it.

        Raises:
            UnsupportedValueError: It cannot be packed.
        """
        return self._plain(unpack(pack(value, what=what)))

    def split(self, text: str) -> tuple[str, str]:
        """Hide the secrets in a text that is to go on.

        Returns:
            What can be shown, and the end that may be the beginning of a secret.
        """
        after = 0
        for found in self._text.finditer(text):
            after = found.end()
        held = self._held(text[after:])
        shown = text[: len(text) - held]
        return self.text(shown), text[len(shown) :]

    def _held(self, text: str) -> int:
        """The length of the longest end of a text that a secret begins with."""
        return max((_overlap(text[-len(form) + 1 :], form) for form in self._forms), default=0)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self._bytes.sub(MASK.encode(), value)
        if isinstance(value, Mapping):
            return {self._plain(key): self._plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        # A code of digits may have become a number.
        return MASK if not isinstance(value, bool) and str(value) in self.values else value


@lru_cache(maxsize=64)
def redactor_of(values: frozenset[str]) -> Redactor:
    """Return the redactor of some secrets; the attempts of a node share it."""
    return Redactor(values)


def _overlap(end: str, form: str) -> int:
    """The length of the longest end of a text that is the beginning of a form."""
    at = end.find(form[0])
    while at >= 0:
        if form.startswith(end[at:]):
            return len(end) - at
        at = end.find(form[0], at + 1)
    return 0


def _forms(value: str) -> Iterator[str]:
    """The spellings of a secret, and of each of its lines."""
    lines = value.splitlines()
    for text in (value, *(line.strip() for line in lines if len(lines) > 1)):
        least = SHORTEST if text == value else _LONG_ENOUGH
        yield from (form for form in _spelled(text) if len(form) >= least)
        yield from (form for form in _base64(text.encode()) if len(form) >= _LONG_ENOUGH)


def _spelled(text: str) -> set[str]:
    raw = text.encode()
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        repr(raw)[2:-1],
        html.escape(text),
        raw.hex(),
        raw.hex().upper(),
        quote(text, safe=""),
        quote_plus(text),
    }


def _in_url(value: str) -> str | None:
    """A pattern of a secret in a URL, whichever of its characters are encoded there."""
    if len(value) > _LONGEST_URL or quote(value, safe="") == value:
        return None
    return "".join(f"(?:{re.escape(char)}|{_encoded(char)})" for char in value)


def _encoded(char: str) -> str:
    percent = "".join(f"%{byte:02x}" for byte in char.encode())
    return rf"(?i:{percent})|\+" if char == " " else f"(?i:{percent})"


def _base64(raw: bytes) -> Iterator[str]:
    """The part of base64 that depends on nothing but these bytes, at each place they may have."""
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + raw).rstrip(b"=").decode()
        begin = (before * 8 + 5) // 6
        end = (before + len(raw)) * 8 // 6
        yield packed[begin:end]
        yield packed[begin:end].translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")
