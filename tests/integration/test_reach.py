"""What is wrong with an address is said at once, in words that name the way out."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore import Session
from flowcore.assembly import preflight as reach
from flowcore.assembly.settings import Settings
from flowcore.errors import BrokerUnreachableError, StoreRefusedError, StoreUnreachableError
from flowcore.stores.redis.connection import connect as connect_module
from flowcore.stores.redis.connection.connect import connect, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection
from tests.engine import Engine
from tests.services import running_valkey


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real patience is some seconds for each of these."""
    assert connect_module.PROBE_TIMEOUT < 5
    for module in (connect_module, reach):
        monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.3)


@contextmanager
def _listening(answer: bytes = b"") -> Iterator[str]:
    """A server that accepts connections, and says nothing or always the same; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1000)
                    peer.sendall(answer)

        if answer:
            threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            # Wakes the thread, which close() alone would not.
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def _valkey_on_tcp() -> Iterator[tuple[str, Any]]:
    """A server's host and port, and a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running_valkey("--port", str(port), "--bind", "127.0.0.1") as url:
        yield f"127.0.0.1:{port}", redis.Redis.from_url(url)


def _settings(home: Path, url: str, **more: Any) -> Settings:
    return replace(Settings.from_env({"FLOWCORE_HOME": str(home)}), redis_url=url, **more)


@pytest.mark.parametrize(
    ("scheme", "words"), [("redis", "right?"), ("rediss", "speak TLS (rediss://)?")]
)
@pytest.mark.usefixtures("impatient")
def test_a_server_that_says_nothing_is_noticed(tmp_path: Path, scheme: str, words: str) -> None:
    with _listening() as address, pytest.raises(StoreUnreachableError) as caught:
        Session(_settings(tmp_path, f"{scheme}://{address}/0"))
    assert "Redis does not answer within 0.3 s" in str(caught.value)
    assert "FLOWCORE_REDIS_URL" in str(caught.value)
    assert str(caught.value).endswith(words)


@pytest.mark.usefixtures("impatient")
def test_tls_to_a_plain_redis_is_noticed(tmp_path: Path) -> None:
    with _valkey_on_tcp() as (address, _), pytest.raises(StoreUnreachableError) as caught:
        Session(_settings(tmp_path, f"rediss://{address}/0"))
    assert "does that server speak TLS (rediss://)?" in str(caught.value)


def test_a_server_that_is_no_redis_is_noticed(tmp_path: Path) -> None:
    with (
        _listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address,
        pytest.raises(StoreUnreachableError, match=r"cannot reach Redis: .*FLOWCORE_REDIS_URL"),
    ):
        Session(_settings(tmp_path, f"redis://{address}/0"))


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/valkey.sock"])
def test_nobody_there_is_noticed(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreUnreachableError, match=r"cannot reach Redis: .*FLOWCORE_REDIS_URL"):
        Session(_settings(tmp_path, url))


@pytest.mark.parametrize(
    ("user", "why"),
    [("", "it wants a password"), (":wrong@", "invalid username-pass"), ("nobody:x@", "invalid")],
)
def test_a_wrong_password_is_refused_with_a_way_out(tmp_path: Path, user: str, why: str) -> None:
    with _valkey_on_tcp() as (address, admin):
        admin.config_set("requirepass", "right")
        with pytest.raises(StoreRefusedError) as caught:
            Session(_settings(tmp_path, f"redis://{user}{address}/0"))
    assert str(caught.value).startswith(f"Redis refuses the login: {why}")
    assert str(caught.value).endswith("; correct user and password in FLOWCORE_REDIS_URL")


def test_a_wrong_password_is_sent_once() -> None:
    with _valkey_on_tcp() as (address, admin):
        client = connect(f"redis://:wrong@{address}/0")
        script = Script(ScriptConnection(client), "return 1")
        admin.config_set("requirepass", "right")

        def refused() -> int:
            return int(admin.info("stats")["acl_access_denied_auth"])

        for ask in (client.ping, lambda: script(args=())):
            before = refused()
            with pytest.raises(StoreRefusedError, match="correct user and password"), translated():
                ask()
            assert refused() - before == 1


def test_a_user_without_a_right_is_told_which() -> None:
    with _valkey_on_tcp() as (address, admin):
        admin.execute_command("ACL", "SETUSER", "ann", "on", ">pw", "+@connection", "~*")
        client = connect(f"redis://ann:pw@{address}/0")
        with pytest.raises(StoreRefusedError, match=r"'get' command; see its ACL"), translated():
            client.get("a")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp"])
@pytest.mark.usefixtures("impatient")
def test_a_broker_that_says_nothing_is_noticed_before_a_run_is_there(
    engine: Engine, scheme: str
) -> None:
    runtime = engine.session.runtime
    with _listening() as address:
        settings = replace(runtime.settings, broker_url=f"{scheme}://{address}/")
        with (
            Session(settings) as session,
            pytest.raises(BrokerUnreachableError, match="FLOWCORE_BROKER_URL"),
        ):
            Engine(session=session, home=settings.home).start(
                {"a": {"uses": "end"}}, run_id="unheard"
            )
    assert runtime.reader.summary("unheard") is None


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_a_dead_broker_is_noticed_before_a_run_is_there(engine: Engine, url: str) -> None:
    runtime = engine.session.runtime
    with (
        Session(replace(runtime.settings, broker_url=url)) as session,
        pytest.raises(BrokerUnreachableError, match=r"cannot reach the broker: .*FLOWCORE_BROKER"),
    ):
        Engine(session=session, home=runtime.settings.home).start(
            {"a": {"uses": "end"}}, run_id="unheard"
        )
    assert runtime.reader.summary("unheard") is None


def test_a_broker_on_another_redis_is_asked_and_used(tmp_path: Path, engine: Engine) -> None:
    with running_valkey() as broker:
        settings = replace(engine.session.runtime.settings, broker_url=broker)
        with Session(settings) as session:
            other = Engine(session=session, home=tmp_path)
            handle = other.start({"a": {"uses": "end"}})
            assert redis.Redis.from_url(broker).llen(session.runtime.default_queue) == 1
            handle.cancel()
