"""A function in the place of a node's: called as a node is, in the way of its own kind.

In: a stub, the node's own function. Out: something to call, and what it is called like. Not here:
which node has a stub (stubs), binding (engine.attempts.binding).

A stub is given what the node's own function is given, as far as it takes that, and as a node is
given it: also its context, and outputs of other nodes by their names. It may be async or yield.
"""

import inspect
import typing
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from typing import Any

from flowcore.errors import BindingError
from flowcore.nodes.signature import Signature, signature_of

__all__ = ["called_like", "stand_in"]

_Function = Callable[..., Any]

_NONE: Any = inspect.Parameter.empty
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Standing:
    """Calls something after something else.

    It has no hash, so that what the engine reads of it is read each time, and nothing keeps it.
    """

    def __init__(self, function: _Function, before: Callable[[], None]) -> None:
        self._function = function
        self._before = before

    __hash__ = None  # type: ignore[assignment]  # see above


class _Plain(_Standing):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._before()
        return self._function(*args, **kwargs)


class _Async(_Standing):
    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._before()
        return await self._function(*args, **kwargs)


class _Generator(_Standing):
    def __call__(self, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        self._before()
        return (yield from self._function(*args, **kwargs))


class _AsyncGenerator(_Standing):
    async def __call__(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        self._before()
        async for chunk in self._function(*args, **kwargs):
            yield chunk


def called_like(function: _Function, before: Callable[[], None]) -> _Function:
    """Something of the same kind as a function, that calls it after ``before``."""
    return _kind(function)(function, before)


def _kind(function: _Function) -> Callable[..., _Function]:
    flags: Mapping[Callable[[Any], bool], Callable[..., _Function]] = {
        inspect.isasyncgenfunction: _AsyncGenerator,
        inspect.isgeneratorfunction: _Generator,
        inspect.iscoroutinefunction: _Async,
    }
    called = getattr(function, "__call__", None)  # noqa: B004  (asks for the flags)
    for is_such, kind in flags.items():
        if is_such(function) or is_such(called):
            return kind
    return _Plain


def stand_in(
    stub: _Function, own: _Function | None, before: Callable[[], None]
) -> tuple[_Function, _Function]:
    """Return the function to call in a node's place, with the signature to call it by.

    Args:
        stub: What is to be called.
        own: The node's own function, if that is known.
        before: Called first.
    """
    signature = signature_of(stub)
    if own is None or not signature.known or not signature_of(own).known:
        return called_like(stub, before), stub
    merged = _Merged(stub, signature, own)
    return _kind(stub)(_Adapted(merged, stub), before), merged.like()


class _Adapted:
    """Calls a stub with those arguments of the node that it takes."""

    def __init__(self, merged: "_Merged", stub: _Function) -> None:
        self._merged = merged
        self._stub = stub

    def __call__(self, **kwargs: Any) -> Any:
        args, kwargs = self._merged.arguments(kwargs)
        return self._stub(*args, **kwargs)


class _Merged:
    """The parameters of a stub and of the function that it stands for."""

    def __init__(self, stub: _Function, signature: Signature, own: _Function) -> None:
        self._stub, self._own = stub, own
        self._signature = signature
        self._ours = _parameters(own)
        self._theirs = _parameters(stub)

    def like(self) -> _Function:
        """A function that is called with all that both of them take."""
        hints = {**_hints(self._stub), **_hints(self._own)}
        hints.pop("return", None)
        if (returned := _hints(self._own).get("return")) is not None:
            hints["return"] = returned
        taken = [one.replace(kind=one.KEYWORD_ONLY) for one in self._ours.values()]
        extra = {name: one for name, one in self._theirs.items() if name not in self._ours}
        needs_more = any(name in extra for name in self._signature.required)
        more = [*extra, *(["upstream"] if needs_more else [])]
        # What the node itself does not need may be missing.
        taken += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
            for name in dict.fromkeys(more)
            if name not in self._ours
        ]
        if signature_of(self._own).open:
            taken.append(inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD))

        def like(**_: Any) -> None:
            """Stands for both."""

        like.__module__ = getattr(self._own, "__module__", like.__module__)
        like.__annotations__ = hints
        like.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [one.replace(annotation=hints.get(one.name, one.annotation)) for one in taken]
        )
        return like

    def arguments(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Choose what the stub takes of what its node was given."""
        signature = self._signature
        takes = {*signature.required, *signature.optional, *signature.context}
        if signature.open:
            takes |= given.keys() - ({"upstream"} - self._ours.keys())
        chosen = {name: value for name, value in given.items() if name in takes}
        chosen = {**self._defaults(), **chosen}
        missing = [name for name in signature.required if name not in chosen]
        if len(missing) == 1 and "upstream" in given:
            chosen[missing.pop()] = given["upstream"]
        if missing:
            told = ", ".join(map(repr, missing))
            raise BindingError(f"the stub needs {told}, and the node is given no such value")
        args = [chosen.pop(name) for name in signature.positional if name in chosen]
        return args, chosen

    def _defaults(self) -> dict[str, Any]:
        """Of what the stub needs, and the node's own function need not be given."""
        both = [self._ours[name] for name in self._signature.required if name in self._ours]
        return {one.name: one.default for one in both if one.default is not _NONE}


def _parameters(function: _Function) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one for one in parameters if one.kind not in _VARIABLE}


def _hints(function: _Function) -> dict[str, Any]:
    """The annotations of a function, as far as they can be read."""
    told: Any = function
    if not hasattr(function, "__code__") and not hasattr(function, "__wrapped__"):
        told = getattr(function, "func", None) or type(function).__call__
    try:
        return typing.get_type_hints(told, include_extras=True)
    except Exception:  # noqa: BLE001  (a hint may name anything; then nothing is known)
        return {}
