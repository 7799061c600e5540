"""Check literal arguments against the annotations of a function's parameters.

In: a function, what a node gives it. Out: problems. Not here: names of arguments (arguments), what
an annotation says (nodes.parameters), values that expressions give (engine.attempts.coercion).

Of a value with expressions in it only what is certain is a problem: a literal at a place that the
value itself has, which no other branch of a union might take.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.check.unknowns import is_known, opened
from flowcore.graph.document import Path
from flowcore.nodes.parameters import Reader, Wrong, parameters_of

__all__ = ["check_literals"]


def check_literals(
    draft: Draft,
    function: Callable[..., Any],
    uses: str,
    given: Mapping[str, Any],
    path: Path,
) -> None:
    """Note literals that parameters do not take.

    Args:
        draft: Where problems go.
        function: What is called.
        uses: Its name.
        given: Its arguments.
        path: Where they stand.
    """
    parameters = parameters_of(function)
    if parameters is None:
        return
    for name, written in given.items():
        reader = parameters.reader(name)
        if reader is None:
            continue
        value = opened(written)
        said = inspect.formatannotation(reader.annotation)
        for one in _wrong(reader, value):
            place = _place(value, one.path)
            inside = f" at {'.'.join(map(str, one.path))}" if one.path else ""
            what = f"{quote(name)} of {uses}{inside}: {one.what}"
            draft.problems.add("FC205", what, (*path, name, *place), f"it is annotated {said}")


def _wrong(reader: Reader, value: Any) -> list[Wrong]:
    known = is_known(value)
    try:
        wrong = reader.wrong(value)
    except Exception as error:  # noqa: BLE001  (a validator is the user's code)
        # It may have met what stands for a value that is not known yet.
        raised = f"its validator raised {type(error).__name__}: {error}"
        return [Wrong(path=(), what=raised, value=value)] if known else []
    if known:
        return wrong
    return [
        one
        for one in wrong
        if is_known(one.value) and one.path and len(_place(value, one.path)) == len(one.path)
    ]


def _place(value: Any, path: Path) -> Path:
    """The part of a path that the value has; pydantic's may hold names of branches, too."""
    place: list[int | str] = []
    for step in path:
        is_there = (isinstance(value, Mapping) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if not is_there:
            break
        value = value[step]
        place.append(step)
    return tuple(place)
