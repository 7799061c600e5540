"""Read the names out of a CEL expression, and hold it to its limits.

In: the text of an expression. Out: Scan: which names it reads, and where.
Not here: CEL's grammar and its evaluation (cel), which the parser behind the adapter judges.
The parser reports names without scopes or places; telling ``x`` in ``list.map(x, x + 1)`` from a
node called ``x`` needs both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from flowcore.errors import ExpressionError

__all__ = ["INPUTS", "ExpressionSyntaxError", "Scan", "Token", "is_root", "scan", "tokenize"]

#: The one name in an expression that is not a node's.
INPUTS = "inputs"

MAX_LENGTH = 4096
MAX_DEPTH = 32
#: Loops inside each other: work grows with the power of this number.
MAX_LOOPS = 2

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<string>
        [bB]?(?:"{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}
            |"(?!"")(?:\\.|[^"\\\n])*"|'(?!'')(?:\\.|[^'\\\n])*')
      | (?:[rR][bB]?|[bB][rR])(?:"{3}.*?"{3}|'{3}.*?'{3}|"(?!"")[^"\n]*"|'(?!'')[^'\n]*'))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?
      |[0-9]+[eE][-+]?[0-9]+|[0-9]+[uU]?)
  | (?P<quoted>`[A-Za-z0-9_.\-/\ ]+`)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||[<>=!]=|[-+*/%<>!?:,.()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)

_PLAIN_TEXT = re.compile(r"\"[^\"\\\\]+\"|'[^'\\\\]+'")

LITERALS = frozenset({"true", "false", "null", "in"})
RESERVED = frozenset(
    {
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
        "loop", "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip
TYPES = frozenset(
    {
        "bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string",
        "timestamp", "type", "uint",
    }
)  # fmt: skip
_NOT_ROOTS = LITERALS | RESERVED | TYPES | {"nodes"}
LOOPS = frozenset({"all", "exists", "existsOne", "exists_one", "filter", "map"})
FUNCTIONS = LOOPS | {
    "bool", "bytes", "contains", "double", "duration", "dyn", "endsWith", "getDate",
    "getDayOfMonth",
    "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes",
    "getMonth", "getSeconds", "has", "int", "matches", "size", "startsWith", "string",
    "timestamp", "type", "uint",
}  # fmt: skip


#: What people write who think of Python or JavaScript.
_MEANT = {
    "len": "size(…)", "length": "size(…)", "str": "string(…)", "float": "double(…)",
    "any": "exists(x, …)", "isinstance": "type(…) ==", "includes": "contains(…)",
    "startswith": "startsWith(…)", "endswith": "endsWith(…)", "match": "matches(…)",
}  # fmt: skip


class ExpressionSyntaxError(ExpressionError):
    """An expression cannot be read.

    Attributes:
        reason: What is wrong, without the expression.
        offset: Where, in characters from the start of the text.
    """

    def __init__(self, reason: str, offset: int) -> None:
        """Keep the reason and the place."""
        self.reason, self.offset = reason, offset
        super().__init__(f"{reason} (at character {offset + 1})")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.offset)


class Token(NamedTuple):
    """A word of an expression (a tuple: ten times faster to make than a frozen dataclass)."""

    kind: str
    """``string``, ``number``, ``name``, ``quoted`` (a key in backticks) or ``sign``."""
    text: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Names that an expression reads."""

    roots: Mapping[str, int]
    """Names spelled as they are (``fetch``), each with the offset where it first stands."""
    keyed: Mapping[str, int]
    """Names spelled as keys (``nodes["my-node"]``), likewise."""
    inputs: Mapping[str, int]
    """Inputs read by name (``inputs.url``), likewise."""
    loops: int = 0
    """How many loops stand inside each other at most."""
    builds: bool = False
    """Whether one of them makes a list: ``map`` or ``filter``."""


def tokenize(text: str, start: int = 0) -> tuple[list[Token], int]:
    """Split a text into tokens, up to a ``}}`` that no brace of its own opened.

    Args:
        text: An expression, or a template from the character after ``${{``.
        start: Where to begin.

    Returns:
        The tokens, and the offset of the closing ``}}`` (the end of the text if there is none).

    Raises:
        ExpressionSyntaxError: A character has no meaning in CEL.
    """
    tokens: list[Token] = []
    braces, at = 0, start
    while at < len(text):
        if braces == 0 and text.startswith("}}", at):
            return tokens, at
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionSyntaxError(_stray(text[at]), at)
        kind, word = str(match.lastgroup), match[0]
        if kind != "space":
            tokens.append(Token(kind=kind, text=word, offset=at))
            braces += (word == "{") - (word == "}")
        at = match.end()
    return tokens, at


def is_root(name: str) -> bool:
    """Tell whether a word can only be the name of a node, or ``inputs``."""
    return name not in _NOT_ROOTS


def _stray(char: str) -> str:
    if char in "\"'":
        return f"the text that begins with {char} has no end"
    meant = f" (write {char * 2})" if char in "=&|" else ""
    return f"unexpected character {char!r}{meant}"


