"""What is RabbitMQ's own: its queues, confirms, restarts; runs stay in Redis.

The tests marked ``both_brokers`` in the other files run on it too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from flowcore import Flow
from flowcore.cli.commands.doctor import doctor
from flowcore.cli.output import Format
from flowcore.client.flow import start_run
from flowcore.run.status import RunState
from tests.brokers import RabbitServer, running_rabbitmq
from tests.engine import Engine, poll, running_engine
from tests.flower_services import running_flower
from tests.services import running_valkey

NUMBERS = {"uses": "engine_nodes:numbers"}
SHORT = {"lease": "1.0", "heartbeat": "0.25", "dispatch_lease": "1.0", "work_first": "off"}


def _declare_classic(connection: Any, queue: str) -> None:
    connection.default_channel.queue_declare(queue, durable=True, auto_delete=False)


@pytest.fixture
def own(rabbitmq: RabbitServer, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a virtual host of this test's own, with a message for each node."""
    with (
        running_valkey() as url,
        running_engine(url, tmp_path, broker_url=rabbitmq.fresh(), **SHORT) as engine,
    ):
        yield engine


def test_runs_outlive_kill_9_of_the_broker_and_are_accepted_without_it(
    rabbitmq: RabbitServer, own: Engine, tmp_path: Path
) -> None:
    own.workers()
    go, mark = tmp_path / "go", tmp_path / "mark"
    hold = {"uses": "engine_nodes:wait_for", "with": {"path": str(go), "mark": str(mark)}}
    nodes: dict[str, Any] = {"first": NUMBERS, "hold": {**hold, "needs": ["first"]}}
    nodes |= {f"n{i}": {**NUMBERS, "needs": ["hold"]} for i in range(5)}
    nodes["last"] = {**NUMBERS, "needs": [f"n{i}" for i in range(5)]}
    under_way = own.start(nodes)
    poll(mark.exists, what="the node to run")
    rabbitmq.kill()
    try:
        go.write_text("went")
        poll(lambda: under_way.record().nodes["hold"].state == "succeeded", what="the record")
        submitted = own.start({"a": NUMBERS, "b": {"uses": "engine_nodes:total", "needs": ["a"]}})
        assert submitted.record().state is RunState.PENDING
    finally:
        rabbitmq.start()
    for handle in (under_way, submitted):
        result = handle.wait(60)
        assert result.success, result.error
        assert {node.attempts for node in result.nodes.values()} == {1}


def test_what_was_published_is_in_a_quorum_queue_and_survives_kill_9(
    rabbitmq: RabbitServer, own: Engine
) -> None:
    # RabbitMQ 3.10 needs about a second to keep a new queue; killed before, it never serves it.
    own.workers(queues="kept").stop()
    handle = own.start({f"n{i}": {**NUMBERS, "queue": "kept"} for i in range(100)})
    rabbitmq.kill()
    rabbitmq.start()
    assert len(own.take_messages("kept")) == 100
    with own.session.runtime.app.connection_for_read() as connection:
        refused = connection.channel_errors
        with pytest.raises(refused, match=r"inequivalent arg 'x-queue-type'.*'quorum'|current is"):
            _declare_classic(connection, "kept")
    handle.cancel()


def test_a_group_that_the_broker_refuses_is_an_error(own: Engine) -> None:
    runtime = own.session.runtime
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with runtime.app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        channel.exchange_declare("full", "direct", durable=True, auto_delete=False)
        channel.queue_declare("full", durable=True, auto_delete=False, arguments=full)
        channel.queue_bind("full", "full", "full")

    def send(count: int, *, exchange: str, routing_key: str) -> None:
        with runtime.producers.batch() as producer:
            for _ in range(count):
                producer.publish({}, exchange=exchange, routing_key=routing_key)

    with pytest.raises(OperationalError, match=r"the broker refused [1-9] messages"):
        send(9, exchange="full", routing_key="full")
    send(1, exchange="", routing_key="fine")
    assert len(own.take_messages("fine")) == 1


