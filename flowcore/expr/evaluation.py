"""Turn the parts of an expression into what works it out.

In: a tree of parts. Out: a function of a frame (names, variables of loops, budget). Not here: the
grammar (tree), single operations (steps, arithmetic, functions), loops over members (loops), the
form of results (results).

A part that cannot be worked out raises ``MisfitError``. Long chains, such as ``a + b + c`` or
``a.b.c``, are worked out one after the other and not inside each other, so that none is too deep
for Python.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flowcore.errors import ExpressionError
from flowcore.expr.arithmetic import ENTRY, LIST, MAP, MEMBER
from flowcore.expr.frame import Frame, Loop, MisfitError, Run, Scope, Step, at_place, fails
from flowcore.expr.functions import TYPES
from flowcore.expr.literals import literal
from flowcore.expr.paths import select, short
from flowcore.expr.scan import LITERALS, ExpressionSyntaxError, Token
from flowcore.expr.steps import (
    call,
    chained,
    decide,
    function_of,
    invert,
    negate,
    operate,
    read,
    take,
    take_at,
)
from flowcore.expr.tree import Part
from flowcore.expr.values import type_name

__all__ = ["evaluator"]


def evaluator(part: Part, scope: Scope, loop: Loop) -> Run:
    """Make what works out a part.

    Args:
        part: The part.
        scope: Variables of the loops around it.
        loop: Makes the steps of loops.

    Raises:
        ExpressionSyntaxError: A function is called as there is none.
    """
    return _Compiler(loop).of(part, scope)


class _Compiler:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def of(self, part: Part, scope: Scope) -> Run:
        made: Mapping[str, Callable[[Part, Scope], Run]] = {
            "value": self._value,
            "name": self._name,
            "list": self._list,
            "map": self._map,
            "prefix": self._prefix,
            "infix": self._infix,
            "choice": self._choice,
        }
        return made.get(part.kind, self._chain)(part, scope)

    def _value(self, part: Part, _: Scope) -> Run:
        value = literal(_token(part))
        return lambda _: value

    def _name(self, part: Part, scope: Scope) -> Run:
        name = part.word
        if name in scope:
            place = scope[name]
            return lambda frame: frame.variables[place]
        if name in TYPES:
            kind = TYPES[name]
            return lambda _: kind
        return read(name, part.at)

    # ── lists and maps ──────────────────────────────────────────────────────────────────────────

    def _list(self, part: Part, scope: Scope) -> Run:
        items = [self.of(one, scope) for one in part.parts]
        size = LIST + MEMBER * len(items)

        def run(frame: Frame) -> Any:
            frame.budget.make(size)
            return [item(frame) for item in items]

        return run

    def _map(self, part: Part, scope: Scope) -> Run:
        runs = [self.of(one, scope) for one in part.parts]
        entries = list(zip(runs[::2], runs[1::2], part.parts[::2], strict=True))
        size = MAP + ENTRY * len(entries)

        def run(frame: Frame) -> Any:
            frame.budget.make(size)
            made: dict[Any, Any] = {}
            for key_of, value_of, place in entries:
                key = key_of(frame)
                if not isinstance(key, str | int):
                    words = f"a key is a text, a whole number or a bool, not a {type_name(key)}"
                    raise MisfitError(words, place.start)
                if key in made:
                    raise MisfitError(f"there are two keys {short(key)}", place.start)
                made[key] = value_of(frame)
            return made

        return run

    # ── operators ───────────────────────────────────────────────────────────────────────────────

    def _prefix(self, part: Part, scope: Scope) -> Run:
        signs: list[Part] = []
        while part.kind == "prefix":
            signs.append(part)
            part = part.parts[0]
        if signs[-1].word == "-" and part.kind == "value" and part.word[0] in ".0123456789":
            value = literal(_token(part), negative=True)
            signs.pop()
            of: Run = lambda _: value  # noqa: E731  (a run, as those of all parts)
        else:
            of = self.of(part, scope)
        steps = [invert(sign) if sign.word == "!" else negate(sign) for sign in reversed(signs)]
        return chained(of, steps) if steps else of

    def _infix(self, part: Part, scope: Scope) -> Run:
        if part.word in {"&&", "||"}:
            terms: list[Part] = []
            word, first = part.word, part
            while part.kind == "infix" and part.word == word:
                terms.append(part.parts[1])
                part = part.parts[0]
            terms.append(part)
            return decide(first, [(self.of(one, scope), one) for one in reversed(terms)])
        chain: list[Part] = []
        while part.kind == "infix" and part.word not in {"&&", "||"}:
            chain.append(part)
            part = part.parts[0]
        of = self.of(part, scope)
        return chained(of, [operate(one, self.of(one.parts[1], scope)) for one in reversed(chain)])

    def _choice(self, part: Part, scope: Scope) -> Run:
        chosen: list[tuple[Run, Run, Part]] = []
        while part.kind == "choice":
            asked, then, other = part.parts
            chosen.append((self.of(asked, scope), self.of(then, scope), part))
            part = other
        last = self.of(part, scope)

        def run(frame: Frame) -> Any:
            for asked, then, place in chosen:
                found = asked(frame)
                if found is True:
                    return then(frame)
                if found is not False:
                    raise fails(place, found)
            return last(frame)

        return run

    # ── fields, indexes, calls ──────────────────────────────────────────────────────────────────

    def _chain(self, part: Part, scope: Scope) -> Run:
        """``a.b[c].size().map(…)``: from the left to the right."""
        chain: list[Part] = []
        while part.kind in {"field", "index", "loop"} or (part.kind == "call" and _of_value(part)):
            chain.append(part)
            part = part.parts[0]
        chain.reverse()
        of: Run
        if part.kind == "name" and part.word not in scope and chain:
            of, chain = self._read(part, chain)
        elif part.kind == "call":
            of = self._call(part, scope)
        else:
            of = self.of(part, scope)
        steps = [self._step(one, scope) for one in chain]
        return chained(of, steps) if steps else of

    def _read(self, name: Part, chain: list[Part]) -> tuple[Run, list[Part]]:
        """A name that something is taken of: a node's, whatever types are called."""
        if name.word != "nodes":
            return read(name.word, name.at), chain
        node = chain[0]
        id = node.word if node.kind == "field" else str(literal(_token(node.parts[1])))
        return read(id, name.at, keyed=True), chain[1:]

    def _step(self, part: Part, scope: Scope) -> Step:
        if part.kind == "field":
            return take(part)
        if part.kind == "loop":
            return self._loop(part, scope)
        rest = [self.of(one, scope) for one in part.parts[1:]]
        if part.kind == "index":
            return take_at(part, rest[0])
        return call(part, function_of(part, len(part.parts), method=True), rest)

    def _call(self, part: Part, scope: Scope) -> Run:
        if part.word == "has":
            return self._has(part, scope)
        function = function_of(part, len(part.parts), method=False)
        first, *rest = (self.of(one, scope) for one in part.parts)
        return chained(first, [call(part, function, rest)])

    def _has(self, part: Part, scope: Scope) -> Run:
        if len(part.parts) != 1 or part.parts[0].kind != "field":
            raise ExpressionSyntaxError("has() asks for a key: has(a.b)", part.at)
        field = part.parts[0]
        of = self._owner(field, scope)

        def run(frame: Frame) -> Any:
            value = of(frame)
            if isinstance(value, Mapping):
                return field.word in value
            try:
                select(value, field.word)
            except ExpressionError as error:
                raise at_place(field, error) from None
            return True

        return run

    def _owner(self, field: Part, scope: Scope) -> Run:
        """Return the owner of a field: ``a`` of ``a.b``."""
        owner = field.parts[0]
        if owner.kind != "name" or owner.word in scope:
            return self.of(owner, scope)
        if owner.word == "nodes":
            return lambda frame: frame.context.get("nodes", frame.context)
        return read(owner.word, owner.at)


def _token(part: Part) -> Token:
    kind = "name" if part.word in LITERALS else "number"
    if part.word[-1] in "\"'":
        kind = "string"
    return Token(kind, part.word, part.at)


def _of_value(part: Part) -> bool:
    """Return whether a call is a method of the value before its point."""
    return part.start < part.at
