"""The gate: judges each message before Celery unpacks it.

In: a message as the broker gave it (its envelope), then as kombu read it (the task). Out: a reason
to refuse it, or None. Not here: what becomes of what is refused (refusal), where the gate stands
(redis_consumer), signatures (signing).

Messages of a user's own tasks may be whatever Celery accepts: protocol 1 and 2, each serializer of
``accept_content``, compressed, with headers that nobody knows. What is refused is what Celery's
worker would stumble over outside the task itself, and end. Messages of nodes have one form, ours.
"""

import math
from collections.abc import Mapping
from typing import Any

from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.serialization import loads

from flowcore.celery.dispatcher import END_TASK, NODE_TASK, UNIT_TASK
from flowcore.celery.gate.body_size import LARGEST, brief

__all__ = [
    "is_mailbox",
    "judge_envelope",
    "judge_headers",
    "judge_mail",
    "judge_task",
]

#: Bytes of a message of nodes: it holds ids.
_OURS_LARGEST = 64 * 2**10

_OURS = frozenset({NODE_TASK, UNIT_TASK, END_TASK})

_PROTOCOL = 3
"""Parts of a body: arguments, keyword arguments, and what is embedded."""

#: Headers that become parts of keys, ids of events or lookups.
_NAMES = ("root_id", "parent_id", "group")

#: What Celery looks into when a task fails in a way that its process could not report.
_EMBEDDED_LISTS = ("callbacks", "errbacks", "chain")


def judge_envelope(payload: Any) -> str | None:
    """Judge what was popped from a list of Redis and read as JSON.

    Args:
        payload: As kombu writes it: an object with ``body``, ``properties`` and more.
    """
    if not isinstance(payload, dict):
        return f"it is a JSON {_kind(payload)}, no message"
    properties = payload.get("properties")
    if not isinstance(properties, dict):
        return "it has no properties"
    return (
        _judge_delivery(properties)
        or judge_headers(
            payload.get("headers"), payload.get("content-type"), payload.get("content-encoding")
        )
        or _judge_text(payload.get("body"), properties.get("body_encoding"))
        or _judge_names(properties, ("correlation_id", "reply_to"))
    )


def judge_headers(headers: Any, content_type: Any, content_encoding: Any) -> str | None:
    """Judge what kombu needs to make a message of an envelope; on RabbitMQ as well."""
    if headers is not None and not isinstance(headers, dict):
        return f"its headers are a {_kind(headers)}"
    for name, value in (
        ("content type", content_type),
        ("content encoding", content_encoding),
        ("compression", headers.get("compression") if headers else None),
    ):
        if value is not None and not isinstance(value, str):
            return f"its {name} is a {_kind(value)}"
    return None


def judge_task(message: Any, *, zone: Any) -> str | None:
    """Judge a message that names a task, or should.

    Args:
        message: Kombu's; its body is read, and stays read for Celery.
        zone: The app's time zone.
    """
    ours = _is_ours(message.headers.get("task"))
    if reason := _judge_packed(message, most=_OURS_LARGEST if ours else LARGEST):
        return reason
    try:
        payload = message.payload
    except Exception as error:  # noqa: BLE001  (each serializer has its own)
        return f"its body cannot be read: {brief(error)}"
    if ours:
        return _judge_ours(message.headers, payload, zone)
    fields, body = _task_of(message, payload)
    if fields is None:
        return f"it is not a task: its body is a {_kind(payload)}, and no header names a task"
    return _judge_fields(fields, zone) or _judge_body(body)


def _judge_packed(message: Any, *, most: int) -> str | None:
    if message.errors:
        return f"its body cannot be decompressed: {brief(message.errors[0][1])}"
    if message.body is None:
        return "it has no body"
    return f"its body has {len(message.body)} bytes" if len(message.body) > most else None


def _task_of(message: Any, payload: Any) -> tuple[Mapping[str, Any] | None, Any]:
    """Find what Celery takes for headers and for the body, as its strategies do."""
    headers = message.headers
    if "task" in headers and not (isinstance(payload, dict) and "args" in payload):
        return headers, payload
    if not isinstance(payload, dict) or ("task" not in headers and "task" not in payload):
        return None, None
    # Protocol 1, or a message of both protocols: all is in the body, and headers go before it.
    embedded = {name: payload.get(name) for name in ("callbacks", "errbacks", "chord")}
    body = (payload.get("args", ()), payload.get("kwargs", {}), embedded)
    return ({**payload, **headers} if "args" in payload else payload), body