def test_a_janitor_can_tell_what_waits_in_a_queue(own: Engine) -> None:
    handle = own.start({f"n{i}": NUMBERS for i in range(3)})
    dispatcher = own.session.runtime.dispatcher
    assert dispatcher.waiting(own.session.runtime.default_queue) == 3
    assert dispatcher.waiting("never-declared") == 0
    handle.cancel()


def test_an_urgent_run_overtakes_a_backlog_and_a_patient_one_is_not_starved(
    own: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    note = {"uses": "engine_nodes:note", "with": {"path": str(log), "text": "${{ inputs.text }}"}}
    plan = Flow.load({"id": "lanes", "nodes": {"only": note}}).plan()
    handles = [start_run(own.session, plan, {"text": "normal"}) for _ in range(40)]
    for text, priority in (("low", 0), ("high", 9)):
        handles.append(start_run(own.session, plan, {"text": text}, priority=priority))
    own.workers(slots=1)
    for handle in handles:
        assert handle.wait(60).success
    order = log.read_text().split()
    assert len(order) == 42
    assert order.index("high") < 20
    assert order.index("low") < 20


@pytest.mark.slow
def test_a_node_that_takes_longer_than_the_brokers_patience_runs_once(tmp_path: Path) -> None:
    # RabbitMQ closes the channel of a worker that holds a message for too long: half an hour,
    # here three seconds.
    patience = "-rabbit consumer_timeout 3000 -rabbit channel_tick_interval 1000"
    with (
        running_rabbitmq(patience, hosts=1) as server,
        running_valkey() as url,
        running_engine(url, tmp_path, broker_url=server.fresh(), **SHORT) as engine,
    ):
        engine.workers()
        go, mark = tmp_path / "go", tmp_path / "mark"
        hold = {"uses": "engine_nodes:wait_for", "with": {"path": str(go), "mark": str(mark)}}
        handle = engine.start({"hold": hold, "next": {**NUMBERS, "needs": ["hold"]}})
        log = tmp_path / "worker-0.log"
        poll(lambda: "PRECONDITION_FAILED" in log.read_text(), what="the broker to lose patience")
        go.write_text("went")
        result = handle.wait(60)
        assert result.success, result.error
        assert len(mark.read_text().splitlines()) == 1
        assert {node.attempts for node in result.nodes.values()} == {1}
        assert engine.run({"after": NUMBERS}).success


def test_doctor_names_the_broker_and_a_queue_of_another_kind(
    own: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own.session.runtime.settings
    monkeypatch.setenv("FLOWCORE_REDIS_URL", settings.redis_url or "")
    monkeypatch.setenv("FLOWCORE_BROKER_URL", settings.broker_url or "")
    assert doctor(Format.JSON) == 0
    assert "RabbitMQ 3." in capsys.readouterr().out
    with own.session.runtime.app.connection_for_write() as connection:
        _declare_classic(connection, "classic")
    monkeypatch.setenv("FLOWCORE_QUEUE", "classic")
    assert doctor(Format.JSON) == 1
    assert "delete that queue, or set FLOWCORE_QUEUE" in capsys.readouterr().out


@pytest.mark.flower
def test_flower_sees_runs_on_rabbitmq(own: Engine, tmp_path: Path) -> None:
    broker = own.session.runtime.settings.broker_url
    assert broker
    with running_flower(broker, tmp_path) as flower:
        own.workers()
        poll(flower.hears_events, what="Flower to hear events")
        handle = own.start({"a": NUMBERS, "b": {"uses": "engine_nodes:total", "needs": ["a"]}})
        assert handle.wait(60).success

        def rows() -> dict[str, str]:
            return {row["uuid"]: row["state"] for row in flower.search(f"kwargs:run={handle.id}")}

        wanted = dict.fromkeys([handle.id, f"{handle.id}.a", f"{handle.id}.b"], "SUCCESS")
        poll(lambda: rows() == wanted, what="three rows that succeeded")
