"""A model of the arguments of a node type, and what is wrong with arguments.

In: a model, a node's ``with``. Out: problems, or the model filled in. Not here: the kinds of values
(values), the models of the types (waiting, calls, conversation, control).

Check and run use the same models. What a definition leaves to an expression is not known at check:
``UNKNOWN`` stands for a value that may be anything, ``Unfinished`` for a text whose parts are not
known. Every rule of a value lets the first pass, and every rule of a text the second.
"""

import marshal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from flowcore.errors import UsageError
from flowcore.graph.diagnostic import quote

__all__ = ["UNKNOWN", "Arguments", "Misfit", "Unfinished", "WrongValueError", "misfits", "near"]


class _Unknown:
    """The type of ``UNKNOWN``."""

    def __repr__(self) -> str:
        return "UNKNOWN"


#: A value that an expression gives later.
UNKNOWN = _Unknown()


class Unfinished(str):
    """A text with expressions in it: it will be a text, and nobody knows yet which."""

    __slots__ = ()


class WrongValueError(ValueError):
    """A value that an argument cannot have.

    Attributes:
        what: What is wrong, as a sentence without a full stop.
        code: The code of a check that finds it.
        suggestion: The way out, if there is a short one.
        path: Where in the value it is.
        at_key: It is about a key.
    """

    def __init__(
        self,
        what: str,
        *,
        code: str = "FC205",
        suggestion: str | None = None,
        path: tuple[str | int, ...] = (),
        at_key: bool = False,
    ) -> None:
        """Keep the facts."""
        super().__init__(what)
        self.what, self.code, self.suggestion = what, code, suggestion
        self.path, self.at_key = path, at_key

    def below(self, key: str | int) -> "WrongValueError":
        """The same, of a value that stands under a key of another."""
        return WrongValueError(
            self.what,
            code=self.code,
            suggestion=self.suggestion,
            path=(key, *self.path),
            at_key=self.at_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """One thing that is wrong with arguments.

    Attributes:
        code: The code of a check.
        what: What is wrong, as a sentence without a full stop.
        path: The argument, and where in it.
        suggestion: The way out, if there is a short one.
        at_key: It is about a key.
        is_of_type: The sentence begins with the node's type.
    """

    code: str
    what: str
    path: tuple[str | int, ...] = ()
    suggestion: str | None = None
    at_key: bool = False
    is_of_type: bool = False

    def sentence(self, uses: str) -> str:
        """Describe the problem as a whole sentence."""
        return f"{uses} {self.what}" if self.is_of_type else self.what


class Arguments(BaseModel):
    """Base of the models: frozen, and with rules about which arguments go together.

    An optional argument that is null counts as left out, unless null is a value of its own there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    #: Sets of arguments of which exactly one is needed.
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    #: Sets of arguments of which one is taken at most.
    at_most_one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    #: The places where an argument may stand, in words, if there are several.
    where: ClassVar[Mapping[str, str]] = {}
    #: Arguments for which null is a value.
    may_be_null: ClassVar[frozenset[str]] = frozenset()
    #: It holds no value that anybody could change, so equal arguments may share one.
    is_shared: ClassVar[bool] = False

    @classmethod
    def names(cls) -> list[str]:
        """The arguments there are, as a definition names them."""
        return list(_names(cls))

    @classmethod
    def needed(cls) -> list[str]:
        """The arguments that have to be given."""
        return [name for name, is_needed in _names(cls).items() if is_needed]

    @classmethod
    def is_open(cls) -> bool:
        """Return whether arguments of any name are accepted."""
        return cls.model_config.get("extra") == "allow"

    @classmethod
    def chosen(cls, given: Mapping[str, Any]) -> type["Arguments"]:  # noqa: ARG003
        """The model for these very arguments, of a type that has several."""
        return cls

    @classmethod
    def label(cls, uses: str, given: Mapping[str, Any]) -> str:  # noqa: ARG003
        """The name of a type in a sentence."""
        return uses

    @classmethod
    def read(cls, given: Mapping[str, Any], *, uses: str, node: str = "") -> Self:
        """Fill in the model at run.

        Args:
            given: The arguments, all of them known.
            uses: The node's type, for the message.
            node: The node's id, for the message.

        Raises:
            UsageError: Something is wrong; names the node, the argument and the value.
        """
        key = _key(given) if cls.is_shared else None
        if key is not None and (known := _READ.get((cls, key))) is not None:
            return cast("Self", known)
        found = _Reading(cls.chosen(given), given)
        if found.wrong:
            raise UsageError(_sentence(found.wrong[0], cls.label(uses, given), node))
        model: Self = found.filled  # type: ignore[assignment]  # chosen gives one of the same kind
        if key is not None:
            if len(_READ) >= _MOST_READ:
                _READ.clear()
            _READ[cls, key] = model
        return model

    def given(self) -> dict[str, Any]:
        """The arguments that were given, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


#: Models that were read, by their arguments: most nodes have the same ones in every run.
_READ: dict[tuple[type[Arguments], bytes], Arguments] = {}

#: Bounds on memory.
_MOST_READ, _MOST_BYTES = 1000, 500

#: Of marshal: the last one without references, so that equal values are equal bytes.
_FORMAT = 2


def _key(given: Mapping[str, Any]) -> bytes | None:
    """Arguments as bytes that tell 1, 1.0 and true apart; None of what is large, or odd."""
    try:
        key = marshal.dumps(cast("dict[str, Any]", given), _FORMAT)
    except ValueError:
        return None
    return key if len(key) <= _MOST_BYTES else None


@cache
def _names(model: type[Arguments]) -> dict[str, bool]:
    """The arguments of a model, each with whether it is needed."""
    fields = model.model_fields.items()
    return {field.alias or name: field.is_required() for name, field in fields}


def misfits(model: type[Arguments], given: Mapping[str, Any]) -> list[Misfit]:
    """Find everything that is wrong with arguments, of which some may not be known yet."""
    return _Reading(model.chosen(given), given).wrong


def _sentence(found: Misfit, uses: str, node: str) -> str:
    label = f"{uses} node {node!r}" if node else uses
    place = "".join(f"[{key!r}]" for key in found.path[1:])
    is_named = found.path and not found.is_of_type
    argument = f"{str(found.path[0])!r}{place} of {label}: " if is_named else ""
    hint = f" ({found.suggestion})" if found.suggestion else ""
    return f"{argument}{found.sentence(label)}{hint}"


class _Reading:
    """Arguments, held against a model."""

    def __init__(self, model: type[Arguments], given: Mapping[str, Any]) -> None:
        self.wrong: list[Misfit] = []
        self.filled: Arguments | None = None
        self._model = model
        names = _names(model)
        self._given = {
            key: value
            for key, value in given.items()
            if value is not None or key in model.may_be_null or key not in names
        }
        self._unknown_keys()
        self._together()
        self._values()

    def _unknown_keys(self) -> None:
        if self._model.is_open():
            return
        known = _names(self._model)
        for key in self._given:
            if key not in known:
                hint = near(key, known) or f"it takes {', '.join(known) or 'nothing'}"
                what = f"takes no {quote(str(key))}"
                self.wrong.append(
                    Misfit(
                        code="FC226",
                        what=what,
                        path=(key,),
                        suggestion=hint,
                        at_key=True,
                        is_of_type=True,
                    )
                )

    def _together(self) -> None:
        is_spelled = not self.wrong
        for key, is_needed in _names(self._model).items():
            if is_needed and key not in self._given and is_spelled:
                place = self._model.where.get(key)
                what = f"needs {quote(key)}, {place}" if place else f"needs {quote(key)}"
                self.wrong.append(Misfit(code="FC204", what=what, is_of_type=True))
        for several in self._model.one_of:
            there = [key for key in several if key in self._given]
            if len(there) != 1 and is_spelled:
                either = " or ".join(map(quote, several))
                what = f"takes either {either}" if there else f"needs {either}"
                self.wrong.append(Misfit(code="FC204", what=what, is_of_type=True))
        for several in self._model.at_most_one_of:
            there = [key for key in several if key in self._given]
            if len(there) > 1:
                either = " or ".join(map(quote, there))
                self.wrong.append(
                    Misfit(
                        code="FC223",
                        what=f"takes either {either}, not both",
                        path=(there[1],),
                        suggestion="keep one of them",
                        at_key=True,
                        is_of_type=True,
                    )
                )

    def _values(self) -> None:
        try:
            self.filled = self._model.model_validate(self._given)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                cause = detail.get("ctx", {}).get("error")
                if isinstance(cause, WrongValueError):
                    self.wrong.append(
                        Misfit(
                            code=cause.code,
                            what=cause.what,
                            path=(*detail["loc"], *cause.path),
                            suggestion=cause.suggestion,
                            at_key=cause.at_key,
                        )
                    )
            if not self.wrong:
                raise


def near(word: object, known: Collection[str]) -> str | None:
    """Suggest the known word that is most like another."""
    found = get_close_matches(str(word)[:100], known, n=1)
    return f"did you mean {quote(found[0])}?" if found else None
