"""Runs outlive the death of the primary, where Sentinels promote its replica."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowcore.cli.commands.doctor import doctor
from flowcore.cli.output import Format
from flowcore.errors import ServiceError, StoreUnreachableError
from flowcore.stores.redis.connection.connect import connect, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection
from tests.brokers import Replicated, running_replicated
from tests.engine import Engine, poll, running_engine

NUMBERS = {"uses": "engine_nodes:numbers"}


@pytest.fixture
def replicated() -> Iterator[Replicated]:
    with running_replicated() as servers:
        yield servers


@pytest.fixture
def engine(replicated: Replicated, tmp_path: Path) -> Iterator[Engine]:
    """An engine whose runs and whose messages are on what the Sentinels name."""
    short = {"lease": "2.0", "heartbeat": "0.5", "dispatch_lease": "1.0"}
    with running_engine(replicated.url, tmp_path, **short) as engine:
        yield engine


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_run_ends_after_its_primary_was_killed(
    replicated: Replicated, engine: Engine, tmp_path: Path, pool: str
) -> None:
    engine.workers(pool=pool)
    assert engine.run({"before": NUMBERS}).success
    go, mark = tmp_path / "go", tmp_path / "mark"
    hold = {"uses": "engine_nodes:wait_for", "with": {"path": str(go), "mark": str(mark)}}
    nodes: dict[str, Any] = {"first": NUMBERS, "hold": {**hold, "needs": ["first"]}}
    nodes |= {f"n{i}": {**NUMBERS, "needs": ["hold"]} for i in range(5)}
    nodes["last"] = {**NUMBERS, "needs": [f"n{i}" for i in range(5)]}
    handle = engine.start(nodes)
    poll(mark.exists, what="the node to run")
    with replicated.client(0) as client:
        assert client.execute_command("WAIT", 1, 10_000) == 1
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(handle.wait, 60)
        replicated.kill_primary()
        poll(replicated.replica_is_promoted, what="the replica to be promoted")
        go.write_text("went")
        result = waiting.result()
    assert result.success, result.error
    assert result.outputs["hold"] == "went"
    assert engine.run({"after": NUMBERS}).success


def test_a_kept_connection_leaves_a_primary_that_was_demoted(replicated: Replicated) -> None:
    client = connect(replicated.url)
    write = Script(ScriptConnection(client), "return redis.call('INCR', 'counter')")
    assert write(args=()) == 1
    with replicated.client(0) as primary:
        assert primary.execute_command("WAIT", 1, 10_000) == 1
    replicated.sentinel("FAILOVER", replicated.NAME)
    poll(replicated.replica_is_promoted, what="the replica to be promoted")
    # Until the old primary hears that it is none, it takes writes, and they are lost. Sentinels
    # tell it after some ten seconds; here it hears at once.
    with replicated.client(0) as primary:
        primary.replicaof("127.0.0.1", replicated.ports[1])
    assert write(args=()) == 2
    with replicated.client(1) as promoted:
        assert promoted.execute_command("SELECT", 2)
        assert promoted.get("counter") == b"2"


def test_a_replica_and_a_sentinel_are_no_place_for_runs(replicated: Replicated) -> None:
    secret = replicated.SECRET.replace(" ", "%20")
    with pytest.raises(StoreUnreachableError, match="this server is a replica"), translated():
        connect(f"redis://:{secret}@127.0.0.1:{replicated.ports[1]}").ping()
    port = replicated.sentinels[0]
    with pytest.raises(ServiceError, match="this server is a Sentinel"), translated():
        connect(f"redis://:{replicated.SENTINEL_SECRET}@127.0.0.1:{port}").ping()


def test_a_primary_without_enough_replicas_is_out_of_reach_for_now(replicated: Replicated) -> None:
    client = connect(replicated.url)
    with replicated.client(0) as primary:
        primary.config_set("min-replicas-to-write", 2)
    with pytest.raises(StoreUnreachableError, match="are its replicas up"), translated():
        client.set("key", "value")


def test_doctor_counts_the_replicas(
    replicated: Replicated, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", replicated.url)
    assert doctor(Format.JSON) == 0
    assert "1 connected, min-replicas-to-write not set" in capsys.readouterr().out
    with replicated.client(0) as primary:
        primary.config_set("min-replicas-to-write", 1)
    assert doctor(Format.JSON) == 0
    assert "1 connected, min-replicas-to-write set" in capsys.readouterr().out
