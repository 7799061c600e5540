"""The parts of an expression: which operator, function or key stands where, and what it is of.

In: the tokens of an expression. Out: a tree of parts, or what is wrong with them. Not here: what
the parts mean (evaluation), which names they read (scan).
Precedence and grammar after the CEL language definition, https://github.com/google/cel-spec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flowcore.expr.scan import (
    LITERALS,
    LOOPS,
    MAX_DEPTH,
    RESERVED,
    ExpressionSyntaxError,
    Token,
)

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
#: Brackets and choices inside each other; brackets alone are bounded by scan.
_DEEPEST = 2 * MAX_DEPTH
_MEANT = {"and": "&&", "or": "||", "not": "!", "is": "==", "if": "a ? b : c"}
_TOO_EARLY = "the expression ends too early"


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
        ExpressionSyntaxError: It is no CEL.
    """
    reader = _Reader(tokens)
    try:
        part = reader.choice()
    except RecursionError:
        raise _too_deep(tokens[0]) from None
    reader.close()
    return part


def _too_deep(token: Token) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(f"nested deeper than {MAX_DEPTH} levels", token.offset)


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0
        last = tokens[-1]
        self._end = Token("sign", "", last.offset + len(last.text))

    @property
    def _next(self) -> Token:
        return self._tokens[self._index] if self._index < len(self._tokens) else self._end

    @property
    def _stop(self) -> int:
        """End of the token before this one."""
        last = self._tokens[self._index - 1]
        return last.offset + len(last.text)

    def take(self, text: str | None = None) -> Token:
        token = self._next
        if text is not None and (token.text != text or token.kind == "string"):
            raise self._unexpected()
        self._index += 1
        return token

    def close(self) -> None:
        """Expect nothing more."""
        if self._index < len(self._tokens):
            raise self._unexpected()

    def _unexpected(self) -> ExpressionSyntaxError:
        token = self._next
        reason = f"unexpected {token.text!r}" if token.text else _TOO_EARLY
        near = (self._tokens[self._index - 1].text if self._index else "", token.text)
        meant = next((_MEANT[word] for word in near if word in _MEANT), None)
        if meant is not None:
            reason += f" (write {meant})"
        return ExpressionSyntaxError(reason, token.offset)

    def _is(self, *signs: str) -> bool:
        return self._next.text in signs and self._next.kind != "string"

    def choice(self) -> Part:
        """``a ? b : c``, or less."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _too_deep(self._next)
        chosen: list[tuple[Token, Part, Part]] = []
        last = self._infix(1)
        while self._is("?"):  # `a ? b : c ? d : e` is a list of choices, however long
            mark = self.take()
            then = self.choice()
            self.take(":")
            chosen.append((mark, last, then))
            last = self._infix(1)
        for mark, first, then in reversed(chosen):
            last = Part(
                kind="choice",
                word="?",
                at=mark.offset,
                start=first.start,
                end=last.end,
                parts=(first, then, last),
            )
        self._depth -= 1
        return last

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
        signs = []
        while self._is("!", "-"):
            signs.append(self.take())
        of = self._member()
        for sign in reversed(signs):
            of = self._made("prefix", sign, (of,))
        return of

    def _member(self) -> Part:
        part = self._primary()
        while self._is(".", "["):
            part = self._selected(part) if self._is(".") else self._indexed(part)
        return part

    def _selected(self, of: Part) -> Part:
        self.take(".")
        if self._next.kind == "quoted":
            key = self.take()
            found = self._made("field", key, (of,))
            return replace(found, word=key.text[1:-1], at=key.offset + 1, start=of.start)
        if self._next.kind != "name":
            raise self._unexpected()
        if self._next.text in LITERALS:
            hint = (
                f"'{self._next.text}' is a word of CEL; write [\"{self._next.text}\"] for the key"
            )
            raise ExpressionSyntaxError(hint, self._next.offset)
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
        given = tuple(self._until(")", trailing=False))
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
        if not self._next.text or self._next.text in {"in", *RESERVED}:
            raise self._unexpected()
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
            return self._made("map", token, tuple(self._pairs()))
        self._index -= 1
        raise self._unexpected()

    def _made(self, kind: Kind, token: Token, parts: tuple[Part, ...] = ()) -> Part:
        return Part(
            kind=kind,
            word=token.text,
            at=token.offset,
            start=token.offset,
            end=self._stop,
            parts=parts,
        )

    def _until(self, close: str, *, trailing: bool = True) -> Iterator[Part]:
        """Yield the items between commas; a comma may follow the last one."""
        while not self._is(close):
            yield self.choice()
            if not self._is(close):
                self.take(",")
                if self._is(close) and not trailing:
                    raise self._unexpected()
        self.take(close)

    def _pairs(self) -> Iterator[Part]:
        while not self._is("}"):
            yield self.choice()
            self.take(":")
            yield self.choice()
            if not self._is("}"):
                self.take(",")
        self.take("}")
