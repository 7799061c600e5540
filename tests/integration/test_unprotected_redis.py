"""A Redis without a password on an address that is not this machine's own loopback: refused."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from flowcore import Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.valkey_process import find_binary
from flowcore.cli.main import main
from flowcore.errors import UnprotectedServerError
from tests.engine import poll
from tests.services import running_valkey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PASSWORD = "pw-Canary-42"


def _own_address() -> str:
    """An address of this machine that is no loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address: str = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no address but the loopback")
    if address.startswith("127."):
        pytest.skip("this machine has no address but the loopback")
    return address


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """Host and port of a server without a password."""
    address = _own_address()
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    options = ("--bind", address, "--port", str(port), "--protected-mode", "no")
    with running_valkey(*options):
        yield f"{address}:{port}"


def _settings(home: Path, **more: str) -> Settings:
    given = {f"FLOWCORE_{name.upper()}": value for name, value in more.items()}
    return Settings.from_env({"FLOWCORE_HOME": str(home), **given})


def test_a_session_refuses_it(place: str, tmp_path: Path) -> None:
    with pytest.raises(UnprotectedServerError, match="FLOWCORE_UNPROTECTED_REDIS=on") as error:
        Session(_settings(tmp_path, redis_url=f"redis://{place}/0"))
    assert error.value.code == "FC609"


def test_a_session_takes_it_when_told(place: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path, redis_url=f"redis://{place}/0", unprotected_redis="on")
    with Session(settings) as session:
        session.check_broker()
        assert session.runtime.store.client.ping()


def test_one_of_several_servers_is_enough_to_refuse(place: str, tmp_path: Path) -> None:
    with running_valkey() as url:
        both = f"{url},redis://{place}/0"
        with pytest.raises(UnprotectedServerError):
            Session(_settings(tmp_path, redis_url=both))


def test_a_broker_of_its_own_is_refused_as_well(place: str, tmp_path: Path) -> None:
    with running_valkey() as url:
        settings = _settings(tmp_path, redis_url=url, broker_url=f"redis://{place}/1")
        with Session(settings) as session, pytest.raises(UnprotectedServerError):
            session.check_broker()


def test_a_password_for_a_server_that_has_none_is_no_way_round(place: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path, redis_url=f"redis://:{PASSWORD}@{place}/0")
    with pytest.raises(UnprotectedServerError) as error:
        Session(settings)
    assert PASSWORD not in str(error.value)


def test_a_worker_does_not_start_on_it(place: str, tmp_path: Path) -> None:
    env = {**os.environ, "FLOWCORE_REDIS_URL": f"redis://{place}/0", "FLOWCORE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "celery", "-A", "flowcore.assembly.worker", "worker"]
    command += ["--pool", "solo"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "flowcore: this Redis is on another machine and lets everybody in" in done.stderr


@pytest.mark.parametrize(("told", "status"), [("off", "fail"), ("on", "warn")])
def test_doctor_says_it(
    place: str,
    tmp_path: Path,
    told: str,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", f"redis://{place}/0")
    monkeypatch.setenv("FLOWCORE_HOME", str(tmp_path))
    monkeypatch.setenv("FLOWCORE_UNPROTECTED_REDIS", told)
    main(["doctor", "-o", "json"])
    rows = json.loads(capsys.readouterr().out)
    found = [row for row in rows if row["check"] in ("server", "access") and row["status"] != "ok"]
    assert [row["status"] for row in found] == [status]
    assert "password" in (found[0]["found"] + found[0]["fix"])


def test_a_server_with_a_password_is_taken(tmp_path: Path) -> None:
    address = _own_address()
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    with running_valkey("--bind", address, "--port", str(port)) as url:
        with redis.Redis.from_url(url) as client:
            client.config_set("requirepass", PASSWORD)
        settings = _settings(tmp_path, redis_url=f"redis://:{PASSWORD}@{address}:{port}/0")
        with Session(settings) as session:
            session.check_broker()
            assert session.runtime.store.client.ping()
            session.runtime.check_servers()


@pytest.fixture
def watched(place: str, tmp_path: Path) -> Iterator[str]:
    """Where a Sentinel of this machine watches the server without a password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host, _, primary = place.rpartition(":")
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor flows {host} {primary} 1\n"
    )
    process = subprocess.Popen(
        [str(find_binary()), str(conf), "--sentinel"], stdout=subprocess.DEVNULL
    )
    try:
        with redis.Redis(port=port) as client:
            poll(lambda: _answers(client), what="the Sentinel")
        yield f"sentinel://127.0.0.1:{port}/flows/0"
    finally:
        process.terminate()
        process.wait(30)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_primary_that_sentinels_name_is_judged_like_any_server(
    watched: str, tmp_path: Path
) -> None:
    with pytest.raises(UnprotectedServerError, match="FLOWCORE_UNPROTECTED_REDIS=on"):
        Session(_settings(tmp_path, redis_url=watched))
    told = _settings(tmp_path, redis_url=watched, unprotected_redis="on")
    with Session(told) as session:
        assert session.runtime.store.client.ping()
