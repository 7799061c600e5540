"""The parts of an expression: which operator, function or key stands where, and what it is of.

In: the tokens of an expression that CEL's own parser has accepted. Out: a tree of parts.
Not here: what they mean; it serves to say where an expression went wrong.
Precedence and grammar after the CEL language definition, https://github.com/google/cel-spec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flowcore.expr.scan import LITERALS, LOOPS, Token

__all__ = ["Part", "parse"]

Kind = Literal[
    "value", "name", "list", "map", "field", "index", "call", "loop", "prefix", "infix", "choice"
]

_BINDING = {
    **dict.fromkeys(("||",), 1),
    **dict.fromkeys(("&&",), 2),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_END = Token("sign", "", -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An expression inside an expression."""

    kind: Kind
    word: str
    """The operator, function, key, name or literal."""
    at: int
    """Where the word stands: characters from the start of the text."""
    start: int
    end: int
    parts: tuple["Part", ...] = ()
    """Operands, arguments (that of a method before them), members."""
    variable: str = ""
    """Of a loop: what its body calls a member; the list or map is the first part."""


def parse(tokens: Sequence[Token]) -> Part:
    """Take an expression apart.

    Raises:
        ValueError: It is no CEL that this knows.
        RecursionError: It is as deep as nobody writes it.
    """
    reader = _Reader(tokens)
    part = reader.choice()
    reader.take("")
    return part


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._index = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._index] if self._index < len(self._tokens) else _END

    @property
    def _stop(self) -> int:
        """Where the token before this one ends."""
        last = self._tokens[self._index - 1]
        return last.offset + len(last.text)

    def take(self, text: str | None = None) -> Token:
        token = self._next
        if text is not None and (token.text != text or token.kind == "string"):
            raise ValueError(f"expected {text!r}, got {token.text!r}")
        self._index += 1
        return token

    def _is(self, *signs: str) -> bool:
        return self._next.text in signs and self._next.kind != "string"

    def choice(self) -> Part:
        """``a ? b : c``, or less."""
        first = self._infix(1)
        if not self._is("?"):
            return first
        mark = self.take()
        then = self.choice()
        self.take(":")
        other = self.choice()
        return Part(
            kind="choice",
            word="?",
            at=mark.offset,
            start=first.start,
            end=other.end,
            parts=(first, then, other),
        )

    def _infix(self, weakest: int) -> Part:
        left = self._prefix()
        while self._is(*_BINDING) and _BINDING[self._next.text] >= weakest:
            operator = self.take()
            right = self._infix(_BINDING[operator.text] + 1)
            left = Part(
                kind="infix",
                word=operator.text,
                at=operator.offset,
                start=left.start,
                end=right.end,
                parts=(left, right),
            )
        return left

    def _prefix(self) -> Part:
        if not self._is("!", "-"):
            return self._member()
        sign = self.take()
        of = self._prefix()
        return self._made("prefix", sign, (of,))

    def _member(self) -> Part:
        part = self._primary()
        while self._is(".", "["):
            part = self._selected(part) if self._is(".") else self._indexed(part)
        return part

    def _selected(self, of: Part) -> Part:
        self.take(".")
        word = self.take()
        if self._is("("):
            return self._call(word, of)
        return Part(
            kind="field",
            word=word.text,
            at=word.offset,
            start=of.start,
            end=self._stop,
            parts=(of,),
        )

    def _indexed(self, of: Part) -> Part:
        bracket = self.take("[")
        key = self.choice()
        self.take("]")
        return Part(
            kind="index",
            word="[]",
            at=bracket.offset,
            start=of.start,
            end=self._stop,
            parts=(of, key),
        )

    def _call(self, word: Token, of: Part | None) -> Part:
        self.take("(")
        given = tuple(self._until(")"))
        is_loop = of is not None and word.text in LOOPS and given and given[0].kind == "name"
        return Part(
            kind="loop" if is_loop else "call",
            word=word.text,
            at=word.offset,
            start=of.start if of is not None else word.offset,
            end=self._stop,
            parts=(*([of] if of is not None else []), *(given[1:] if is_loop else given)),
            variable=given[0].word if is_loop else "",
        )

    def _primary(self) -> Part:
        token = self.take()
        if token.kind in {"string", "number"} or token.text in LITERALS:
            return self._made("value", token)
        if token.kind == "name":
            return self._call(token, None) if self._is("(") else self._made("name", token)
        if token.text == "(":
            inner = self.choice()
            self.take(")")
            return replace(inner, start=token.offset, end=self._stop)
        if token.text == "[":
            return self._made("list", token, tuple(self._until("]")))
        if token.text == "{":
            return self._made("map", token, tuple(self._until("}")))
        raise ValueError(f"unexpected {token.text!r}")

    def _made(self, kind: Kind, token: Token, parts: tuple[Part, ...] = ()) -> Part:
        return Part(
            kind=kind,
            word=token.text,
            at=token.offset,
            start=token.offset,
            end=self._stop,
            parts=parts,
        )

    def _until(self, close: str) -> Iterator[Part]:
        while not self._is(close):
            yield self.choice()
            if not self._is(close):
                self.take(":" if self._is(":") else ",")
        self.take(close)
