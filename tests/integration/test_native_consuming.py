"""Messages of nodes are doorbells: a worker keeps no copy of them, and gives back what it has."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.engine import Engine, poll, running_engine

pytestmark = pytest.mark.integration


@pytest.fixture
def engine(valkey_server: str, redis_client: "redis.Redis", tmp_path: Path) -> Iterator[Engine]:
    with running_engine(valkey_server, tmp_path, work_first="off") as made:
        yield made


def _waiting(engine: Engine) -> int:
    runtime = engine.session.runtime
    return runtime.dispatcher.waiting(runtime.default_queue)


def test_a_copy_is_kept_of_the_users_own_tasks_and_not_of_nodes(
    engine: Engine, redis_client: "redis.Redis", tmp_path: Path
) -> None:
    go = tmp_path / "go"
    engine.workers(include="own_tasks")
    given = {"path": str(go), "mark": str(tmp_path / "node")}
    run = engine.start({"long": {"uses": "engine_nodes:wait_for", "with": given}})
    poll((tmp_path / "node").exists, what="the node to begin")
    assert redis_client.hlen("unacked") == 0
    app, queue = engine.session.runtime.app, engine.session.runtime.default_queue
    app.send_task("own.wait_for", (str(go), str(tmp_path / "task")), queue=queue)
    poll((tmp_path / "task").exists, what="the task to begin")
    assert redis_client.hlen("unacked") == 1
    go.touch()
    assert run.wait(timeout=60).success
    poll(lambda: redis_client.hlen("unacked") == 0, what="the task to be acknowledged")


def _leave(connection: Any, message: Any) -> None:
    connection.close()


def _requeue(connection: Any, message: Any) -> None:
    message.requeue()


def _acknowledge(connection: Any, message: Any) -> None:
    message.ack()
    connection.close()


def _reject(connection: Any, message: Any) -> None:
    message.reject()
    connection.close()


@pytest.mark.parametrize(
    ("end", "back"),
    [(_leave, 3), (_requeue, 1), (_acknowledge, 2), (_reject, 2)],
    ids=["worker stops", "requeued", "acknowledged", "rejected"],
)
def test_what_is_not_acknowledged_goes_back_to_its_queue(
    engine: Engine, end: Callable[[Any, Any], None], back: int
) -> None:
    engine.start({name: {"uses": "engine_nodes:numbers"} for name in "abc"})
    assert _waiting(engine) == 3
    app: Any = engine.session.runtime.app
    queue = engine.session.runtime.default_queue
    taken: list[Any] = []
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection, queues=[app.amqp.queues[queue]])
        consumer.on_message = taken.append
        consumer.consume()
        while len(taken) < 3:
            connection.drain_events(timeout=10)
        assert _waiting(engine) == 0
        end(connection, taken[0])
        assert _waiting(engine) == back
    again = engine.take_messages()
    assert all(message.headers["redelivered"] for message in again)
