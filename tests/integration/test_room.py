"""A Redis that fills up: a warning, then no new runs, then a word to those who wait."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore import Run
from flowcore.errors import StoreFullError
from flowcore.run.event import EventType
from flowcore.stores.redis.connection import capacity as room_module
from flowcore.stores.redis.connection.capacity import RedisRoom
from flowcore.stores.redis.connection.connect import translated
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

END = {"a": {"uses": "end"}}


@pytest.fixture
def filling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine whose answers about its server's memory are never old."""
    monkeypatch.setattr(room_module, "_FRESH", 0.0)
    with running_valkey() as url, running_engine(url, tmp_path, heartbeat="0.25") as engine:
        yield engine


def _client(engine: Engine) -> Any:
    return engine.session.runtime.store.client


def _fill(engine: Engine, share: float) -> None:
    """Set the server's limit so that about this share of it is used; 0: no limit."""
    client = _client(engine)
    client.config_set("maxmemory", 0)
    # What the test itself does must not matter beside it, nor a buffer that is freed again.
    client.setrange("ballast", 20_000_000, b"x")
    used = client.info("memory")["used_memory"]
    if share:
        client.config_set("maxmemory", round(used / share))


def test_new_runs_are_refused_above_85_percent_of_maxmemory(filling: Engine) -> None:
    there = filling.start(END, run_id="there")
    _fill(filling, 0.90)
    with pytest.raises(StoreFullError, match=r"too little room for a new run: .* 90% of its max"):
        filling.start(END, run_id="new")
    assert [run.id for run in Run.list(session=filling.session)] == ["there"]
    assert filling.start(END, run_id="there").id == there.id, "the same id is the same run"
    filling.workers()
    assert there.wait(60).success, "the rest of the memory is for the runs that are there"
    _fill(filling, 0.80)
    assert filling.run(END, run_id="new").success


def test_a_warning_comes_at_70_percent(filling: Engine) -> None:
    room = filling.session.runtime.room
    assert room.warning() is None
    _fill(filling, 0.65)
    assert room.warning() is None
    _fill(filling, 0.75)
    warning = room.warning()
    assert warning is not None
    assert "75% of its maxmemory; new runs are refused above 85%" in warning
    room.admit()


def test_a_worker_logs_the_warning(filling: Engine, tmp_path: Path) -> None:
    _fill(filling, 0.75)
    filling.workers()
    log = tmp_path / "worker-0.log"
    poll(lambda: "Redis is getting full" in log.read_text(), what="the warning in the log")


def test_who_waits_is_told_that_redis_refuses_to_write(
    filling: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "_PATIENCE", 0.5)
    filling.workers(pool="threads")
    go, mark = tmp_path / "go", tmp_path / "mark"
    handle = filling.start(
        {"hold": {"uses": "engine_nodes:wait_for", "with": {"path": str(go), "mark": str(mark)}}}
    )
    poll(mark.exists, what="the node to run")
    _client(filling).config_set("maxmemory", 1_000_000)
    with pytest.raises(StoreFullError, match=r"refuses to write: .* continue when it has room"):
        handle.wait(60)
    with pytest.raises(StoreFullError, match="refuses to write"):
        list(handle.events())
    go.write_text("went")
    _fill(filling, 0)
    assert handle.wait(60).output == "went"
    assert EventType.RUN_SUCCEEDED in [event.type for event in handle.events()]


def test_a_full_server_refuses_a_run_in_words(filling: Engine) -> None:
    """Should it fill up between two looks at its memory."""
    room = filling.session.runtime.room
    room.admit()
    room_module._FRESH = 1000.0  # the fixture puts it back
    _client(filling).config_set("maxmemory", 1_000_000)
    with pytest.raises(StoreFullError, match=r"Redis refuses to write: .*; raise its maxmemory"):
        filling.start(END, run_id="new")
    assert Run.list(session=filling.session) == []


def test_the_server_is_asked_seldom(redis_client: Any) -> None:
    def asked(command: str) -> int:
        return int(redis_client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))

    room = RedisRoom(redis_client)
    before = asked("info"), asked("set")
    for _ in range(100):
        room.admit()
        assert room.warning() is None
        assert room.refusal() is None
    # One of INFO is the second look at these very numbers.
    assert (asked("info") - before[0], asked("set") - before[1]) in {(2, 1), (3, 1)}


def test_a_full_disk_is_a_refusal_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "_PATIENCE", 0.0)
    options = ("--dir", str(tmp_path), "--dbfilename", "dump", "--save", "3600 1000000")
    with running_valkey(*options) as url, redis.Redis.from_url(url) as client:
        room = RedisRoom(client)
        assert room.refusal() is None
        # Where the server wants to put its file, there is a directory: as good as a full disk.
        (tmp_path / "dump" / "occupied").mkdir(parents=True)
        client.bgsave()
        poll(
            lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err",
            what="the server to notice",
        )
        monkeypatch.setattr(room_module, "_FRESH", 0.0)
        assert "MISCONF" in (room.refusal() or "")
        with pytest.raises(StoreFullError, match="refuses to write: MISCONF"), translated():
            client.set("a", "c")


def test_one_refusal_is_not_yet_told(redis_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "_FRESH", 0.0)
    room = RedisRoom(redis_client)
    redis_client.config_set("maxmemory", 1)
    try:
        assert room.refusal() is None
        monkeypatch.setattr(room_module, "_PATIENCE", 0.0)
        assert room.refusal() is not None
    finally:
        redis_client.config_set("maxmemory", 0)
    assert room.refusal() is None


def test_a_client_that_may_not_ask_is_neither_warned_nor_refused(redis_client: Any) -> None:
    redis_client.execute_command(
        "ACL", "SETUSER", "ann", "on", ">pw", "+@all", "-info", "-set", "~*"
    )
    try:
        path = redis_client.connection_pool.connection_kwargs["path"]
        ann = redis.Redis(unix_socket_path=path, username="ann", password="pw")
        room = RedisRoom(ann)
        room.admit()
        assert (room.warning(), room.refusal()) == (None, None)
    finally:
        redis_client.execute_command("ACL", "DELUSER", "ann")
