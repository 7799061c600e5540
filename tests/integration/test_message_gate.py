"""What is no message ends no worker: it is refused, counted and kept aside, on both brokers.

The smallest inputs here; random ones in test_message_campaign.
"""

import base64
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from flowcore.assembly.supervisor import LocalWorkers
from tests.deep import count
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine
from tests.mutations import Mail, publish_raw

SUM = {
    "numbers": {"uses": "engine_nodes:numbers"},
    "total": {"uses": "engine_nodes:total", "needs": ["numbers"]},
}


class Post:
    """A way to put anything at all before a worker."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.runtime = engine.session.runtime
        self.queue = self.runtime.default_queue
        self.on_redis = not (self.runtime.settings.broker_url or "").startswith("amqp")
        self.client: Any = self.runtime.store.client
        self.number = 0
        self.template = self._template()

    def _template(self) -> Mail:
        """A real message, of a run that is not: its worker finds nothing to do."""
        engine = self.engine
        run = engine.start(SUM, {"n": 4})
        if self.on_redis:
            (raw,) = self.client.lrange(self.queue, 0, -1)
            self.client.delete(self.queue)
            mail = Mail.of_redis(raw)
        else:
            (message,) = engine.take_messages()
            mail = Mail(message.body, message.headers)
        run.cancel("only its message was wanted")
        return mail

    def put(self, *mails: Mail, dice: random.Random | None = None) -> None:
        """Put messages into the queue."""
        if self.on_redis:
            for mail in mails:
                self.number += 1
                self.client.lpush(self.queue, mail.for_redis(self.number))
            return
        with self.runtime.app.connection_for_write() as connection:
            channel: Any = connection.default_channel
            for mail in mails:
                publish_raw(channel, self.queue, mail, dice or random.Random(1))
            channel.queue_declare(self.queue, passive=True)  # answered after all of them came

    def with_body(self, body: Any, **headers: Any) -> Mail:
        about = {**self.template.headers, **headers}
        return Mail(body, about, properties=self.template.properties)

    def waiting(self) -> int:
        if self.on_redis:
            return int(self.client.llen(self.queue)) + int(self.client.hlen("unacked"))
        return int(self.runtime.dispatcher.waiting(self.queue))

    def settle(self) -> None:
        poll(lambda: not self.waiting(), what="the queue to be empty")

    def refused(self) -> list[str]:
        return [one.reason for one in self.runtime.refusals.latest(limit=1000)]


@pytest.fixture(scope="module")
def scene(
    make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Post, LocalWorkers]]:
    with make_engine(tmp_path_factory.mktemp("gate"), dispatch_lease="30") as engine:
        post = Post(engine)
        yield post, engine.workers(include="own_tasks")


def _all_is_well(post: Post, workers: LocalWorkers, pids: tuple[int, ...]) -> None:
    result = post.engine.run(SUM, {"n": 5})
    assert result.success, result.error
    assert result.output == 10
    post.settle()
    assert workers.pids == pids, "no worker has died"
    log = (post.engine.home / "worker-0.log").read_text("utf-8", "replace")
    assert "Unrecoverable error" not in log
    assert "Restoring" not in log


def _bodies() -> list[Any]:
    """The bodies of row A1, and their neighbours."""
    texts = (
        *(b"null", b"[]", b"[1,2,3,4]", b"", b"{}", b"7", b"[[],{}]", b'"abc"', b"[5,{},{}]"),
        *(b"[[],5,{}]", b"[[],{},5]", b'[[],{},{"errbacks":5}]', b'[[],{},{"chord":[1]}]', b"{"),
        *(b"[" * 50_000, b"\xff\xfe"),
    )
    return list(texts)


@pytest.mark.both_brokers
def test_no_body_ends_a_worker(scene: tuple[Post, LocalWorkers]) -> None:
    post, workers = scene
    pids = workers.pids
    before = post.runtime.refusals.count()
    bodies = _bodies()
    for task in ("flowcore.node", "own.wait_for"):
        mails = [
            Mail(
                body,
                {**post.template.headers, "task": task},
                "application/json",
                "utf-8",
                post.template.properties,
            )
            for body in bodies
        ]
        post.put(*mails)
    wanted = before + 2 * len(bodies)
    poll(lambda: post.runtime.refusals.count() == wanted, what="the refusals")
    _all_is_well(post, workers, pids)


ODD_HEADERS: dict[str, list[Any]] = {
    "timelimit": [[1, 2, 3], ["5", None], [None], {"a": 1, "b": 2}, 7, ["nan", None]],
    "eta": ["", 0, [], {}, "never", "0001-01-01T00:00:00+23:59"],
    "expires": ["", 0, [], {}, "never", 5],
    "id": [None, 5, [], {}, "", "\ud800"],
    "task": [None, 5, [], {}, "", "\ud800"],
    "group": [5, [], {}, "\ud800"],
    "root_id": [[], {}],
    "stamped_headers": [[[]], 5, "x", [{}]],
    "stamps": [[1], 5, "x"],
    "chord": [5, [1]],
    "errbacks": [5, {"a": 1}, [5]],
    "compression": [5, [], {}, "nonsense", "zlib"],
}


@pytest.mark.both_brokers
def test_no_header_ends_a_worker(scene: tuple[Post, LocalWorkers]) -> None:
    post, workers = scene
    pids = workers.pids
    before = post.runtime.refusals.count()
    whole = msgpack.packb(([], {}, {}))
    mails = [
        post.with_body(whole, **{"task": "own.nothing", name: value})
        for name, values in ODD_HEADERS.items()
        for value in values
    ]
    post.put(*mails)
    wanted = before + len(mails)
    poll(lambda: post.runtime.refusals.count() >= wanted, what="the refusals")
    _all_is_well(post, workers, pids)


#: What a message of a user's own task may embed, as far as a sender's mistake goes.
ODD_EMBEDDED: list[dict[str, Any]] = [
    *({"errbacks": [{}]}, {"errbacks": [{"task": 5}]}, {"errbacks": [{"task": "a", "options": 5}]}),
    *({"callbacks": [{}]}, {"callbacks": [{"task": None}]}, {"chain": [{"task": "x", "args": 5}]}),
    *({"chord": {}}, {"chord": {"task": "x", "kwargs": {"body": 5}}}, {"chord": {"options": 5}}),
    {"callbacks": [{"task": "x", "subtask_type": "group", "kwargs": {"tasks": 5}}]},
    {"errbacks": [{"task": "x", "subtask_type": "chain", "kwargs": {"tasks": [5]}}]},
    *({"callbacks": [5]}, {"errbacks": 5}, {"chord": [1]}, {"chain": {"task": "x"}}),
]
ODD_WAYS: list[dict[str, Any]] = [
    *({}, {"reply_to": 5}, {"group": "g", "group_index": "x"}, {"root_id": "\u00e9"}),
    *({"ignore_result": "x"}, {"retries": "x"}, {"replaced_task_nesting": "x"}, {"lang": "../x"}),
    *({"timelimit": [None, 1e-9]}, {"timelimit": [2**40, 2**40]}, {"expires": "0001-01-01"}),
    *({"eta": "1970-01-01T00:00:00"}, {"stamped_headers": ["id"], "stamps": {"id": 5}}),
    {f"header-{number}": number for number in range(2000)},
]


@pytest.mark.both_brokers
def test_nothing_that_a_users_message_embeds_ends_a_worker(
    scene: tuple[Post, LocalWorkers],
) -> None:
    """In both protocols, for a task that fails: Celery looks into all of it then."""
    post, workers = scene
    pids = workers.pids
    about = ("application/json", "utf-8", post.template.properties)
    mails: list[Mail] = []
    for number, embedded in enumerate(ODD_EMBEDDED):
        for odd in ODD_WAYS[number % 3 :: 3]:
            id = f"odd-{len(mails)}"
            headers = {**post.template.headers, "task": "own.wait_for", "id": id, **odd}
            body = json.dumps([[1, 2, 3], {}, embedded])
            mails.append(Mail(body.encode(), headers, *about))
        old = {"task": "own.wait_for", "id": f"old-{number}", "args": [1, 2, 3], "kwargs": {}}
        mails.append(Mail(json.dumps({**old, **embedded}).encode(), {}, *about))
    post.put(*mails)
    _all_is_well(post, workers, pids)


@pytest.mark.timeout(1200)
def test_a_flood_of_refused_messages_stops_nobody_and_is_kept_in_bounds(
    scene: tuple[Post, LocalWorkers],
) -> None:
    post, workers = scene
    pids, many = workers.pids, count(2000, 100_000)
    refusals = post.runtime.refusals
    before, log = refusals.count(), post.engine.home / "worker-0.log"
    written = log.stat().st_size
    junk = post.with_body(b"null")
    for start in range(0, many, 1000):
        raws = [junk.for_redis(number) for number in range(start, start + 1000)]
        post.client.lpush(post.queue, *raws)
    behind = post.engine.start(SUM, {"n": 6})  # its messages come after all of them
    poll(lambda: refusals.count() >= before + many, what="the refusals", patience=600)
    assert behind.wait(60).output == 15
    _all_is_well(post, workers, pids)
    assert len(refusals.latest(limit=many)) <= 500
    assert (log.stat().st_size - written) / many < 300, "at most a line for each"


def test_no_entry_of_a_list_ends_a_worker(scene: tuple[Post, LocalWorkers]) -> None:
    """On Redis anything may be in the list: what is no message is refused before kombu reads it."""
    post, workers = scene
    pids = workers.pids
    before = post.runtime.refusals.count()
    good = json.loads(post.template.for_redis(0))
    changed: list[Any] = [
        *(None, 5, [], {}, "text", {**good, "properties": None}, {**good, "headers": []}),
        *({**good, "body": None}, {**good, "body": {}}, {**good, "body": "a"}, {**good, "body": 5}),
        *({**good, "content-type": []}, {**good, "content-encoding": 5}),
        {**good, "headers": {**good["headers"], "compression": "zlib"}},
    ]
    for name in ("delivery_info", "delivery_tag"):
        properties = dict(good["properties"])
        del properties[name]
        changed.append({**good, "properties": properties})
        odd: list[Any] = [None, [], {}, 5, ""]
        changed += [{**good, "properties": {**good["properties"], name: value}} for value in odd]
    encodings: list[Any] = [5, [], "nonsense", {}]
    for value in encodings:
        changed.append({**good, "properties": {**good["properties"], "body_encoding": value}})
    del good["properties"]
    changed.append(good)
    raws = [json.dumps(one).encode() for one in changed]
    raws += [b"no json", b"\xff\xfe\x00", b"[" * 100_000, b'{"__type__": [], "__value__": 1}']
    raws += [b'{"__type__": "uuid", "__value__": 5}', b'"\\ud800"', b"NaN", b"9" * 5000]
    for raw in raws:
        post.client.lpush(post.queue, raw)
    wanted = before + len(raws)
    poll(lambda: post.runtime.refusals.count() >= wanted - 1, what="the refusals")
    _all_is_well(post, workers, pids)


def test_no_broadcast_ends_a_worker(scene: tuple[Post, LocalWorkers]) -> None:
    """Celery's remote control and the events of other workers come by channels of Redis."""
    post, workers = scene
    pids = workers.pids
    before = post.runtime.refusals.count()
    good = json.loads(post.template.for_redis(0))
    bodies = [b"null", b"[]", b"5", b"{", b'{"method": 5}', b'{"method": "ping", "arguments": 5}']
    about = {"content-type": "application/json", "content-encoding": "utf-8"}
    raws = [
        json.dumps({**good, **about, "body": base64.b64encode(body).decode()}) for body in bodies
    ]
    raws += ["{}", "null", "no json", "[" * 100_000, '{"properties": {}}']
    with post.runtime.app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        topic = channel._get_publish_topics("celery.pidbox", "")[0]
    heard = [post.client.publish(topic, raw) for raw in raws]
    assert all(heard), "the worker listens"
    poll(lambda: post.runtime.refusals.count() > before, what="a refusal")
    assert post.runtime.app.control.ping(timeout=30, limit=1), "the worker still answers"
    _all_is_well(post, workers, pids)


