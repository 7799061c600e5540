"""Numbers and texts as an expression spells them.

In: one token. Out: its value. Not here: where tokens end (scan). Escapes after the CEL language
definition.
"""

import math
import re

from flowcore.expr.scan import ExpressionSyntaxError, Token
from flowcore.expr.values import INT, UINT, Uint

__all__ = ["literal"]

_WORDS = {"true": True, "false": False, "null": None}
_LONGEST = 40
_ESCAPE = re.compile(
    r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.|\n|$))",
    re.DOTALL,
)
_SHORT = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_SURROGATES = range(0xD800, 0xE000)
_LAST_CHARACTER = 0x10FFFF


def literal(token: Token, *, negative: bool = False) -> object:
    """The value of a literal.

    Args:
        token: A number, a text or a word.
        negative: Whether a minus stands before the number.

    Raises:
        ExpressionSyntaxError: A number is too large, or an escape means nothing.
    """
    if token.kind == "string":
        return _text(token)
    return _number(token, negative=negative) if token.kind == "number" else _WORDS[token.text]


def _number(token: Token, *, negative: bool) -> object:
    text = token.text.lower()
    sign = -1 if negative else 1
    is_hex = text.startswith("0x")
    if not is_hex and ("." in text or "e" in text):
        value = sign * float(text)
        if math.isinf(value):
            raise ExpressionSyntaxError("the number is too large", token.offset)
        return value
    digits = text.removesuffix("u").removeprefix("0x").lstrip("0") or "0"
    number = sign * int(digits, 16 if is_hex else 10) if len(digits) < _LONGEST else 2**70
    unsigned = text.endswith("u")
    low, high = UINT if unsigned else INT
    if not low <= number <= high:
        kind = "without a sign, of 64 bits" if unsigned else "of 64 bits"
        raise ExpressionSyntaxError(f"a whole number {kind} cannot be as large", token.offset)
    return Uint(number) if unsigned else number


def _text(token: Token) -> object:
    prefix = token.text[: len(token.text) - len(token.text.lstrip("rRbB"))].lower()
    body = token.text[len(prefix) :]
    quotes = 3 if body[:3] in ('"""', "'''") else 1
    body = body[quotes:-quotes]
    if "b" not in prefix:
        return body if "r" in prefix else _ESCAPE.sub(lambda m: _character(m, token), body)
    if "r" in prefix:
        return body.encode()
    parts, at = [], 0
    for match in _ESCAPE.finditer(body):
        parts += [body[at : match.start()].encode(), _byte(match, token)]
        at = match.end()
    return b"".join([*parts, body[at:].encode()])


def _character(match: re.Match[str], token: Token) -> str:
    if match[5] is not None:
        return _short(match, token)
    code = int(match[4], 8) if match[4] else int(match[1] or match[2] or match[3], 16)
    if code in _SURROGATES or code > _LAST_CHARACTER:
        raise _wrong(match, token)
    return chr(code)


def _byte(match: re.Match[str], token: Token) -> bytes:
    if match[5] is not None:
        return _short(match, token).encode()
    if match[2] or match[3]:
        raise _wrong(match, token)
    return bytes([int(match[4], 8) if match[4] else int(match[1], 16)])


def _short(match: re.Match[str], token: Token) -> str:
    if match[5] not in _SHORT:
        raise _wrong(match, token)
    return _SHORT[match[5]]


def _wrong(match: re.Match[str], token: Token) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(f"{match[0]!r} is not a character of a text", token.offset)
