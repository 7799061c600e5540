"""Payloads in a real S3 protocol, on this machine: s3fs against moto's server.

Needs ``requirements/s3.txt``, in an environment of its own; skipped elsewhere.
"""

import hashlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore.errors import PayloadStoreError
from flowcore.run.reference import Reference, read_reference
from flowcore.stores.objects import ObjectPayloads
from tests.engine import poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration

pytest.importorskip("s3fs", reason="requirements/s3.txt is not installed")
pytest.importorskip("moto", reason="requirements/s3.txt is not installed")

BUCKET = "flows"
#: Above this s3fs writes in parts.
LARGE = os.urandom(60 * 2**20)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An endpoint with one bucket, in the environment of this process and its workers."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=sink,
            stderr=sink,
        )
    try:
        found = poll(
            lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()), what="moto's server"
        )
        endpoint = found[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", endpoint)
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=30).close()
            yield endpoint
    finally:
        server.kill()
        server.wait()


def _reference(payload: bytes, space: str) -> Reference:
    digest = hashlib.sha256(payload).hexdigest()
    return Reference(space=space, digest=digest, size=len(payload), place="s3")


def _keys(endpoint: str) -> list[str]:
    with urllib.request.urlopen(f"{endpoint}/{BUCKET}?list-type=2", timeout=30) as answer:
        return re.findall(r"<Key>(.*?)</Key>", answer.read().decode())


def test_payloads_of_every_size_live_in_a_bucket(s3: str) -> None:
    store = ObjectPayloads(f"s3://{BUCKET}/one/")
    for payload in (b"\xc0", LARGE):
        store.put(_reference(payload, "a.01"), payload)
        assert store.get(_reference(payload, "a.01")) == payload
    store.put(_reference(b"other", "a.02"), b"other")
    assert store.get(_reference(b"never", "a.01")) is None
    store.remove("a.01")
    store.remove("a.01")
    assert store.get(_reference(LARGE, "a.01")) is None
    assert _keys(s3) == [f"one/a.02/{hashlib.sha256(b'other').hexdigest()}"]


def test_what_another_process_has_written_since_is_removed_too(s3: str) -> None:
    one, two = ObjectPayloads(f"s3://{BUCKET}/two"), ObjectPayloads(f"s3://{BUCKET}/two")
    one.put(_reference(b"x", "b.01"), b"x")
    one.remove("b.02")
    two.put(_reference(b"y", "b.01"), b"y")
    two.put(_reference(b"y", "b.02"), b"y")
    for space in ("b.01", "b.02"):
        one.remove(space)
    assert [key for key in _keys(s3) if key.startswith("two/")] == []


def test_a_bucket_that_is_not_there_is_told(s3: str) -> None:
    with pytest.raises(PayloadStoreError, match="cannot write to s3://nowhere/x: "):
        ObjectPayloads("s3://nowhere/x").put(_reference(b"x", "c.01"), b"x")


def test_a_run_keeps_its_large_outputs_in_s3_until_it_goes(s3: str, tmp_path: Path) -> None:
    nodes: dict[str, Any] = {
        "give": {"uses": "engine_nodes:block", "with": {"size": 1_000_000}},
        "read": {"uses": "engine_nodes:hash_of", "needs": ["give"]},
    }
    place = f"s3://{BUCKET}/runs"
    with (
        running_valkey() as url,
        running_engine(url, tmp_path, payloads=place, retention="3") as engine,
    ):
        engine.workers()
        handle = engine.start(nodes)
        result = handle.wait(60)
        assert result.success, result.error
        reference = read_reference(engine.session.runtime.reader.outputs(handle.id)[0])
        assert reference is not None
        assert f"runs/{reference.space}/{reference.digest}" in _keys(s3)
        assert hashlib.sha256(result.outputs["give"]).hexdigest() == result.output["sha256"]
        poll(
            lambda: not [key for key in _keys(s3) if key.startswith("runs/")],
            what="the payload to be removed with its run",
        )
