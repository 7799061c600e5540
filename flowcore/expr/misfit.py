"""Say that an operator or function does not take what it is given.

In: a part of an expression, the types of its operands. Out: a sentence. Not here: finding such a
part (evaluation at run, check.infer before).
"""

from collections.abc import Sequence

from flowcore.expr.tree import Part

__all__ = ["misfit"]

_LOGICAL = frozenset({"&&", "||", "?"})
_CONVERTED = frozenset({"int", "double", "string"})


def misfit(part: Part, types: Sequence[str | None]) -> str:
    """Say that an operator or function does not take what it is given.

    Args:
        part: The operator or function, with its operands.
        types: Their types; None for one that is not known.
    """
    known = [one for one in types if one is not None]
    if part.kind == "name":
        words = f"'{part.word}' is not available here"
    elif part.kind in {"field", "index"}:
        key = f"'{part.word}'" if part.kind == "field" else "an item"
        words = f"cannot take {key} of {'text' if known[0] == 'string' else known[0]}"
    elif part.kind == "call":
        given = " and ".join(one or "something" for one in types)
        words = f"there is no {part.word}() of {given or 'nothing'}"
    elif part.word == "in":
        words = f"'in' looks into a list or a map, not into {known[-1]}"
    elif part.word in _LOGICAL:
        wrong = next(one for one in known if one != "bool")
        words = f"'{part.word}' is of true and false, not of {wrong}"
    else:
        words = f"there is no '{part.word}' of {' and '.join(known)}"
        if len(_CONVERTED.intersection(known)) > 1:
            words += "; int(…), double(…) and string(…) convert"
    return words
