"""The embedded server: started by the first, shared, stopped by the last, safe from kill -9."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import psutil
import pytest
import redis

from flowcore.assembly.embedded import EmbeddedServer, EmbeddedServerError

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0

# A user: joins, says where the server is, does what each line asks for, leaves at the end of file.
USER = """
import json, os, sys
from pathlib import Path
from flowcore.assembly.embedded import EmbeddedServer
server = EmbeddedServer.join(home=Path(sys.argv[1]), timeout=30)
print(json.dumps({"pid": server.pid, "url": server.url}), flush=True)
for line in sys.stdin:
    if line.strip() == "fork":
        child = os.fork()
        if child == 0:
            server.leave()
            sys.stdin.read()
            os._exit(0)
        print(json.dumps({"child": child}), flush=True)
server.leave()
"""


class User:
    """Another process that uses the server."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def hear(self) -> dict[str, object]:
        assert self.process.stdout is not None
        said: dict[str, object] = json.loads(self.process.stdout.readline())
        return said

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def leave(self) -> None:
        self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def servers(home: Path) -> list[int]:
    """The pids of all servers whose data is in this home."""
    directory = str((home / "valkey").resolve())
    found = []
    for process in psutil.process_iter():
        try:
            if "valkey-server" in process.name() and process.cwd() == directory:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def client(server: EmbeddedServer) -> "redis.Redis":
    return redis.Redis.from_url(server.url, decode_responses=True)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    left = servers(home)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.fixture
def user(home: Path) -> Iterator[Callable[[], User]]:
    users: list[User] = []

    def join() -> User:
        users.append(User(home))
        return users[-1]

    yield join
    for each in users:
        if each.process.poll() is None:
            each.kill()


def test_the_first_to_join_starts_a_server_and_the_last_to_leave_stops_it(home: Path) -> None:
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        assert redis_client.ping()
        assert servers(home) == [server.pid]
        pid = server.pid
    assert not alive(pid)
    assert not (home / "valkey" / "valkey.sock").exists()
    server.leave()


def test_the_server_is_configured_to_keep_data_and_to_listen_on_its_socket_alone(
    home: Path,
) -> None:
    wanted = {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "aof-load-truncated": "yes",
        "enable-debug-command": "no",
    }
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        assert {name: redis_client.config_get(name)[name] for name in wanted} == wanted
        kinds = [each.family for each in psutil.Process(server.pid).net_connections("inet")]
        assert kinds == []


def test_only_the_owner_may_enter_the_directory_and_open_the_socket(home: Path) -> None:
    directory = home / "valkey"
    directory.mkdir(parents=True, mode=0o755)
    with EmbeddedServer.join(home=home):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "valkey.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "valkey.log").stat().st_mode) == 0o600


def test_a_second_process_joins_the_same_server_and_may_leave_first(
    home: Path, user: Callable[[], User]
) -> None:
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        other = user()
        assert other.hear() == {"pid": server.pid, "url": server.url}
        other.leave()
        assert redis_client.ping()
    assert not alive(server.pid)


def test_the_starter_may_leave_first_and_the_joiner_stops_the_server(
    home: Path, user: Callable[[], User]
) -> None:
    starter = user()
    starter.hear()
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        starter.leave()
        assert redis_client.ping()
        pid = server.pid
    assert not alive(pid)


def test_data_outlives_a_clean_stop(home: Path) -> None:
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        redis_client.set("kept", "yes")
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        assert redis_client.get("kept") == "yes"


def test_killing_one_of_two_users_leaves_the_server_to_the_other(
    home: Path, user: Callable[[], User]
) -> None:
    killed = user()
    pid = killed.hear()["pid"]
    other = user()
    assert other.hear()["pid"] == pid
    killed.kill()
    assert servers(home) == [pid]
    other.leave()
    assert servers(home) == []


def test_killing_all_users_leaves_a_server_that_the_next_joins_and_stops(
    home: Path, user: Callable[[], User]
) -> None:
    users = [user(), user()]
    pids = {each.hear()["pid"] for each in users}
    for each in users:
        each.kill()
    with EmbeddedServer.join(home=home) as server:
        assert {server.pid} == pids
    assert servers(home) == []


def test_a_killed_server_is_restarted_by_the_next_join_with_its_data(
    home: Path, user: Callable[[], User]
) -> None:
    holder = user()
    holder.hear()
    with EmbeddedServer.join(home=home) as server:
        with client(server) as redis_client:
            redis_client.set("kept", "yes")
            assert redis_client.execute_command("WAITAOF", 1, 0, 0) == [1, 0]
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: not alive(killed))
        with EmbeddedServer.join(home=home) as again, client(again) as redis_client:
            assert again.pid != killed
            assert again.url == server.url
            assert redis_client.get("kept") == "yes"
    holder.leave()
    assert servers(home) == []