def _judge_fields(fields: Mapping[str, Any], zone: Any) -> str | None:
    for name in ("task", "id"):
        value = fields.get(name)
        if not isinstance(value, str) or not value:
            return f"its {name} is {'missing' if value is None else f'a {_kind(value)}'}"
    return (
        _judge_names(fields, ("task", "id", *_NAMES))
        or _judge_limit(fields.get("timelimit"))
        or _judge_time("eta", fields.get("eta"), zone)
        or _judge_time("expires", fields.get("expires"), zone)
        or _judge_stamps(fields.get("stamped_headers"), fields.get("stamps"))
        # Celery takes a header of such a name for what is embedded.
        or _judge_embedded({name: fields.get(name) for name in (*_EMBEDDED_LISTS, "chord")})
    )


def _judge_body(body: Any) -> str | None:
    if not isinstance(body, list | tuple) or len(body) != _PROTOCOL:
        size = f" of {len(body)}" if isinstance(body, list | tuple | dict) else ""
        return f"its body is a {_kind(body)}{size}: no arguments, keywords and embedded parts"
    args, kwargs, embed = body
    if not isinstance(args, list | tuple):
        return f"its arguments are a {_kind(args)}"
    if not isinstance(kwargs, dict):
        return f"its keyword arguments are a {_kind(kwargs)}"
    return _judge_embedded(embed) if embed else None


def _judge_embedded(embed: Any) -> str | None:
    if not isinstance(embed, dict) or not all(isinstance(key, str) for key in embed):
        return f"what it embeds is a {_kind(embed)}"
    for name in _EMBEDDED_LISTS:
        value = embed.get(name)
        if value and not (
            isinstance(value, list | tuple) and all(isinstance(one, dict) for one in value)
        ):
            return f"its {name} are not a list of signatures"
    chord = embed.get("chord")
    if chord and not isinstance(chord, dict):
        return f"its chord is a {_kind(chord)}"
    return None


def _judge_ours(headers: Mapping[str, Any], payload: Any, zone: Any) -> str | None:
    """Messages of nodes are written by us alone, and always in the same way; and are many."""
    if type(payload) is not list or len(payload) != _PROTOCOL or payload[0]:
        return "it is written in another form than messages of nodes"
    kwargs, embed = payload[1], payload[2]
    if type(kwargs) is not dict or type(embed) is not dict or not _FOREIGN.isdisjoint(headers):
        return "it has parts that no message of nodes has"
    for name in _OUR_TEXTS:
        value = headers.get(name)
        if value is not None and (type(value) is not str or not _is_utf8(value)):
            return f"its {name} is not text"
    if not headers.get("id") or type(headers.get("retries", 0)) is not int:
        return "its id or its retries are missing"
    if headers.get("eta") is not None or headers.get("group") is not None:
        return "it is delayed or part of a group, as no message of nodes is"
    limit = headers.get("timelimit")
    return (
        (None if limit == _NO_LIMIT else _judge_limit(limit))
        or _judge_embedded(embed)
        or _judge_time("expires", headers.get("expires"), zone)
        or _judge_stamps(headers.get("stamped_headers"), headers.get("stamps"))
    )


_NO_LIMIT = [None, None]
_FOREIGN = frozenset({*_EMBEDDED_LISTS, "chord", "compression"})
_OUR_TEXTS = ("id", "root_id", "parent_id", "shadow", "argsrepr", "kwargsrepr", "origin", "lang")


def _judge_delivery(properties: Mapping[str, Any]) -> str | None:
    tag = properties.get("delivery_tag")
    if not isinstance(tag, str) or not tag or not _is_utf8(tag):
        return "it has no delivery tag"
    info = properties.get("delivery_info")
    if not isinstance(info, dict) or not {"exchange", "routing_key"} <= info.keys():
        return "it does not say where it was delivered"
    return _judge_names(info, ("exchange", "routing_key"))


def _judge_text(body: Any, encoding: Any) -> str | None:
    """Judge the body within an envelope; what is in it is read later."""
    if not isinstance(body, str):
        return f"its body is a JSON {_kind(body)}" if body is not None else "it has no body"
    if len(body) > LARGEST // 3 * 4:
        return f"its body has {len(body)} bytes"
    if encoding and encoding != "base64" and str(encoding).lower() != "utf-8":
        return f"its body encoding is unknown: {brief(encoding)}"
    if encoding and not isinstance(encoding, str):
        return f"its body encoding is a {_kind(encoding)}"
    return None


