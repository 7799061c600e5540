"""References to secrets in expressions: ``secrets.NAME``.

In: the text of an expression, a tree of values with expressions. Out: the names of the secrets they
read. Not here: their values (ports.secrets), which places may read them (check.rules.secrets).

A name is written out, as ``secrets.NAME`` or ``secrets["my-name"]``: a name that is worked out
while a run goes on could be any.
"""

import re
from collections.abc import Iterator, Mapping

from flowcore.expr.scan import Token, tokenize
from flowcore.expr.template import OPEN, compile_text
from flowcore.types import Json

__all__ = ["NAME", "SECRETS", "SecretNameError", "secret_names", "secrets_in"]

#: The name in expressions under which secrets stand.
SECRETS = "secrets"

#: A secret's name: also the name of a file, so nothing that leads to another directory.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}(?:\.[A-Za-z0-9_-]{1,100}){0,9}")

_FORM = "write secrets.NAME, a name of letters, digits and _"


class SecretNameError(ValueError):
    """An expression reads secrets otherwise than by a name that is written out."""

    def __init__(self, reason: str, offset: int) -> None:
        """Keep what is wrong, and the offset in the expression."""
        super().__init__(f"{reason}; {_FORM}")
        self.reason, self.offset, self.hint = reason, offset, _FORM


def secret_names(text: str) -> Iterator[tuple[str, int]]:
    """Yield the secrets that an expression reads, each with its offset.

    Args:
        text: An expression that can be read.

    Raises:
        SecretNameError: It reads ``secrets`` whole, or a name that is not written out.
    """
    tokens, _ = tokenize(text)
    for at, token in enumerate(tokens):
        is_field = at > 0 and tokens[at - 1].text == "."
        is_key = tokens[at + 1].text == ":" if at + 1 < len(tokens) and not is_field else False
        if token.kind == "name" and token.text == SECRETS and not is_field and not is_key:
            yield _name(tokens[at + 1 : at + 4], token.offset), token.offset


def secrets_in(value: Json) -> frozenset[str]:
    """Return the names of all secrets that the expressions in a tree of values read.

    Raises:
        SecretNameError: One of them reads ``secrets`` otherwise than by name.
    """
    return frozenset(_in(value))


def _in(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield from _in_text(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _in(item)


def _in_text(text: str) -> Iterator[str]:
    if OPEN not in text or SECRETS not in text:
        return
    for _, expression in compile_text(text).expressions:
        if SECRETS in expression.names:
            yield from (name for name, _ in secret_names(expression.text))


def _name(after: list[Token], offset: int) -> str:
    """Read the name after ``secrets``."""
    words = [token.text for token in after]
    if len(words) > 1 and words[0] == "." and after[1].kind == "name":
        name = words[1]
    elif words[:1] == ["["] and words[2:] == ["]"] and _is_plain_text(after[1]):
        name = words[1][1:-1]
    else:
        what = "'secrets' alone is not a value" if not words else "a secret's name is written out"
        raise SecretNameError(what, offset)
    if not NAME.fullmatch(name):
        raise SecretNameError(f"{name[:60]!r} cannot be the name of a secret", offset)
    return name


def _is_plain_text(token: Token) -> bool:
    return token.kind == "string" and token.text[0] in "\"'" and "\\" not in token.text