def test_a_holder_restarts_a_killed_server(home: Path) -> None:
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        before = server.pid
        server.ensure()
        assert server.pid == before
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: not alive(before))
        server.ensure()
        assert server.pid != before
        assert redis_client.ping()
    assert servers(home) == []


def test_a_tail_that_was_cut_off_by_a_crash_does_not_stop_the_server(home: Path) -> None:
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        redis_client.set("first", "kept")
        redis_client.set("second", "cut")
        redis_client.execute_command("WAITAOF", 1, 0, 0)
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: not alive(server.pid))
        (aof,) = (home / "valkey").glob("appendonlydir/*.incr.aof")
        os.truncate(aof, aof.stat().st_size - 5)
        server.ensure()
        assert redis_client.mget("first", "second") == ["kept", None]


def test_ten_processes_that_join_at_once_share_one_server(
    home: Path, user: Callable[[], User]
) -> None:
    users = [user() for _ in range(10)]
    said = [each.hear() for each in users]
    assert servers(home) == [said[0]["pid"]]
    assert all(each == said[0] for each in said)
    for each in users:
        assert each.process.stdin is not None
        each.process.stdin.close()
    for each in users:
        assert each.process.wait(timeout=PATIENCE) == 0
        assert each.process.stdout is not None
        each.process.stdout.close()
    assert servers(home) == []


def test_a_forked_child_neither_stops_the_server_nor_keeps_it(
    home: Path, user: Callable[[], User]
) -> None:
    parent = user()
    pid = parent.hear()["pid"]
    parent.say("fork")
    child = parent.hear()["child"]
    assert isinstance(child, int)
    assert servers(home) == [pid]
    assert alive(child)
    # The child reads its parent's pipe, so the parent's end of file would end both.
    parent.kill()
    with EmbeddedServer.join(home=home) as server:
        assert server.pid == pid
    assert servers(home) == []
    assert eventually(lambda: not alive(child))


def test_a_directory_too_long_for_a_socket_gets_a_short_private_one(
    tmp_path: Path, user: Callable[[], User]
) -> None:
    home = tmp_path / ("long-" * 20) / "with space ü"
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        assert redis_client.ping()
        path = Path(unquote(server.url.removeprefix("unix://")))
        assert len(os.fsencode(path)) <= 107
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        (tmp_path / "link").symlink_to(home)
        with EmbeddedServer.join(home=tmp_path / "link") as other:
            assert (other.pid, other.url) == (server.pid, server.url)
    assert servers(home) == []
    path.parent.rmdir()


def test_a_socket_left_by_a_dead_server_is_replaced(home: Path) -> None:
    (home / "valkey").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home / "valkey" / "valkey.sock"))
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        assert redis_client.ping()


def test_a_server_that_cannot_start_is_an_error_with_the_log_and_the_way_out(home: Path) -> None:
    manifest = home / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("not a manifest\n")
    with pytest.raises(EmbeddedServerError, match="FLOWCORE_REDIS_URL") as caught:
        EmbeddedServer.join(home=home)
    assert caught.value.code == "FC601"
    assert str(home / "valkey" / "valkey.log") in str(caught.value)
    assert "AOF manifest" in str(caught.value)
    assert servers(home) == []


def test_a_stopped_server_is_not_killed_by_a_user_that_gives_up(home: Path) -> None:
    with EmbeddedServer.join(home=home) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedServerError, match="does not answer"):
                EmbeddedServer.join(home=home, timeout=0.1)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        server.ensure()
        assert servers(home) == [server.pid]


def test_an_interrupted_start_leaves_no_server_and_does_not_wait_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: EmbeddedServer) -> None:
        raise KeyboardInterrupt  # before the server listens

    monkeypatch.setattr(EmbeddedServer, "_first_answer", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        EmbeddedServer.join(home=home)
    assert time.monotonic() - started < 5
    assert servers(home) == []
    monkeypatch.undo()
    with EmbeddedServer.join(home=home) as server, client(server) as redis_client:
        assert redis_client.ping()


def test_a_server_whose_directory_was_removed_is_stopped_all_the_same(
    home: Path, tmp_path: Path
) -> None:
    server = EmbeddedServer.join(home=home)
    (home / "valkey").rename(tmp_path / "away")
    with EmbeddedServer.join(home=home) as newer, client(newer) as redis_client:
        server.leave()
        assert not alive(server.pid)
        assert redis_client.ping()


def test_who_has_left_cannot_restart_the_server(home: Path) -> None:
    server = EmbeddedServer.join(home=home)
    server.leave()
    with pytest.raises(EmbeddedServerError, match="not joined"):
        server.ensure()
