"""The gate's judgement: all that Celery accepts passes, and nothing that would end its worker."""

import random
import sys
import threading
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, group
from kombu.exceptions import SerializationError
from kombu.message import Message
from kombu.serialization import dumps

from flowcore.celery.gate.body_size import LARGEST, judge_size
from flowcore.celery.gate.refusal import Refuser, shown, shown_error
from flowcore.celery.gate.validation import (
    judge_envelope,
    judge_mail,
    judge_task,
)
from flowcore.ports.refusals import Refusal
from tests.deep import count
from tests.engine import poll
from tests.mutations import Mail, mutations

app: Any = Celery("gate", set_as_current=False)
app.conf.update(accept_content=["json", "msgpack", "yaml", "pickle"])


def message(body: Any, headers: Any, **about: Any) -> Message:
    given = {"content_type": "application/json", "content_encoding": "utf-8", **about}
    made = Message(body, headers=headers, channel=None, **given)
    made.accept = {"application/json", "application/x-msgpack", "application/x-yaml"} | {
        "application/x-python-serialize"
    }
    return made


def sent(protocol: int, serializer: str, **options: Any) -> Message:
    """A message as Celery's own producer makes it."""
    make = app.amqp.as_task_v2 if protocol == 2 else app.amqp.as_task_v1
    task = make("id-1", "own.task", (1, "two"), {"three": 3.0}, **options)
    content_type, encoding, body = dumps(task.body, serializer=serializer)
    return message(
        body,
        {**task.headers, "x-of-nobody": {"deep": [1]}},
        content_type=content_type,
        content_encoding=encoding,
        properties=task.properties,
    )


OPTIONS: list[dict[str, Any]] = [
    {},
    {"countdown": 10},
    {"eta": datetime.now(UTC) + timedelta(days=9), "expires": 3600},
    {"eta": datetime(9999, 12, 31, tzinfo=UTC)},
    {"time_limit": 30, "soft_time_limit": 10.5},
    {"retries": 3, "root_id": "r", "parent_id": "p", "group_id": "g", "shadow": "s"},
    {"argsrepr": "(…)", "kwargsrepr": "\ud800", "origin": "x"},
]


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "plain")
def test_all_that_celery_sends_passes(
    protocol: int, serializer: str, options: dict[str, Any]
) -> None:
    if protocol == 1:
        options = {
            name: value
            for name, value in options.items()
            if name not in {"root_id", "parent_id", "shadow", "argsrepr", "kwargsrepr", "origin"}
        }
    try:
        made = sent(protocol, serializer, **options)
    except SerializationError:
        pytest.skip(f"{serializer} is not installed")
    assert judge_task(made, zone=app.conf.timezone) is None


def test_links_chords_chains_and_stamps_pass() -> None:
    one = app.signature("own.task", (1,))
    callbacks, errbacks = [dict(one), dict(group([one, one]))], [dict(one)]
    task = app.amqp.as_task_v2(
        "id-1",
        "own.task",
        (),
        {},
        callbacks=callbacks,
        errbacks=errbacks,
        chord=dict(one),
        chain=[dict(one)],
        stamped_headers=["a"],
        a=["x", 5],
    )
    _, _, body = dumps(task.body, serializer="json")
    assert judge_task(message(body, task.headers), zone=app.conf.timezone) is None


