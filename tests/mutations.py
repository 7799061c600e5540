"""Random messages: real ones, in which something is replaced, removed, broken or cut.

In: real messages and a seed. Out: what to put into a queue of Redis as it stands, or to publish on
RabbitMQ. Most are no messages any more; some still are.
"""

import base64
import bz2
import copy
import json
import math
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
from amqp.serialization import dumps as dump_amqp

__all__ = ["ODD", "Mail", "mutations", "publish_raw", "raw_mutations"]

DEEP_JSON = "[" * 100_000

#: What stands where something else should.
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 10**30, 1e308, float("nan"), float("inf"), 0.5),
    *("", "x", "\ud800", "\x00", "é" * 300, "2020-13-45", "5", "2026-01-01T00:00:00", "::"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59"),
    *([], [1, 2, 3], [[]], ["a", "b"], [None, None], [1, None], ["1", None], [float("nan"), 1]),
    *([{"task": 1}], [10**400, None], {}, {"a": 1}, {"a": {"b": [None]}}, {"__type__": "uuid"}),
    *({"__type__": "datetime", "__value__": "never"}, {"__type__": "decimal", "__value__": "1.5"}),
    {"__type__": "nothing", "__value__": 1},
)

_TYPES: tuple[Any, ...] = (
    *("application/x-msgpack", "application/json", "application/x-python-serialize", "text/plain"),
    *("application/x-yaml", "application/data", "", "nonsense", None, 7, ["json"], {}),
)
_ENCODINGS: tuple[Any, ...] = ("binary", "utf-8", "us-ascii", "nonsense", "", None, 5, [], "\x00")
_BODIES: tuple[bytes, ...] = (
    *(b"", b"null", b"[]", b"{}", b"0", b'"text"', b"[1,2,3,4]", b"[[],{},{},{}]", b"[[],{}]"),
    *(b"[[],[],[]]", b"[{},{},{}]", b'[[],{},{"chord":5}]', b'[[],{},{"errbacks":[7]}]', b"\xc0"),
    *(b"\x93\x90\x80\x80", b"\x93\x90\x80\xc0", b"\x93\xc0\xc0\xc0", b"\xff\xfe\x00", b"\x80\x04."),
    *(b'[[],{},{"callbacks":{}}]', b'{"task":"own.wait_for","id":"v1"}', b'{"task":[],"id":"v1"}'),
    *(b'{"task":"flowcore.node","id":"x","args":null,"kwargs":null}', b"NaN", b"1e999"),
    *(b'{"task":"own.wait_for","id":"v1","args":5,"kwargs":{},"timelimit":[1,2,3]}', b"\x91" * 900),
    *(b"[" * 50_000, b'{"a":' * 50_000, b'"' + b"x" * 2**20 + b'"'),
)
_HEADERS = (
    *("timelimit", "eta", "expires", "retries", "id", "task", "group", "lang", "argsrepr"),
    *("kwargsrepr", "root_id", "parent_id", "shadow", "origin", "stamped_headers", "stamps"),
    *("compression", "ignore_result", "clock", "chord", "errbacks", "callbacks", "chain"),
    *("replaced_task_nesting", "groups", "group_index", "x-death", "hostname", "unknown"),
)


@dataclass(frozen=True)
class Mail:
    """A message in parts that both brokers know."""

    body: Any
    headers: Any
    content_type: Any = "application/x-msgpack"
    content_encoding: Any = "binary"
    properties: Any = field(default_factory=dict)
    """Kombu's, on Redis."""

    @classmethod
    def of_redis(cls, raw: bytes) -> "Mail":
        """Read what kombu has put into a list."""
        whole = json.loads(raw)
        return cls(
            body=base64.b64decode(whole["body"]),
            headers=whole["headers"],
            content_type=whole["content-type"],
            content_encoding=whole["content-encoding"],
            properties=whole["properties"],
        )

    def for_redis(self, number: int) -> str:
        """Write it for a list of Redis."""
        properties = self.properties
        if isinstance(properties, dict) and isinstance(properties.get("delivery_tag"), str):
            properties = {**properties, "delivery_tag": f"{properties['delivery_tag']}-{number}"}
        body = self.body
        if isinstance(body, bytes):
            body = base64.b64encode(body).decode()
        whole = {
            "body": body,
            "headers": self.headers,
            "content-type": self.content_type,
            "content-encoding": self.content_encoding,
            "properties": properties,
        }
        return json.dumps(whole, default=repr)


