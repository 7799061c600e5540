"""Forged messages before a real worker: it does nothing of what they say, and goes on."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from flowcore import Flow, Run
from flowcore.celery.dispatcher import NODE_TASK, UNIT_TASK
from flowcore.celery.signing import Keyring, sign_message
from flowcore.run.status import RunState
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

SUM = {
    "numbers": {"uses": "engine_nodes:numbers"},
    "total": {"uses": "engine_nodes:total", "needs": ["numbers"]},
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of this test's own: the worker is started when the messages are there."""
    with running_valkey() as url, running_engine(url, tmp_path, dispatch_lease="30") as engine:
        yield engine


class Mail:
    """The one message that waits in the queue, to be taken apart and put together again."""

    def __init__(self, engine: Engine) -> None:
        self._client = engine.session.runtime.store.client
        self._queue = engine.session.runtime.default_queue
        self.whole = json.loads(self._client.lpop(self._queue))
        assert not self._client.llen(self._queue)
        self.headers: dict[str, Any] = self.whole["headers"]
        self.args, self.kwargs, self.embed = msgpack.unpackb(base64.b64decode(self.whole["body"]))

    def post(self) -> None:
        body = msgpack.packb((self.args, self.kwargs, self.embed))
        self.whole["body"] = base64.b64encode(body).decode()
        # Each copy is a delivery of its own to the broker.
        self.whole["properties"]["delivery_tag"] += "x"
        self._client.rpush(self._queue, json.dumps(self.whole))

    def waiting(self) -> int:
        return int(self._client.llen(self._queue)) + int(self._client.hlen("unacked"))


def _other_node(mail: Mail) -> None:
    mail.kwargs["node"] = 1


def _other_run(mail: Mail) -> None:
    mail.kwargs["run"] = mail.embed["chord"]["run"] = "other"


def _no_signature(mail: Mail) -> None:
    del mail.kwargs["sig"]


def _wrong_key(mail: Mail) -> None:
    given = {name: mail.kwargs[name] for name in ("run", "plan", "node", "attempt")}
    keys = Keyring(["a secret of somebody else"])
    mail.kwargs = sign_message(keys, NODE_TASK, mail.headers["id"], given)


def _other_task(mail: Mail) -> None:
    mail.headers["task"] = UNIT_TASK


def _short_limit(mail: Mail) -> None:
    mail.headers["timelimit"] = [30.0, None]


def _garbage(mail: Mail) -> None:
    mail.args, mail.kwargs = (1, "two"), {"three": None}


def _expired(mail: Mail) -> None:
    """Celery would revoke it and all of its id; and a node that is revoked stops its run."""
    mail.headers["expires"] = "2020-01-01T00:00:00+00:00"
    del mail.kwargs["sig"]


FORGERIES: list[Callable[[Mail], None]] = [
    _other_node,
    _other_run,
    _no_signature,
    _wrong_key,
    _other_task,
    _short_limit,
    _garbage,
    _expired,
]


def test_no_forged_message_is_obeyed_and_the_worker_goes_on(engine: Engine) -> None:
    session = engine.session
    run = engine.start(SUM, {"n": 4})
    so_far = list(session.runtime.events.read(run.id))
    mail = Mail(engine)
    for forge in FORGERIES:
        kept = json.dumps(mail.whole), dict(mail.kwargs), mail.args, msgpack.packb(mail.embed)
        forge(mail)
        mail.post()
        whole, mail.kwargs, mail.args, embed = kept
        mail.whole, mail.embed = json.loads(whole), msgpack.unpackb(embed)
        mail.headers = mail.whole["headers"]
    engine.workers()
    poll(lambda: not mail.waiting(), what="the forged messages to be dropped")
    log = engine.home / "worker-0.log"
    poll(lambda: log.read_text().count("refused so far") == len(FORGERIES), what="the refusals")
    assert run.status() is RunState.PENDING, "nothing has begun, and nobody has stopped it"
    assert list(session.runtime.events.read(run.id)) == so_far
    mail.post()  # the true one
    result = run.wait(60)
    assert result.success, result.error
    assert result.output == 6
    assert engine.run(SUM, {"n": 5}).output == 10


def test_a_worker_with_another_secret_does_nothing(engine: Engine, tmp_path: Path) -> None:
    url = engine.session.runtime.redis_url
    with running_engine(url, tmp_path, secret="the key of this very test") as other:
        stranger = engine.start(SUM, {"n": 4}, run_id="stranger")
        run = other.start(SUM, {"n": 4}, run_id="ours")
        other.workers()
        assert run.wait(60).output == 6
        log = other.home / "worker-0.log"
        poll(lambda: "refused so far" in log.read_text(), what="the refusal")
        assert stranger.status() is RunState.PENDING


def test_a_forged_canvas_is_not_run(engine: Engine, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    given = {"path": str(mark)}
    flow = Flow.load({"id": "c", "nodes": {"a": {"uses": "engine_nodes:append", "with": given}}})
    canvas = flow.to_canvas({}, session=engine.session)
    forged: Any = canvas.clone()
    forged.tasks[0].args[0]["input"] = {"more": 1}
    engine.workers()
    queue = engine.session.runtime.default_queue
    forged.apply_async(queue=queue)
    log = engine.home / "worker-0.log"
    poll(lambda: "refused a message of a canvas" in log.read_text(), what="the refusal")
    assert not mark.exists()
    flow.to_canvas({}, session=engine.session).apply_async(queue=queue).get(timeout=60)
    assert mark.read_text().count("\n") == 1


def test_a_run_that_was_signed_with_an_old_secret_ends_under_the_new_one(
    engine: Engine, tmp_path: Path
) -> None:
    url = engine.session.runtime.redis_url
    old, new = "the key of last year", "the key of this year"
    with running_engine(url, tmp_path / "a", secret=old) as before:
        run = before.start(SUM, {"n": 4})
    with running_engine(url, tmp_path / "b", secret=f"{new},{old}") as after:
        after.workers()
        assert Run.get(run.id, session=after.session).wait(60).output == 6


def test_messages_stay_small(engine: Engine) -> None:
    engine.start({"numbers-of-the-day": {"uses": "engine_nodes:numbers"}}, id="daily-report")
    mail = Mail(engine)
    assert len(mail.kwargs["sig"]) == 16
    assert len(json.dumps(mail.whole)) < 1500