def test_a_copy_that_is_none_stops_no_other_from_being_put_back(
    scene: tuple[Post, LocalWorkers],
) -> None:
    post, workers = scene
    pids = workers.pids
    before = post.runtime.refusals.count()
    for number, raw in enumerate(("no json", "[1]", "[[" * 50_000, '[{"headers": 5}, "", "q"]')):
        post.client.hset("unacked", f"bad-{number}", raw)
        post.client.zadd("unacked_index", {f"bad-{number}": number + 1.0})
    poll(lambda: not post.client.zcard("unacked_index"), what="the copies to be dealt with")
    poll(lambda: post.runtime.refusals.count() >= before + 3, what="the refusals")
    _all_is_well(post, workers, pids)


def test_doctor_counts_what_was_refused_and_list_shows_and_drops_it(
    scene: tuple[Post, LocalWorkers],
) -> None:
    post, _ = scene
    env = {**post.engine.session.worker_env([]), "FLOWCORE_HOME": str(post.engine.home)}

    def cli(*argv: str) -> str:
        command = [sys.executable, "-m", "flowcore.cli", *argv]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    post.runtime.refusals.drop()
    before = 0
    post.put(post.with_body(b"\x1b[31mred", task="own.nothing"))
    poll(lambda: post.runtime.refusals.count() > before, what="the refusal")
    (latest,) = post.runtime.refusals.latest(limit=1)
    assert f"{before + 1} refused, the last on {post.queue}: {latest.reason}" in cli("doctor")
    (row,) = json.loads(cli("list", "--refused", "--limit", "1", "-o", "json"))
    assert row["reason"] == latest.reason
    assert row["queue"] == post.queue
    assert "own.nothing" in row["message"]
    assert "\x1b" not in cli("list", "--refused")
    assert f"forgot {before + 1} refused messages" in cli("list", "--refused", "--drop")
    assert post.runtime.refusals.count() == 0
    assert json.loads(cli("list", "--refused", "-o", "json")) == []
