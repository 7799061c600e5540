"""A Redis Cluster is refused with a sentence, even where one node has every slot."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore.cli.commands.doctor import doctor
from flowcore.cli.output import Format
from flowcore.errors import WrongServerError
from tests.brokers import running_cluster_node
from tests.engine import running_engine

SENTENCE = "this server is part of a Redis Cluster, which flowcore cannot use"


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with running_cluster_node() as url:
        yield url


def test_a_run_is_not_accepted(node: str, tmp_path: Path) -> None:
    with pytest.raises(WrongServerError, match=SENTENCE), running_engine(node, tmp_path) as engine:
        engine.start({"a": {"uses": "start"}})


@pytest.mark.parametrize("role", ["store", "broker"])
def test_a_worker_does_not_start(node: str, valkey_server: str, tmp_path: Path, role: str) -> None:
    urls = {"FLOWCORE_REDIS_URL": node if role == "store" else valkey_server}
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool", "solo"],
        env={**os.environ, **urls, "FLOWCORE_BROKER_URL": node, "FLOWCORE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert f"flowcore: {SENTENCE}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_doctor_says_so(
    node: str,
    valkey_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", node)
    assert doctor(Format.JSON) == 1
    assert SENTENCE in capsys.readouterr().out
    monkeypatch.setenv("FLOWCORE_REDIS_URL", valkey_server)
    monkeypatch.setenv("FLOWCORE_BROKER_URL", node)
    assert doctor(Format.JSON) == 1
    assert SENTENCE in capsys.readouterr().out
