"""Random messages before a worker with work going on: no worker dies, and all runs are right.

``FLOWCORE_DEEP=1`` tries 10,000 on each broker.
"""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from flowcore import Run
from tests.deep import count
from tests.integration.conftest import MakeEngine
from tests.integration.test_message_gate import SUM, Post
from tests.mutations import Mail, mutations, raw_mutations

SEED = 20_261_130
MANY = count(500, 10_000)
AT_ONCE = 100


@pytest.fixture(scope="module")
def post(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with make_engine(tmp_path_factory.mktemp("campaign"), dispatch_lease="5") as engine:
        yield Post(engine)


@pytest.mark.both_brokers
@pytest.mark.timeout(1800)
def test_random_messages_end_no_worker_and_change_no_run(post: Post) -> None:
    dice = random.Random(SEED)
    engine = post.engine
    workers = engine.workers(include="own_tasks")
    pids = workers.pids
    stream = mutations(_mails(post), dice)
    runs: list[tuple[int, Run]] = []
    for start in range(0, MANY, AT_ONCE):
        runs += [(n, engine.start(SUM, {"n": n})) for n in (3, 4, 5)]
        post.put(*islice(stream, AT_ONCE), dice=dice)
        if post.on_redis:
            template = post.template.for_redis(start).encode()
            raws = raw_mutations([template], dice)
            post.client.lpush(post.queue, *islice(raws, AT_ONCE // 4))
    for n, run in runs:
        result = run.wait(300)
        assert result.success, result.error
        assert result.output == sum(range(n))
        assert all(node.attempts == 1 for node in run.record().nodes.values())
    post.settle()
    assert workers.pids == pids, "no worker has died"
    log = (engine.home / "worker-0.log").read_text("utf-8", "replace")
    assert "Unrecoverable error" not in log
    assert "Restoring" not in log
    assert post.runtime.refusals.count() > MANY // 4
    assert engine.run(SUM, {"n": 6}).output == 15


def _mails(post: Post) -> list[Mail]:
    """A node's message, a task's of the user's own in two serializers, and one of protocol 1."""
    given: Any = post.template
    own = {**given.headers, "task": "own.nothing", "id": "own-1"}
    old = b'{"task": "own.nothing", "id": "old-1", "args": [], "kwargs": {}, "retries": 0}'
    about = ("application/json", "utf-8", given.properties)
    return [
        given,
        Mail(given.body, own, properties=given.properties),
        Mail(b"[[], {}, {}]", own, *about),
        Mail(old, {}, *about),
    ]
