"""The arguments of nodes that call others: ``http``, ``llm``, ``tool``, and Celery tasks.

In: nothing. Out: their models. Not here: calling (http, llm, tool, celery_task).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import ConfigDict, Field, model_validator

from flowcore.graph.diagnostic import quote
from flowcore.json_text import json_text
from flowcore.nodes.arguments.model import UNKNOWN, Arguments, Unfinished, WrongValueError
from flowcore.nodes.arguments.values import (
    Kind,
    anything,
    duration,
    list_of,
    mapping_of,
    message_list,
    number,
    shown,
    text,
    truth,
    url,
    whole,
    words,
)
from flowcore.nodes.credentials import mask_text

__all__ = [
    "TEMPERATURE",
    "HttpArguments",
    "LlmArguments",
    "TaskArguments",
    "ToolArguments",
]

#: Headers that follow from what is sent.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})
_MOST_BYTES = 2**40
_TINY = 0.001
_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"

#: The range of OpenAI's protocol.
TEMPERATURE = number(0, 2)


def _header() -> Kind:
    plain = words("the text of a header")

    def read(value: Any) -> Any:
        found = plain(value)
        if isinstance(found, str) and not isinstance(found, Unfinished):
            _refuse_unsendable(found)
        return found

    return Kind(read, plain.schema)


def _refuse_unsendable(found: str) -> None:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", found):
        raise WrongValueError("the text of a header is one line, without control characters")
    if not found.isascii():
        what = "the text of a header is ASCII, and this is not"
        raise WrongValueError(what, suggestion="encode it as its reader expects it, such as by %")


def _params() -> Kind:
    """The query: a mapping of values or lists of them, pairs, or a text."""
    one = Kind(_param, {"type": ["string", "number", "boolean", "null"]})
    several = mapping_of(Kind(_several(one)), "values by name")

    def read(value: Any) -> Any:
        if isinstance(value, str):
            return value if isinstance(value, Unfinished) else parse_qsl(value, True)  # noqa: FBT003
        if isinstance(value, Sequence):
            return [_pair(at, pair, one) for at, pair in enumerate(value)]
        found = several(value)
        return [
            (name, each)
            for name, given in found.items()
            for each in (given if isinstance(given, list) else [given])
        ]

    return Kind(read, {"type": ["object", "array", "string"]})


def _param(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    raise WrongValueError(f"expected text, a number, true or false, got {shown(value)}")


def _several(one: Kind) -> Any:
    of_list = list_of(one, "values")
    return lambda value: of_list(value) if isinstance(value, list | tuple) else one(value)


def _pair(at: int, pair: Any, one: Kind) -> tuple[str, Any]:
    if pair is UNKNOWN:
        return ("", UNKNOWN)
    if not isinstance(pair, list | tuple) or len(pair) != 2:  # noqa: PLR2004  (name, value)
        what = f"expected a pair of a name and a value, got {shown(pair)}"
        raise WrongValueError(what, path=(at,))
    return (str(pair[0]), one(pair[1]))


def _content() -> Kind:
    """Return the content that is sent as it is."""

    def read(value: Any) -> Any:
        if isinstance(value, str | bytes):
            return value
        hint = "write it as 'json'" if isinstance(value, Mapping | list | tuple) else None
        what = f"expected text, or bytes, got {shown(value)}"
        raise WrongValueError(what, suggestion=hint)

    return Kind(read, {"type": "string"})


class HttpArguments(Arguments):
    """Arguments of ``http``."""

    at_most_one_of: ClassVar = (("json", "body"),)
    may_be_null: ClassVar = frozenset({"json"})

    url: Annotated[str, url()]
    method: Annotated[str, text("a method, such as GET", pattern="[A-Za-z]{1,20}")] = "GET"
    headers: Annotated[
        dict[str, str],
        mapping_of(_header(), "headers by name", key=text("a header's name", pattern=_HEADER)),
    ] = {}  # noqa: RUF012  (frozen models share no state)
    params: Annotated[list[tuple[str, Any]], _params()] = []  # noqa: RUF012
    json_: Annotated[Any, anything()] = Field(default=None, alias="json")
    body: Annotated[str | bytes | None, _content()] = None
    timeout: Annotated[float, duration(least=_TINY)] = 30.0
    max_bytes: Annotated[int, whole(1, _MOST_BYTES)] = 10 * 2**20
    redirects: Annotated[int, whole(0, 100)] = 5
    accept: Annotated[list[int] | None, list_of(whole(100, 599), "statuses, such as 404")] = None
    retry_status: Annotated[list[int] | None, list_of(whole(100, 599), "statuses, such as 503")] = (
        None
    )

    @model_validator(mode="after")
    def _said_once(self) -> "HttpArguments":
        """Refuse what is said in two places: one of the two would be dropped."""
        _refuse_twice(self.headers)
        _refuse_accepted(self.accept, self.retry_status)
        address: Any = self.url
        if not isinstance(address, str) or isinstance(address, Unfinished):
            return self
        parts = urlsplit(address)
        _refuse_query(parts.query, self.params)
        if parts.username is not None:
            _refuse_login(self.headers)
        return self


def _refuse_twice(headers: Any) -> None:
    seen: set[str] = set()
    for name in headers if isinstance(headers, dict) else ():
        if name.lower() in _OWN_HEADERS:
            what = f"{quote(name)} is set by the request itself"
            raise WrongValueError(what, code="FC216", path=("headers", name), at_key=True)
        if name.lower() in seen:
            what = f"header {quote(name)} is given twice"
            raise WrongValueError(what, code="FC216", path=("headers", name), at_key=True)
        seen.add(name.lower())


def _refuse_accepted(accept: Any, again: Any) -> None:
    if not isinstance(accept, list):
        return
    for status in again if isinstance(again, list) else ():
        if status is not UNKNOWN and status in accept:
            what = f"{status} is in 'accept' already, and is no failure"
            raise WrongValueError(what, code="FC216", path=("retry_status",))


def _refuse_query(query: str, params: Any) -> None:
    named = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    for name, _ in params if isinstance(params, list) else ():
        if name in named:
            what = f"{quote(name)} is in the query of the URL already"
            hint = "keep one of them"
            raise WrongValueError(what, code="FC216", suggestion=hint, path=("params",))


def _refuse_login(headers: Any) -> None:
    for name in headers if isinstance(headers, dict) else ():
        if name.lower() == "authorization":
            what = f"{quote(name)} is given, and the URL has a user of its own"
            place = ("headers", name)
            raise WrongValueError(what, code="FC216", suggestion="keep one of them", path=place)


#: Keys of a request that the node has its own words for.
_OWN_WORDS = frozenset({"model", "messages", "stream", "timeout"})


#: Options that an argument says, too.
_SAME = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
}


#: Options about a request, which are not part of it; words of OpenAI's client.
_ABOUT_REQUEST: Mapping[str, Kind] = {
    "extra_headers": mapping_of(
        _header(), "headers by name", key=text("a header's name", pattern=_HEADER)
    ),
    "extra_query": mapping_of(Kind(_param), "values by name"),
    "extra_body": mapping_of(anything(), "values by name"),
}


def _options() -> Kind:
    plain = mapping_of(anything(), "options by name")

    def read(value: Any) -> Any:
        found = plain(value)
        for key in _OWN_WORDS.intersection(found):
            what = f"{quote(key)} has a key of its own beside 'options'"
            raise WrongValueError(what, code="FC216", path=(key,), at_key=True)
        for key, kind in _ABOUT_REQUEST.items():
            if found.get(key) is not None:
                try:
                    found[key] = kind(found[key])
                except WrongValueError as error:
                    raise error.below(key) from None
        _refuse_body(found)
        return found

    return Kind(read, plain.schema)


def _refuse_body(options: Mapping[str, Any]) -> None:
    """Refuse what 'extra_body' says, too: one of the two would be dropped."""
    extra = options.get("extra_body")
    for key in extra if isinstance(extra, dict) else ():
        if key in options or key in _OWN_WORDS:
            what = f"{quote(key)} is given twice"
            place = ("extra_body", key)
            raise WrongValueError(what, code="FC216", path=place, at_key=True)


def _prompt() -> Kind:
    plain = words("what the model is asked")

    def read(value: Any) -> Any:
        if isinstance(value, Mapping | list | tuple):
            return json_text(value)
        return plain(value)

    return Kind(read, {"type": ["string", "number", "object", "array"]})


def _key() -> Kind:
    """A secret: no message shows it."""

    def read(value: Any) -> Any:
        if not isinstance(value, str) or not value:
            raise WrongValueError("expected the key of the model's server, as text")
        is_sendable = value.isascii() and value.isprintable() and value == value.strip()
        if not isinstance(value, Unfinished) and not is_sendable:
            what = "the key has characters that no header can carry, such as the end of a line"
            raise WrongValueError(what)
        return value

    return Kind(read, {"type": "string", "minLength": 1})


def _base_url() -> Kind:
    """The address of a server, to which the path of a request is added."""
    plain = url()

    def read(value: Any) -> Any:
        found = plain(value)
        if isinstance(found, Unfinished):
            return found
        parts = urlsplit(found)
        path = parts.path.rstrip("/")
        if path.endswith(_CHAT):
            short = mask_text(urlunsplit(parts._replace(path=path.removesuffix(_CHAT))))
            what = f"'{_CHAT}' is added to the address by itself"
            raise WrongValueError(what, code="FC216", suggestion=f"write {short}")
        if parts.fragment:
            raise WrongValueError("expected an address without '#'")
        return found

    return Kind(read, plain.schema)


_CHAT = "/chat/completions"


class LlmArguments(Arguments):
    """Arguments of ``llm``; ``config.llm`` may supply some of them."""

    where: ClassVar = {"model": "in the node's 'with' or in 'config.llm'"}

    model: Annotated[str, text("the name of a model")]
    prompt: Annotated[str | None, _prompt()] = None
    messages: Annotated[list[Any], message_list(least=1)] = []  # noqa: RUF012
    system: Annotated[str | None, text("what the model is told first")] = None
    temperature: Annotated[float | None, TEMPERATURE] = None
    max_tokens: Annotated[int | None, whole(1, 10**9)] = None
    base_url: Annotated[str | None, _base_url()] = None
    api_key: Annotated[str | None, _key()] = None
    timeout: Annotated[float, duration(least=_TINY)] = 120.0
    max_bytes: Annotated[int, whole(1, _MOST_BYTES)] = 64 * 2**20
    stream: Annotated[bool, truth()] = True
    accept: Annotated[
        list[str], list_of(text("a word such as length", most=100), "words, such as length")
    ] = []  # noqa: RUF012
    options: Annotated[dict[str, Any], _options()] = {}  # noqa: RUF012

    @model_validator(mode="after")
    def _said_once(self) -> "LlmArguments":
        """Refuse an option that is an argument, too, and a second way to say who asks."""
        _refuse_two_keys(self.base_url, self.api_key)
        options: Any = self.options
        if isinstance(options, dict):
            for key, own in _SAME.items():
                if key in options and getattr(self, own) is not None:
                    what = f"{quote(key)} is given twice: in 'options', and beside it"
                    raise WrongValueError(
                        what, code="FC216", suggestion="keep one of them", path=("options", key)
                    )
        return self


def _refuse_two_keys(base_url: Any, api_key: Any) -> None:
    if not isinstance(base_url, str) or isinstance(base_url, Unfinished) or api_key is None:
        return
    if urlsplit(base_url).username is not None:
        what = "an 'api_key' is given, and the URL has a user of its own"
        place = ("base_url",)
        raise WrongValueError(what, code="FC216", suggestion="keep one of them", path=place)


class ToolArguments(Arguments):
    """Arguments of ``tool``."""

    name: Annotated[str, text("the name of a tool")]
    args: Annotated[dict[str, Any], mapping_of(anything(), "arguments by name")] = {}  # noqa: RUF012


class TaskArguments(Arguments):
    """Arguments of a Celery task: ``args`` and ``kwargs``, or all by name."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def chosen(cls, given: Mapping[str, Any]) -> type[Arguments]:
        """Choose between the two; beside others, ``args`` and ``kwargs`` are names like any."""
        return _PackedArguments if given.keys() <= {"args", "kwargs"} else cls


class _PackedArguments(Arguments):
    args: Annotated[list[Any], list_of(anything(), "arguments")] = []  # noqa: RUF012
    kwargs: Annotated[dict[str, Any], mapping_of(anything(), "arguments by name")] = {}  # noqa: RUF012
