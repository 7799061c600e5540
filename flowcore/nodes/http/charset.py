"""Bytes of a web server as text, or as the value of its JSON.

In: the body of an answer and its content type. Out: text, a value, or the bytes themselves, and a
word where the answer could not be read as it says it is. Not here: requests (types.http).

What a server says of its text is often wrong. In this order: a byte order mark; the charset that is
declared, if Python has it and the bytes fit; what an HTML or XML document says of itself; UTF-8.
Nothing is replaced: bytes that fit none of these stay bytes.
"""

import codecs
import json
import re
from typing import Any

from flowcore.errors import AnswerError

__all__ = ["body_of", "whole_number"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: Codecs of text that are not for the web: what one gives depends on the machine, or is code.
_ODD = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7", "mbcs",
     "oem", "cp65001"}
)  # fmt: skip

_DECLARED = re.compile(r";\s*charset\s*=\s*[\"']?([^\s\"';,]{1,60})", re.IGNORECASE)
_IN_HTML = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,60})", re.IGNORECASE)
_IN_XML = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,60})[\"']")
_HEAD = 1024

_TEXT = re.compile(
    r"text/.+|message/.+|.+\+(?:xml|yaml|text|ndjson)"
    r"|application/(?:(?:x-)?(?:xml|yaml|yml|toml|ndjson|jsonl|jsonlines|json-lines|javascript"
    r"|ecmascript|typescript|csv|sh|tex|latex|perl|python|ruby|php|httpd-php|www-form-urlencoded"
    r"|pem-file|sql|graphql|subrip|mpegurl)|json-seq|json5|xml-dtd|xml-external-parsed-entity"
    r"|sparql-query|rtf|node|wasm-text|vnd\.apple\.mpegurl|pgp-signature|http|jwt)"
)
_JSON = re.compile(r"application/(?:x-)?json|text/(?:x-)?json|.+\+json")

#: Whole numbers that are values (docs/reference/values.md).
_LEAST, _MOST = -(2**63), 2**64 - 1
_MOST_DIGITS = 20

_SHOWN = 200

_NO_TEXT = "the JSON is in no charset that is known: given as bytes"


def body_of(body: bytes, content_type: str) -> tuple[Any, str | None]:
    """Read a body as what it says it is.

    Args:
        body: The bytes.
        content_type: The header's text, empty if there is none.

    Returns:
        The value of JSON, text, or bytes; and a sentence where that is not what was declared.

    Raises:
        AnswerError: It says that it is JSON, and is not.
    """
    kind = _kind(content_type)
    declared = _DECLARED.search(content_type)
    charset = declared[1] if declared else None
    if _JSON.fullmatch(kind):
        return _json(body, charset, kind)
    if kind and charset is None and not _TEXT.fullmatch(kind):
        return body, None
    text = _text(body, charset, kind)
    if text is not None:
        return text, None
    if not kind:
        return body, None
    named = f"declared as {charset!r}" if charset else "without a charset"
    return body, f"the text is {named}, and is neither that nor UTF-8: given as bytes"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _text(body: bytes, charset: str | None, kind: str) -> str | None:
    for mark, name in _MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], name)
    for named in (charset, _own_charset(body, kind), "utf-8"):
        found = _decoded(body, named) if named and _is_known(named) else None
        if found is not None:
            return found
    return None


def _own_charset(body: bytes, kind: str) -> str | None:
    found = _IN_XML.search(body[:_HEAD]) if "xml" in kind else None
    if found is None and "html" in kind:
        found = _IN_HTML.search(body[:_HEAD])
    name = found[1].decode("ascii", "replace").lower() if found else None
    # A document that says so in ASCII is no UTF-16, whatever it says.
    return None if name and name.startswith(("utf-16", "utf-32", "utf16", "utf32")) else name


def _is_known(name: str) -> bool:
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return found.name.replace("_", "-") not in _ODD


def _decoded(body: bytes, name: str) -> str | None:
    try:
        return body.decode(name)
    except (UnicodeError, LookupError):  # LookupError: a codec of something else than text
        return None


def _json(body: bytes, charset: str | None, kind: str) -> tuple[Any, str | None]:
    if not body.strip():
        return None, None
    text = _text(body, charset or _wide(body), kind)
    try:
        return _value(text) if text is not None else (body, _NO_TEXT)
    except ValueError:
        start = body[:_SHOWN].decode("utf-8", "replace")
        raise AnswerError(f"the answer says it is {kind}, but is not JSON: {start!r}") from None


def _value(text: str) -> tuple[Any, str | None]:
    found = _Reading()
    try:
        value = json.loads(text, parse_int=found.whole)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return text, "the JSON has half of a surrogate pair, which is not text: given as it came"
    except RecursionError:
        return text, "the JSON is too deep for a value: given as it came"
    return value, found.word


def _wide(body: bytes) -> str | None:
    """The charset of JSON without a mark, which begins with ASCII."""
    found = json.detect_encoding(body)
    return found if found.startswith(("utf-16-", "utf-32-")) else None


def whole_number(digits: str) -> int | str:
    """Read a whole number of JSON; one that is larger than a value can be stays text."""
    if len(digits) <= _MOST_DIGITS and _LEAST <= int(digits) <= _MOST:
        return int(digits)
    return digits


class _Reading:
    """Reads whole numbers, and remembers whether one was too large."""

    word: str | None = None

    def whole(self, digits: str) -> int | str:
        found = whole_number(digits)
        if isinstance(found, str):
            self.word = "whole numbers of more than 64 bits are given as text"
        return found
