"""Loops of expressions: ``all``, ``exists``, ``exists_one``, ``filter`` and ``map``.

In: a loop with its body. Out: a step that goes over the members of a list, or the keys of a map in
the order in which they were written. Not here: other parts (evaluation).

Each turn takes as many steps from the budget as the body has parts, so loops inside each other, or
one after the other, come to an end together.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from flowcore.expr.arithmetic import LIST, MEMBER
from flowcore.expr.evaluation import evaluator
from flowcore.expr.frame import Frame, MisfitError, Run, Scope, Step
from flowcore.expr.scan import ExpressionSyntaxError
from flowcore.expr.steps import first_deciding
from flowcore.expr.tree import Part
from flowcore.expr.values import type_name

__all__ = ["compile_tree"]


def compile_tree(part: Part) -> tuple[Run, int]:
    """Make what works out an expression.

    Returns:
        It, and how many variables of loops it has to have room for.

    Raises:
        ExpressionSyntaxError: A function or a loop is called as there is none.
    """
    depth = 0

    def loop(one: Part, scope: Scope) -> Step:
        nonlocal depth
        place = len(set(scope.values()))
        depth = max(depth, place + 1)
        wanted = (2, 3) if one.word == "map" else (2,)
        if len(one.parts) not in wanted:
            words = f"{one.word}() takes the name of a member and an expression"
            raise ExpressionSyntaxError(words, one.at)
        inner = {**scope, one.variable: place}
        bodies = [evaluator(body, inner, loop) for body in one.parts[1:]]
        # What is decided of a member that cannot be worked out is known at the end.
        return _KINDS[one.word](one, place, bodies)

    return evaluator(part, {}, loop), depth


def _weight(part: Part) -> int:
    """The steps of one turn: the parts of the body, but for those of loops in it."""
    count, open_ = 1, list(part.parts[1:])
    while open_:
        one = open_.pop()
        count += 1
        open_ += one.parts[:1] if one.kind == "loop" else one.parts
    return count


def _members(part: Part, of: object) -> Collection[Any]:
    if isinstance(of, Mapping) or (isinstance(of, Sequence) and not isinstance(of, str | bytes)):
        return of
    raise MisfitError(f"{part.word}() goes over a list or a map, not over {type_name(of)}", part.at)


def _predicate(part: Part, found: object) -> bool:
    if isinstance(found, bool):
        return found
    words = f"{part.word}() needs true or false of each member, and got {type_name(found)}"
    raise MisfitError(words, part.at)


def _all(part: Part, place: int, bodies: Sequence[Run], *, decides: bool = False) -> Step:
    weight, (holds,) = _weight(part), bodies

    def judge(frame: Frame) -> bool:
        return _predicate(part, holds(frame))

    def turns(frame: Frame, of: object) -> Iterator[Run]:
        for member in _members(part, of):
            frame.budget.spend(weight)
            frame.variables[place] = member
            yield judge

    return lambda frame, of: first_deciding(frame, turns(frame, of), decides=decides)


def _exists(part: Part, place: int, bodies: Sequence[Run]) -> Step:
    return _all(part, place, bodies, decides=True)


def _exists_one(part: Part, place: int, bodies: Sequence[Run]) -> Step:
    weight, (holds,) = _weight(part), bodies

    def step(frame: Frame, of: Any) -> Any:
        count = 0
        for member in _members(part, of):
            frame.budget.spend(weight)
            frame.variables[place] = member
            count += _predicate(part, holds(frame))
        return count == 1

    return step


def _filter(part: Part, place: int, bodies: Sequence[Run]) -> Step:
    weight, (holds,) = _weight(part), bodies

    def step(frame: Frame, of: Any) -> Any:
        kept = []
        for member in _members(part, of):
            frame.budget.spend(weight)
            frame.variables[place] = member
            if _predicate(part, holds(frame)):
                kept.append(member)
        frame.budget.make(LIST + MEMBER * len(kept))
        return kept

    return step


def _map(part: Part, place: int, bodies: Sequence[Run]) -> Step:
    weight, made_by = _weight(part), bodies[-1]
    holds = bodies[0] if len(bodies) > 1 else None

    def step(frame: Frame, of: Any) -> Any:
        made = []
        for member in _members(part, of):
            frame.budget.spend(weight)
            frame.variables[place] = member
            if holds is None or _predicate(part, holds(frame)):
                made.append(made_by(frame))
        frame.budget.make(LIST + MEMBER * len(made))
        return made

    return step


_KINDS: Mapping[str, Callable[[Part, int, Sequence[Run]], Step]] = {
    "all": _all,
    "exists": _exists,
    "existsOne": _exists_one,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}