def mutations(mails: Sequence[Mail], dice: random.Random) -> Iterator[Mail]:
    """Make random messages for ever, each with one to three changes."""
    changes: list[Callable[[Mail, random.Random], Mail]] = [
        *(_header, _header, _header, _body, _content, _packed, _packed, _compressed, _properties),
    ]
    while True:
        mail = copy.deepcopy(dice.choice(mails))
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            mail = dice.choice(changes)(mail, dice)
        yield mail


def raw_mutations(raws: Sequence[bytes], dice: random.Random) -> Iterator[bytes]:
    """Make what is often no JSON at all: cut, with bits turned, doubled, or noise."""
    while True:
        yield dice.choice(_BREAKS)(dice.choice(raws), dice)


def _cut(raw: bytes, dice: random.Random) -> bytes:
    return raw[: dice.randrange(len(raw))]


def _flipped(raw: bytes, dice: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(dice.randrange(1, 8)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data)


def _noise(_: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(200))


def _other_json(_: bytes, dice: random.Random) -> bytes:
    return json.dumps(dice.choice(ODD)).encode()


def _requoted(raw: bytes, dice: random.Random) -> bytes:
    return raw.replace(b'"', b"'", dice.randrange(1, 5))


def _replaced(raw: bytes, dice: random.Random) -> bytes:
    whole = json.loads(raw)
    whole[dice.choice(list(whole))] = dice.choice(ODD)
    return json.dumps(whole).encode()


def _deep(_: bytes, __: random.Random) -> bytes:
    return DEEP_JSON.encode()


_BREAKS = (_cut, _flipped, _flipped, _noise, _other_json, _requoted, _replaced, _replaced, _deep)


def _header(mail: Mail, dice: random.Random) -> Mail:
    if not isinstance(mail.headers, dict) or dice.random() < 0.03:
        return replace(mail, headers=dice.choice(ODD))
    headers = dict(mail.headers)
    name = dice.choice(_HEADERS)
    if dice.random() < 0.15:
        headers.pop(name, None)
    else:
        headers[name] = dice.choice(ODD)
    return replace(mail, headers=headers)


def _body(mail: Mail, dice: random.Random) -> Mail:
    odd = dice.random() < 0.1
    return replace(mail, body=dice.choice(ODD) if odd else dice.choice(_BODIES))


def _content(mail: Mail, dice: random.Random) -> Mail:
    if dice.random() < 0.5:
        return replace(mail, content_type=dice.choice(_TYPES))
    return replace(mail, content_encoding=dice.choice(_ENCODINGS))


def _packed(mail: Mail, dice: random.Random) -> Mail:
    """Change something within the body, and write it again."""
    try:
        parts = list(msgpack.unpackb(mail.body))
    except (TypeError, ValueError, AttributeError):
        return _body(mail, dice)
    at = dice.randrange(3)
    if at < len(parts) and isinstance(parts[at], dict) and parts[at] and dice.random() < 0.8:
        parts[at] = {**parts[at], dice.choice(list(parts[at])): dice.choice(ODD)}
    elif at < len(parts):
        parts[at] = dice.choice(ODD)
    if dice.random() < 0.1:
        parts.append({})
    try:
        return replace(mail, body=msgpack.packb(parts))
    except (OverflowError, ValueError):
        return replace(
            mail, body=json.dumps(parts, default=repr).encode(), content_type="application/json"
        )


def _compressed(mail: Mail, dice: random.Random) -> Mail:
    headers = mail.headers if isinstance(mail.headers, dict) else {}
    if not isinstance(mail.body, bytes):
        return mail
    name, made = dice.choice((("zlib", zlib.compress), ("bzip2", bz2.compress), ("lzma", bytes)))
    body = bytes(made(mail.body))
    return replace(mail, body=body, headers={**headers, "compression": name})


def _properties(mail: Mail, dice: random.Random) -> Mail:
    if not isinstance(mail.properties, dict) or dice.random() < 0.1:
        return replace(mail, properties=dice.choice(ODD))
    names = ("delivery_info", "delivery_tag", "body_encoding", "priority", "reply_to")
    name = dice.choice((*names, "correlation_id"))
    if name == "delivery_info" and dice.random() < 0.7:
        part = {dice.choice(("exchange", "routing_key")): dice.choice(ODD)}
        value: Any = {**(mail.properties.get(name) or {}), **part}
    else:
        value = dice.choice(ODD)
    return replace(mail, properties={**mail.properties, name: value})


# ── RabbitMQ ────────────────────────────────────────────────────────────────────────────────────


def publish_raw(channel: Any, queue: str, mail: Mail, dice: random.Random) -> None:
    """Publish what may not be publishable otherwise: properties are written byte by byte.

    What AMQP has no word for is left out, as a client in another language would have to.
    """
    flags, parts = 0, b""
    for flag, value in ((0x8000, mail.content_type), (0x4000, mail.content_encoding)):
        if isinstance(value, str):
            flags |= flag
            parts += _short(value.encode("utf-8", "surrogatepass"))
        elif value is not None:
            flags |= flag
            parts += _short(b"\xff\xfe" + str(value).encode()[:50])  # no UTF-8
    if isinstance(mail.headers, Mapping):
        flags |= 0x2000
        parts += _table(mail.headers, dice)
    if dice.random() < 0.1:
        flags |= 0x0400
        parts += _short(b"corr\xff")
    body = (
        mail.body if isinstance(mail.body, bytes) else json.dumps(mail.body, default=repr).encode()
    )
    header = struct.pack(">HHQH", 60, 0, len(body), flags) + parts
    number = channel.channel_id
    method = struct.pack(">HH", 60, 40) + dump_amqp("Bssb", (0, "", queue, False))
    most = channel.connection.frame_max - 8
    frames = [(1, method), (2, header)]
    frames += [(3, body[at : at + most]) for at in range(0, len(body), most)]
    data = b"".join(
        struct.pack(">BHI", kind, number, len(part)) + part + b"\xce" for kind, part in frames
    )
    channel.connection.transport.write(data)


def _short(data: bytes) -> bytes:
    return struct.pack(">B", min(len(data), 255)) + data[:255]


def _table(value: Mapping[str, Any], dice: random.Random) -> bytes:
    parts = b"".join(_short(name.encode()) + _item(item, dice) for name, item in value.items())
    if dice.random() < 0.05:
        parts += _short(b"k\xff") + b"S" + struct.pack(">I", 2) + b"\xff\xfe"
    if dice.random() < 0.05:
        parts += _short(b"when") + b"T" + struct.pack(">Q", 2**62)
    if dice.random() < 0.02:
        depth, nested = 2000, b""
        for _ in range(depth):
            nested = b"A" + struct.pack(">I", len(nested)) + nested
        parts += _short(b"deep") + nested
    return struct.pack(">I", len(parts)) + parts


def _item(value: Any, dice: random.Random) -> bytes:
    if isinstance(value, dict):
        return b"F" + _table(value, dice)
    if isinstance(value, list | tuple):
        parts = b"".join(_item(item, dice) for item in value)
        return b"A" + struct.pack(">I", len(parts)) + parts
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)  # Erlang has no word for it
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return b"S" + struct.pack(">I", len(data)) + data
    return _number(value)


def _number(value: float | None) -> bytes:
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + struct.pack(">B", value)
    if isinstance(value, int) and abs(value) < 2**62:
        return b"l" + struct.pack(">q", value)
    return b"d" + struct.pack(">d", min(value, 1e300))