def _judge_names(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            return f"its {name} is a {_kind(value)}"
        if not _is_utf8(value):
            return f"its {name} holds half of a surrogate pair, which is not text"
    return None


def _judge_limit(limit: Any) -> str | None:
    if not limit:
        return None
    if not isinstance(limit, list | tuple) or len(limit) != 2:  # noqa: PLR2004  (hard and soft)
        return "its time limit is not a pair of seconds"
    for seconds in limit:
        if seconds is None:
            continue
        if not isinstance(seconds, int | float) or not _is_time(seconds):
            return f"its time limit has a {_kind(seconds)} that is not a number of seconds"
    return None


def _is_time(seconds: float) -> bool:
    try:
        return not math.isnan(float(seconds))
    except OverflowError:
        return False


def _judge_time(name: str, value: Any, zone: Any) -> str | None:
    """Read a time as Celery does, which expects some of the errors only."""
    if value is None:
        return None
    try:
        read: Any = maybe_iso8601(value)
        maybe_make_aware(read, zone)
    except Exception as error:  # noqa: BLE001
        return f"its {name} is not a time: {brief(error)}"
    return None


def _judge_stamps(headers: Any, stamps: Any) -> str | None:
    if headers and not (
        isinstance(headers, list | tuple | set | frozenset)
        and all(isinstance(one, str) for one in headers)
    ):
        return "its stamped headers are not a list of names"
    if stamps and not isinstance(stamps, dict):
        return f"its stamps are a {_kind(stamps)}"
    return None


def is_mailbox(queue: str) -> bool:
    """Return whether a queue carries Celery's remote control: commands, or answers to them."""
    return queue.endswith(".pidbox")


def judge_mail(
    queue: str, body: Any, headers: Any, content_type: Any, content_encoding: Any
) -> str | None:
    """Judge a message of Celery's remote control: a command, or an answer to one.

    Celery outlives a bad command, but begins its mailbox anew, and what comes meanwhile is lost. A
    worker asks too, when it starts, and reads the answers outside any handler.

    Args:
        queue: Of the message: a worker's own, or one for answers.
        body: As it travelled, without base64.
        headers: Of the message.
        content_type: Celery reads commands as JSON alone.
        content_encoding: The character set of the body.
    """
    # The name of a worker has an @, that of a queue for answers begins with an id.
    is_answer = queue.endswith(_ANSWERS) and "@" not in queue
    kind = "an answer" if is_answer else "a command"
    try:
        said = loads(body, content_type, content_encoding, accept={"application/json"})
    except Exception as error:  # noqa: BLE001
        return f"it is not {kind}: {brief(error)}"
    if not isinstance(said, dict):
        return f"it is not {kind}"
    headers = headers or {}
    clock = headers.get("clock")
    if clock is not None and (type(clock) is not int or not 0 <= clock < _MOST_CLOCK):
        return "its clock is not a number"
    return _judge_answer(headers) if is_answer else _judge_command(said)


def _judge_answer(headers: Mapping[str, Any]) -> str | None:
    if not isinstance(headers.get("ticket", ""), str):
        return "its ticket is not text"
    if not isinstance(headers.get("expires") or 0, int | float):
        return "its end is not a time"
    return None


def _judge_command(said: Mapping[str, Any]) -> str | None:
    if not isinstance(said.get("method"), str):
        return "it is not a command"
    reply = said.get("reply_to")
    if reply and not (
        isinstance(reply, dict) and all(isinstance(reply.get(name), str) for name in _ADDRESS)
    ):
        return "it does not say where its reply goes"
    fits = (
        isinstance(said.get("arguments") or {}, dict)
        and isinstance(said.get("destination") or [], list)
        and isinstance(said.get("pattern") or "", str)
        and len(said.get("pattern") or "") <= _LONGEST_PATTERN
        and isinstance(said.get("matcher") or "", str)
    )
    return None if fits else "its parts are not those of a command"


#: How the queue ends that a process gets answers on.
_ANSWERS = ".reply.celery.pidbox"
_ADDRESS = ("exchange", "routing_key")
_MOST_CLOCK = 2**53
_LONGEST_PATTERN = 200


def _is_ours(task: Any) -> bool:
    return isinstance(task, str) and task in _OURS


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