def test_a_compressed_message_passes_and_one_that_explodes_does_not() -> None:
    assert judge_size(zlib.compress(b"x" * 1000), "zlib") is None
    assert judge_size(b"anything", "of somebody else") is None
    zeros = zlib.compressobj()
    bomb = b"".join(zeros.compress(bytes(2**20)) for _ in range(LARGEST // 2**20 + 1))
    bomb += zeros.flush()
    assert len(bomb) < 2**20
    assert "decompressed" in (judge_size(bomb, "application/x-gzip") or "")


COMMANDS: list[tuple[bytes, bool]] = [
    (b'{"method": "ping", "arguments": {}, "destination": null}', True),
    (b'{"method": "revoke", "arguments": {"task_id": ["a"]}, "destination": ["w@h"]}', True),
    (b'{"method": "ping", "reply_to": {"exchange": "e", "routing_key": "r"}}', True),
    (b'{"method": "ping", "reply_to": {"exchange": "e"}}', False),
    (b'{"method": "ping", "destination": 5}', False),
    (b'{"method": "ping", "arguments": [1]}', False),
    (b'{"method": 5}', False),
    *((body, False) for body in (b"null", b"[]", b"5", b"{", b"", b"[" * 100_000)),
]


@pytest.mark.parametrize(("body", "good"), COMMANDS, ids=lambda value: repr(value)[:30])
def test_commands_of_celerys_remote_control(body: bytes, good: bool) -> None:
    reason = judge_mail("w@h.celery.pidbox", body, {"clock": 5}, "application/json", "utf-8")
    assert (reason is None) is good


@pytest.mark.parametrize("clock", ["5", -1, 2**80, [], 1.5])
def test_a_command_does_not_set_the_clock_to_nonsense(clock: Any) -> None:
    assert judge_mail(
        "w@h.celery.pidbox", b'{"method": "ping"}', {"clock": clock}, "application/json", "utf-8"
    )


ANSWERS: list[tuple[bytes, dict[str, Any], bool]] = [
    (b'{"io@h": {"revoked": [], "clock": 51}}', {"clock": 3, "ticket": "t"}, True),
    (b'{"io@h": {"ok": "pong"}}', {"ticket": "t", "expires": 0}, True),
    (b'{"io@h": {"ok": "pong"}}', {"ticket": ["t"]}, False),
    (b'{"io@h": {"ok": "pong"}}', {"ticket": "t", "expires": "soon"}, False),
    (b'{"io@h": {"ok": "pong"}}', {"ticket": "t", "clock": "5"}, False),
    *((body, {"ticket": "t"}, False) for body in (b"null", b"[]", b"5", b"{", b"")),
]


@pytest.mark.parametrize(("body", "headers", "good"), ANSWERS, ids=lambda value: repr(value)[:30])
def test_answers_of_celerys_remote_control(
    body: bytes, headers: dict[str, Any], good: bool
) -> None:
    queue = "85426d69-e9c8-3721-a41a-57bd2c8154e7.reply.celery.pidbox"
    assert (judge_mail(queue, body, headers, "application/json", "utf-8") is None) is good


@pytest.mark.parametrize("queue", ["w@h.celery.pidbox", "w@h.reply.celery.pidbox"])
def test_no_answer_is_a_command(queue: str) -> None:
    answer = b'{"io@h": {"ok": "pong"}}'
    assert judge_mail(queue, answer, {"ticket": "t"}, "application/json", "utf-8")


def test_no_random_message_makes_the_gate_raise() -> None:
    """It is asked in the worker's loop: an error there would end the worker."""
    dice = random.Random(4)
    real = sent(2, "msgpack")
    info = {"exchange": "", "routing_key": "q"}
    properties = {"delivery_tag": "t", "delivery_info": info, "body_encoding": "base64"}
    ours = {**real.headers, "task": "flowcore.node"}
    mails = [Mail(real.body, real.headers, properties=properties), Mail(real.body, ours)]
    passed = 0
    stream = mutations(mails, dice)
    for _ in range(count(3000, 10_000)):
        mail = next(stream)
        whole = {"body": "eA==", "headers": mail.headers, "properties": mail.properties}
        whole |= {"content-type": mail.content_type, "content-encoding": mail.content_encoding}
        if judge_envelope(whole) is not None or not isinstance(mail.body, bytes):
            continue
        made = message(
            mail.body,
            mail.headers,
            content_type=mail.content_type,
            content_encoding=mail.content_encoding,
        )
        passed += judge_task(made, zone=app.conf.timezone) is None
    assert passed > 100, "some of them are messages still"


# ── What is refused ─────────────────────────────────────────────────────────────────────────────


class Log:
    """Keeps refusals in memory."""

    def __init__(self) -> None:
        self.kept: list[Refusal] = []
        self.counted = 0

    def keep(self, refusals: Sequence[Refusal], *, count: int) -> None:
        self.kept += refusals
        self.counted += count


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("not even this")

    __str__ = __repr__


def test_refusals_are_counted_and_written_from_a_thread_of_their_own() -> None:
    log: Any = Log()
    refuser = Refuser(lambda: log)
    for number in range(2000):
        refuser.refuse({"n": number}, "it is a test", queue="q")
    assert refuser.count == 2000
    poll(lambda: log.counted == 2000, what="the count")
    assert 0 < len(log.kept) <= 2000
    assert log.kept[0].reason == "it is a test"
    poll(
        lambda: all(each.name != "flowcore-refusals" for each in threading.enumerate()),
        what="the thread's end",
    )


def test_what_is_kept_is_short_and_printable() -> None:
    odd = {"a": "\x1b[31m\u202e\ud800" * 10_000, "b": Mute(), "c": b"\xff" * 10**6}
    text = shown(odd)
    assert len(text) <= 1000
    assert text.isascii()
    assert text.isprintable()
    assert shown(Mute())
    assert shown_error(ValueError("\x1b\ud800" * 1000)).isprintable()


@pytest.mark.parametrize(
    ("package", "kind"), [("brotli", "application/x-brotli"), ("zstandard", "application/zstd")]
)
def test_a_bomb_of_a_kind_that_is_installed_is_refused(package: str, kind: str) -> None:
    packer: Any = pytest.importorskip(package)
    bomb, good = (packer.compress(b"\0" * size) for size in (LARGEST + 1, 1000))
    assert "once it is decompressed" in (judge_size(bomb, kind) or "")
    assert judge_size(good, kind) is None
    assert "cannot be decompressed" in (judge_size(b"nonsense", kind) or "")


@pytest.mark.parametrize("kind", ["application/x-brotli", "application/zstd"])
def test_what_cannot_be_decompressed_here_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("brotli", "zstandard"):
        monkeypatch.setitem(sys.modules, package, None)
    assert "cannot be decompressed" in (judge_size(b"anything", kind) or "")