def scan(text: str) -> tuple[list[Token], Scan]:
    """Find the names that an expression reads.

    Args:
        text: CEL.

    Returns:
        Its tokens, and the names with their places.

    Raises:
        ExpressionSyntaxError: It exceeds a limit, calls a function that does not exist, or
            computes the name of a node.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"longer than {MAX_LENGTH:,} characters", MAX_LENGTH)
    tokens, end = tokenize(text)
    if end < len(text):
        raise ExpressionSyntaxError("'}}' closes nothing", end)
    if not tokens:
        raise ExpressionSyntaxError("the expression is empty", 0)
    return tokens, _Names(tokens).read()


@dataclass(slots=True, kw_only=True)
class _Found:
    roots: dict[str, int] = field(default_factory=dict)
    keyed: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)


class _Names:
    """Walks the tokens with a stack of open brackets, each with the loop variable it binds."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._open: list[str | None] = []
        self._found = _Found()
        self._loops = 0
        self._builds = False

    def read(self) -> Scan:
        for index, token in enumerate(self._tokens):
            if token.kind == "name":
                self._name(index, token)
            elif token.text in ("(", "[", "{"):
                self._enter(index, token)
            elif token.text in (")", "]", "}") and self._open:
                self._open.pop()
        return Scan(
            roots=self._found.roots,
            keyed=self._found.keyed,
            inputs=self._found.inputs,
            loops=self._loops,
            builds=self._builds,
        )

    def _text(self, index: int) -> str:
        return self._tokens[index].text if 0 <= index < len(self._tokens) else ""

    def _enter(self, index: int, token: Token) -> None:
        self._open.append(self._bound(index) if token.text == "(" else None)
        if len(self._open) > MAX_DEPTH:
            reason = f"nested deeper than {MAX_DEPTH} levels"
            raise ExpressionSyntaxError(reason, token.offset)
        self._loops = max(self._loops, sum(variable is not None for variable in self._open))
        if self._loops > MAX_LOOPS:
            reason = f"more than {MAX_LOOPS} loops inside each other"
            raise ExpressionSyntaxError(reason, token.offset)

    def _bound(self, index: int) -> str | None:
        """The variable of ``.map(x, ...)`` and its like, seen from its bracket."""
        if self._text(index - 1) in LOOPS and self._text(index - 2) == ".":
            self._builds = self._builds or self._text(index - 1) in ("map", "filter")
            return self._text(index + 1)
        return None

    def _name(self, index: int, token: Token) -> None:
        after = self._text(index + 1)
        if token.text == "in" and self._text(index - 1) != ".":
            return  # the operator, whatever bracket opens behind it
        if after == "(":
            self._function(token)
        elif after == "{":
            raise ExpressionSyntaxError("message types are not available", token.offset)
        elif self._text(index - 1) == ".":
            self._field(index, token)
        elif token.text not in LITERALS and token.text not in self._open:
            self._root(index, token, after)

    def _function(self, token: Token) -> None:
        if token.text not in FUNCTIONS:
            meant = _MEANT.get(token.text)
            more = f" (write {meant})" if meant else ""
            raise ExpressionSyntaxError(f"there is no function '{token.text}'{more}", token.offset)

    def _field(self, index: int, token: Token) -> None:
        before = self._tokens[index - 2] if index > 1 else None
        if before is None or not (before.kind != "sign" or before.text in (")", "]", "}")):
            raise ExpressionSyntaxError("a name may not begin with '.'", token.offset - 1)

    def _root(self, index: int, token: Token, after: str) -> None:
        name = token.text
        if name == "nodes":
            self._node(index, token, after)
        elif name in RESERVED:
            hint = f"'{name}' is a word of CEL; write nodes[\"{name}\"] for the node"
            raise ExpressionSyntaxError(hint, token.offset)
        elif name not in TYPES or after in (".", "["):
            self._found.roots.setdefault(name, token.offset)
            if name == INPUTS:
                self._input(index)

    def _input(self, index: int) -> None:
        after, key = self._text(index + 1), self._tokens[index + 2 : index + 3]
        if after == "." and key and key[0].kind == "quoted":
            self._found.inputs.setdefault(key[0].text[1:-1], key[0].offset + 1)
        elif after == "." and key and self._text(index + 3) != "(":
            self._found.inputs.setdefault(key[0].text, key[0].offset)
        elif after == "[" and key and _PLAIN_TEXT.fullmatch(key[0].text):
            self._found.inputs.setdefault(key[0].text[1:-1], key[0].offset + 1)

    def _node(self, index: int, token: Token, after: str) -> None:
        key = self._tokens[index + 2] if index + 2 < len(self._tokens) else token
        if after == "." and key.kind == "name":
            self._found.keyed.setdefault(key.text, key.offset)
        elif after == "[" and key.kind == "string" and self._text(index + 3) == "]":
            self._found.keyed.setdefault(_plain(key), key.offset + 1)
        else:
            reason = "'nodes' takes the name of one node as a text: nodes[\"fetch\"]"
            raise ExpressionSyntaxError(reason, token.offset)


def _plain(token: Token) -> str:
    text = token.text[1:-1]
    if token.text[0] not in "\"'" or "\\" in text or token.text[:3] in ('"""', "'''"):
        raise ExpressionSyntaxError("write the node's name in plain quotes", token.offset)
    return text
